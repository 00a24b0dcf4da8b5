// The `wireonce` command line: its commands, its help, and the exit status.
// Promises: the same exit status for the same trouble (see `exitCodeOf`); of the program only that part is loaded which
// the command needs; a verb of `wg` or `wg-quick` makes no interface of its name.
// Read on: process.ts gives it the process; each command is a file of its own; trouble.ts says errors.

import type { Command } from 'commander';
import { exitCodeOf } from './errors.js';
import { type CliIo, type Finish, printLine } from './io.js';
import { oneLine, printError } from './trouble.js';

type Register = (program: Command, io: CliIo, finish: Finish) => void;

/** Every command but the daemon, in the order of the help, and where it is registered. */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  demo: async () => (await import('./demo.js')).registerDemo,
  status: async () => (await import('./status.js')).registerStatus,
  drill: async () => (await import('./drill.js')).registerDrill,
  ping: async () => (await import('./ping.js')).registerPing,
  vmgenid: async () => (await import('./vmgenid.js')).registerVmgenid,
  enrol: async () => (await import('./enrol.js')).registerEnrol,
  peers: async () => (await import('./peers.js')).registerPeers,
  genkey: async () => (await import('./keys.js')).registerGenkey,
  pubkey: async () => (await import('./keys.js')).registerPubkey,
  genpsk: async () => (await import('./keys.js')).registerGenpsk,
};

/** Called without a word more, these need no parser of the command line, which takes as long to load as they run. */
const BARE: Readonly<Record<string, (io: CliIo) => Promise<number>>> = {
  genkey: async io => (await import('./keys.js')).genkey(io),
  pubkey: async io => (await import('./keys.js')).pubkey(io),
  genpsk: async io => (await import('./keys.js')).genpsk(io),
};

const HELP = ['-h', '--help', 'help'];

/**
 * Runs one command line (without the names of node and of the script). Resolves with the exit status: 0 when the
 * command did what was asked, 1 when it could not, 2 when it was called wrongly. Never throws.
 */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  try {
    const bare = argv.length === 1 && Object.hasOwn(BARE, argv[0]) ? BARE[argv[0]] : undefined;
    return bare ? await bare(io) : await parse(argv, io);
  } catch (error) {
    printError(error, io);
    return exitCodeOf(error);
  }
}

async function parse(argv: readonly string[], io: CliIo): Promise<number> {
  const [word, ...rest] = argv;
  const isCommand = word !== undefined && Object.hasOwn(COMMANDS, word);
  if (word !== undefined && !isCommand)
    (await import('./verbs.js')).refuseWord(word, rest, Object.keys(COMMANDS));
  // What stands behind `--` is an interface, whatever its name.
  const isName = !isCommand && argv.includes('--');
  const helps = argv.length === 0 || (!isName && argv.some(each => HELP.includes(each)));

  const { CommanderError } = await import('commander');
  let exitCode = 0;
  const finish = (code: number) => {
    exitCode = code;
  };
  const program = await newProgram(io);
  if (!isName) program.helpCommand('help [command]', 'print the help of a command');
  if (!isCommand) await registerItself(program, io, finish, isName);
  for (const [name, load] of isName ? [] : Object.entries(COMMANDS)) {
    if (helps || name === word) (await load())(program, io, finish);
    // Its name is enough, for who writes another that is nearly the same.
    else program.command(name);
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
}

/** The whole of the program, not to be run: for whoever writes of its commands. Its help goes to `stdout`. */
export async function describedProgram(stdout: NodeJS.WritableStream): Promise<Command> {
  const io: CliIo = {
    stdin: (async function* () {})(),
    stdout,
    stderr: stdout,
    signal: new AbortController().signal,
    outliveTerminal: () => {},
    env: {},
  };
  const program = await newProgram(io);
  await registerItself(program, io, () => {}, false);
  for (const load of Object.values(COMMANDS)) (await load())(program, io, () => {});
  return program;
}

async function newProgram(io: CliIo): Promise<Command> {
  const { Command } = await import('commander');
  return new Command('wireonce')
    .description('WireGuard for machines that get cloned: a key and a nonce are used once, or not at all.')
    .helpOption('-h, --help', 'print this help')
    .exitOverride()
    .configureOutput({
      writeOut: text => void io.stdout.write(text),
      writeErr: text => void io.stderr.write(text),
      outputError: text => printLine(io.stderr, `wireonce: ${oneLine(text.replace(/^error: /, ''))}`),
    })
    .addHelpText(
      'after',
      '\nExit status: 0 done, 1 failed, 2 called wrongly. WIREONCE_DEBUG=1 shows stack traces.',
    );
}

/** What the program does without the name of a command. */
async function registerItself(program: Command, io: CliIo, finish: Finish, isName: boolean): Promise<void> {
  const { packageVersion } = await import('./version.js');
  const { registerDaemon } = await import('./daemon.js');
  program.version(packageVersion(), '-V, --version', 'print the version');
  registerDaemon(program, io, finish, isName);
}
