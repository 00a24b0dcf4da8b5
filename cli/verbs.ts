// Words that are no names of interfaces to whoever types them: the verbs of `wg` and `wg-quick`, and of habit; commands,
// and files, mistyped.
// Promises: `wireonce show` makes no interface of that name; what was probably meant is said, ready to be typed, and how
// to make such an interface all the same.
// Read on: wg(8), wg-quick(8); near-miss.ts (slips of the keyboard).

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
  ['quick', { meant: rest => `WG_QUICK_USERSPACE_IMPLEMENTATION=wireonce wg-quick${rest || ' up NAME'}` }],
  ['keygen', { meant: () => 'wireonce genkey' }],
  ['version', { meant: () => 'wireonce --version' }],
]);

/** What two letters or three become by one slip is a name more often than a verb. */
const SHORTEST_NEAR = 4;

/**
 * Throws `ERR_CLI_USAGE` when `word`, the first of the command line, is such a verb, or nearly one or nearly one of
 * `commands`, or a configuration file.
 */
export function refuseWord(word: string, rest: readonly string[], commands: readonly string[]): void {
  const isMeant = (known: string) => known.length >= SHORTEST_NEAR && isNearMiss(word, known);
  const known = VERBS.has(word) ? word : [...VERBS.keys()].find(isMeant);
  const verb = known === undefined ? undefined : VERBS.get(known);
  const command = commands.find(isMeant);
  const words = rest.map(text => ` ${text}`).join('');
  if (verb) {
    const whose = verb.of === undefined ? '' : `, a verb of ${verb.of}`;
    const problem = known === word ? `'${word}' is no command here${whose}` : `unknown command '${word}'`;
    refuse(problem, verb.meant(words), [
      ...(known === 'show' ? [`what only wireonce knows: wireonce status${words}`] : []),
      asInterface(word),
    ]);
  } else if (command !== undefined) {
    refuse(`unknown command '${word}'`, `wireonce ${command}${words}`, [asInterface(word)]);
  } else if (word.endsWith('.conf')) {
    refuse(
      `'${word}' is the name of a file, and an interface is asked for`,
      VERBS.get('up')?.meant(` ${word}`),
      [asInterface(word)],
    );
  }
}

const asInterface = (word: string) => `an interface of that name: wireonce -- ${word}`;

function refuse(problem: string, meant: string | undefined, hints: readonly string[]): never {
  throw new CliError('ERR_CLI_USAGE', `${problem}: did you mean '${meant}'?`, { hints });
}
