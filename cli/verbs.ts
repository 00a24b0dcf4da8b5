// Words that are no names of interfaces to whoever types them: the verbs of `wg` and `wg-quick`, and of habit.
// Promises: `wireonce show` makes no interface of that name; what was probably meant is said, ready to be typed, and how
// to make such an interface all the same.
// Read on: wg(8), wg-quick(8); daemon.ts (slips of the keyboard).

import { CliError } from './errors.js';
import { isNearMiss } from './near-miss.js';

interface Verb {
  /** Whose verb it is, such as `wg`. */
  readonly of?: string;
  /** The command that does it; `rest` is what stood behind the verb, with a blank before it. */
  readonly meant: (rest: string) => string;
}

const wg = (verb: string): Verb => ({ of: 'wg', meant: rest => `wg ${verb}${rest}` });
const wgQuick = (verb: string): Verb => ({
  of: 'wg-quick',
  meant: rest => `wg-quick ${verb}${rest || ' NAME'}`,
});

const VERBS: ReadonlyMap<string, Verb> = new Map<string, Verb>([
  ...['show', 'showconf', 'set', 'setconf', 'addconf', 'syncconf'].map(verb => [verb, wg(verb)] as const),
  [
    'up',
    {
      ...wgQuick('up'),
      meant: rest => `WG_QUICK_USERSPACE_IMPLEMENTATION=wireonce wg-quick up${rest || ' NAME'}`,
    },
  ],
  ...['down', 'save', 'strip'].map(verb => [verb, wgQuick(verb)] as const),
  ['start', { meant: rest => `wireonce${rest || ' NAME'}` }],
  ['run', { meant: rest => `wireonce --foreground${rest || ' NAME'}` }],
  ['stop', { meant: rest => `ip link del${rest || ' NAME'}` }],
  ['serve', { meant: rest => `wireonce vmgenid serve${rest}` }],
  ['watch', { meant: rest => `wireonce vmgenid watch${rest}` }],
  ['keygen', { meant: () => 'wireonce genkey' }],
  ['version', { meant: () => 'wireonce --version' }],
]);

/** What two letters or three become by one slip is a name more often than a verb. */
const SHORTEST_NEAR = 4;

/** Throws `ERR_CLI_USAGE` when `word`, the first of the command line, is such a verb or nearly one. */
export function refuseVerb(word: string, rest: readonly string[]): void {
  const near = () =>
    [...VERBS.keys()].find(known => known.length >= SHORTEST_NEAR && isNearMiss(word, known));
  const known = VERBS.has(word) ? word : near();
  const verb = known === undefined ? undefined : VERBS.get(known);
  if (!verb) return;
  const words = rest.map(text => ` ${text}`).join('');
  const whose = verb.of === undefined ? '' : `, a verb of ${verb.of}`;
  const problem = known === word ? `'${word}' is no command here${whose}` : `unknown command '${word}'`;
  throw new CliError('ERR_CLI_USAGE', `${problem}: did you mean '${verb.meant(words)}'?`, {
    hints: [
      ...(known === 'show' ? [`what only wireonce knows: wireonce status${words}`] : []),
      `an interface of that name: wireonce -- ${word}`,
    ],
  });
}
