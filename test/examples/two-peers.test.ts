import { expect, it } from 'vitest';
import { main as overUdp } from '../../examples/two-peers-udp.js';
import { main as overWebSocket } from '../../examples/two-peers-websocket.js';

it.each([
  ['UDP', overUdp],
  ['a WebSocket', overWebSocket],
])('two peers over %s hear one another, and leave no socket open', async (_, main) => {
  const printed: string[] = [];
  const heard = await main(line => printed.push(line));
  expect(heard).toEqual({ bobHeard: 'hello, Bob', aliceHeard: 'hello, Alice' });
  const text = printed.join('\n');
  expect(text).toContain('alice\'s first packet is "staged"');
  expect(text.indexOf('hello, Bob')).toBeLessThan(text.indexOf('hello, Alice'));
  const sockets = () => process.getActiveResourcesInfo().filter(name => /UDP|TCP/.test(name));
  await expect.poll(sockets, { timeout: 5_000 }).toEqual([]);
});
