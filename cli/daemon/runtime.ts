// Where a daemon runs: under Node. What else runs JavaScript has its names, and not all that they do.
// Read on: docs/errors.md ERR_CLI_RUNTIME.

import { CliError } from '../errors.js';

const FOREIGN = { deno: 'Deno', bun: 'Bun' } as const;

/**
 * Throws `ERR_CLI_RUNTIME` elsewhere: threads that sleep in the kernel, descriptors that others opened and signals are
 * handled otherwise there, and a daemon may hang that cannot be told to end.
 */
export function requireNode(versions: Readonly<Record<string, string | undefined>> = process.versions): void {
  for (const [key, name] of Object.entries(FOREIGN)) {
    if (versions[key] === undefined) continue;
    throw new CliError('ERR_CLI_RUNTIME', `a daemon needs Node, and this is ${name} ${versions[key]}`, {
      hints: [`start it with Node: node ${process.argv[1] ?? ''}`.trim()],
    });
  }
}
