// The command table, as the program itself has it: what manual page and completions are written from.
// Promises: nothing is said of a command here that its help does not say.
// Read on: cli/program.ts; manual.ts, completions.ts.

import { Writable } from 'node:stream';
import type { Argument, Command, Option } from 'commander';
import { flagValues } from '../cli/daemon/options.js';
import { describedProgram } from '../cli/program.js';

export interface DescribedOption {
  /** `-c` and `--count`, as far as it has them. */
  readonly short: string | undefined;
  readonly long: string;
  /** `n`, of `--count <n>`. */
  readonly value: string | undefined;
  /** All values that there are, where these can be listed. */
  readonly values: readonly string[];
  /** With its default. */
  readonly help: string;
}

export interface DescribedCommand {
  /** `['wireonce', 'vmgenid', 'serve']`. */
  readonly path: readonly string[];
  readonly help: string;
  /** `[options] <config> <address>`. */
  readonly usage: string;
  readonly arguments: readonly { readonly name: string; readonly help: string }[];
  readonly options: readonly DescribedOption[];
  readonly commands: readonly DescribedCommand[];
  /** What the help says after these lists. */
  readonly after: string;
}

/** The program with all its commands. */
export async function describeProgram(): Promise<DescribedCommand> {
  let said = '';
  const sink = new Writable({
    write(chunk, _, done) {
      said += String(chunk);
      done();
    },
  });
  const program = await describedProgram(sink);
  const after = (command: Command): string => {
    said = '';
    command.outputHelp();
    return said.slice(command.helpInformation().length).trim();
  };
  return describe(program, [], after);
}

function describe(
  command: Command,
  above: readonly string[],
  after: (command: Command) => string,
): DescribedCommand {
  const help = command.createHelp();
  const path = [...above, command.name()];
  const options = help.visibleOptions(command).map(option => ({
    short: option.short,
    long: option.long ?? '',
    value: valueOf(option),
    values: flagValues(option.long ?? ''),
    help: help.optionDescription(option),
  }));
  return {
    path,
    help: command.description(),
    usage: command.usage(),
    arguments: help.visibleArguments(command).map((argument: Argument) => ({
      name: argument.name(),
      help: help.argumentDescription(argument),
    })),
    options,
    // Of `help` there is nothing to say but that it is there.
    commands: help
      .visibleCommands(command)
      .filter(each => each.name() !== 'help')
      .map(each => describe(each, path, after)),
    after: after(command),
  };
}

function valueOf({ flags }: Option): string | undefined {
  return /<(.+)>$/.exec(flags)?.[1];
}
