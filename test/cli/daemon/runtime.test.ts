import { expect, test } from 'vitest';
import { requireNode } from '../../../cli/daemon/runtime.js';

test('a daemon runs under Node', () => {
  expect(() => requireNode()).not.toThrow();
});

test.each([
  ['deno', 'Deno'],
  ['bun', 'Bun'],
])('under %s it says at its start that it does not', (key, name) => {
  // Both call themselves Node too.
  expect(() => requireNode({ node: '24.0.0', [key]: '2.9.6' })).toThrow(
    expect.objectContaining({
      code: 'ERR_CLI_RUNTIME',
      message: `a daemon needs Node, and this is ${name} 2.9.6`,
    }),
  );
});
