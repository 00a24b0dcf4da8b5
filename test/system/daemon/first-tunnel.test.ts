// docs/first-tunnel.md: its commands, as they stand there and in their order; what it shows of their output is what they print.

import { afterEach, expect, it } from 'vitest';
import { documentBlocks } from '../../support/document-blocks.js';
import { closeMachines } from './support/machine.js';
import { startShells } from './support/shell.js';

afterEach(closeMachines);

/** The first word of a block that is run; what is shown of its output begins with blanks. */
const COMMAND = /^\S/;

it('makes a tunnel, forks one end of it, drills it, and leaves nothing', async () => {
  const [shell] = await startShells();
  const blocks = documentBlocks('docs/first-tunnel.md');
  const printed: string[] = [];
  const before: string[] = [];
  for (const block of blocks) {
    if (COMMAND.test(block)) {
      printed.push(await shell.run(block));
      continue;
    }
    const shown = block.trimEnd().split('\n');
    expect(printed.at(-1)?.split('\n')).toEqual(expect.arrayContaining(shown));
    // Control: it is this step that has made it so.
    expect(before).not.toEqual(expect.arrayContaining(shown));
    before.splice(0, before.length, ...printed.join('\n').split('\n'));
  }
  expect(printed.join('')).toContain('3 packets transmitted, 3 received');
  const left = await shell.run('ls -A /run/wireguard /run/netns');
  expect(left.trim()).toBe('/run/netns:\n\n/run/wireguard:');
}, 120_000);
