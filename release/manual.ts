// The manual page wireonce(8), written from the help of the program.
// Promises: every command, argument, flag and variable that the program has, in its own words.
// Read on: commands.ts; man(7).

import { settingVariables } from '../cli/daemon/options.js';
import type { DescribedCommand, DescribedOption } from './commands.js';

/** The page as troff source. `date` is shown at its foot, as `2026-01-31`. */
export function manualPage(program: DescribedCommand, version: string, date: string): string {
  const { options } = program;
  const lines = [
    `.TH WIREONCE 8 ${date} "wireonce ${version}" "System Administration"`,
    '.SH NAME',
    `wireonce \\- ${escape(program.help.replace(/\.$/, ''))}`,
    '.SH SYNOPSIS',
    ...synopses(program),
    '.SH DESCRIPTION',
    ...paragraphs(program.help),
    ...argumentsOf(program),
    '.SH OPTIONS',
    ...options.flatMap(optionLines),
    '.SH COMMANDS',
    ...program.commands.flatMap(commandLines),
    '.SH ENVIRONMENT',
    'The settings of an interface; a flag wins over them.',
    ...settingVariables().flatMap(({ variable, setting, flags }) =>
      item(variable, `${setting}${flags.length > 0 ? `: as ${flags.join(', ')}` : ', which has no flag'}`),
    ),
    '.SH FILES',
    ...item('/etc/wireonce/INTERFACE.conf', `The settings of an interface: ${settingNames().join(', ')}.`),
    ...item('/usr/share/doc/wireonce/docs/configuration.md', 'All of it, with what these settings mean.'),
    '.SH EXIT STATUS',
    ...paragraphs(program.after),
    '.SH SEE ALSO',
    '.BR wg (8),',
    '.BR wg\\-quick (8)',
  ];
  return `${lines.join('\n')}\n`;
}

const settingNames = () => settingVariables().map(({ setting }) => setting);

function synopses({ path, usage, commands }: DescribedCommand): string[] {
  return [
    '.nf',
    ...[{ path, usage: usage.replace('[command] ', '') }, ...commands.flatMap(leaves)].map(
      each => `.B ${escape(`${each.path.join(' ')} ${each.usage}`.trim())}`,
    ),
    '.fi',
  ];
}

function leaves(command: DescribedCommand): DescribedCommand[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

function commandLines(command: DescribedCommand): string[] {
  const { path, usage, help, options, after } = command;
  return [
    `.SS ${escape([...path.slice(1), usage].join(' ').trim())}`,
    ...paragraphs(help),
    ...argumentsOf(command),
    ...options.filter(({ long }) => long !== '--help').flatMap(optionLines),
    ...(after === '' ? [] : ['.PP', '.nf', ...after.split('\n').map(escape), '.fi']),
    ...command.commands.flatMap(commandLines),
  ];
}

function argumentsOf(command: DescribedCommand): string[] {
  return command.arguments.flatMap(({ name, help }) => item(name, help));
}

function optionLines({ short, long, value, help }: DescribedOption): string[] {
  const flags = [short, long].filter(Boolean).join(', ');
  return item(value === undefined ? flags : `${flags} <${value}>`, help);
}

function item(term: string, text: string): string[] {
  return ['.TP', `.B ${escape(term)}`, escape(text)];
}

function paragraphs(text: string): string[] {
  return text.split('\n\n').flatMap(part => ['.PP', escape(part)]);
}

/** A line of text: no character of it is a command to troff. */
function escape(text: string): string {
  return text.replaceAll('\n', ' ').replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^[.']/, '\\&$&');
}
