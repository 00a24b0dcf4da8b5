import { expect, it } from 'vitest';
import { main } from '../../examples/hub.js';

it('a UDP peer and a WebSocket peer hear one another through the hub, and no socket stays open', async () => {
  const printed: string[] = [];
  expect(await main(line => printed.push(line))).toEqual({
    aliceHeard: 'hello, Alice',
    bobHeard: 'hello, Bob',
  });
  expect(printed.join('\n')).toContain('to the hub and back');
  const sockets = () => process.getActiveResourcesInfo().filter(name => /UDP|TCP/.test(name));
  await expect.poll(sockets, { timeout: 5_000 }).toEqual([]);
});
