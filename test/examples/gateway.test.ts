import { expect, it } from 'vitest';
import { main } from '../../examples/gateway.js';

it('who has the secret is heard, and who has not is neither heard nor known', async () => {
  const printed: string[] = [];
  expect(await main(line => printed.push(line))).toEqual({ heard: ['I have the secret'], known: 1 });
  expect(printed).toEqual(['gateway: admitted', 'the gateway heard: I have the secret']);
});
