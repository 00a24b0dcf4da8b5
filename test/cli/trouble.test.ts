// What a user is told when the system refuses: in words, with a next step that can be done.

import { expect, test } from 'vitest';
import { inWords } from '../../cli/trouble.js';

test.each([
  ['listen EADDRINUSE: address already in use 127.0.0.1:9586', 'ss -lntup shows it'],
  ['hook:vsock:7000: cannot listen: bind vsock: EADDRINUSE', 'ss -lp --vsock shows it'],
])('%s: with the command that shows ports of this kind', (message, command) => {
  const { message: words, hints } = inWords(new Error(message));
  expect(words).toMatch(/another program has this port$/);
  expect(hints).toEqual([expect.stringContaining(command)]);
});
