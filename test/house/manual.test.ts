// What is written from the command table: the manual page and the completions say all that the program has, and the units
// of the package are those of the sources.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type DescribedCommand, describeProgram } from '../../release/commands.js';
import { bashCompletion, fishCompletion, zshCompletion } from '../../release/completions.js';
import { unitOfPackage } from '../../release/deb.js';
import { manualPage } from '../../release/manual.js';

const program = await describeProgram();
const all = (command: DescribedCommand): DescribedCommand[] => [command, ...command.commands.flatMap(all)];
const commands = all(program);
const flags = [...new Set(commands.flatMap(({ options }) => options.map(({ long }) => long)))];

it('the table has every command and what belongs to it', () => {
  expect(commands.map(({ path }) => path.join(' '))).toEqual(
    expect.arrayContaining(['wireonce', 'wireonce ping', 'wireonce vmgenid serve', 'wireonce genkey']),
  );
  const ping = commands.find(({ path }) => path.at(-1) === 'ping');
  expect(ping?.arguments.map(({ name }) => name)).toEqual(['config', 'address']);
  expect(ping?.options).toContainEqual(
    expect.objectContaining({ short: '-c', long: '--count', value: 'n', values: [] }),
  );
  expect(ping?.after).toContain('Examples:');
  expect(program.options.find(({ long }) => long === '--suite')?.values).toContain('noble');
});

describe('wireonce(8)', () => {
  const page = manualPage(program, '1.2.3', '2026-01-31');
  const plain = page.replaceAll('\\-', '-');

  it('names every command and every flag, and every variable', () => {
    for (const { path } of commands.slice(1)) expect(plain).toContain(`${path.slice(1).join(' ')} `.trim());
    for (const flag of flags) expect(plain).toContain(flag);
    for (const variable of ['WIREONCE_FORK_POLICY', 'WIREONCE_HOOK_TOKEN', 'WIREONCE_LISTEN_WEBSOCKET'])
      expect(plain).toContain(variable);
  });

  it('no text of the help is taken for a command of troff', () => {
    const hostile = { ...program, help: ".so /etc/passwd\n\n'x \\n a-b" };
    const lines = manualPage(hostile, '1', '2026-01-31').split('\n');
    expect(lines).toContain('\\&.so /etc/passwd');
    expect(lines).toContain("\\&'x \\en a\\-b");
    const macros = lines.filter(line => /^[.']/.test(line)).map(line => line.split(' ')[0]);
    expect(new Set(macros)).toEqual(new Set(['.TH', '.SH', '.SS', '.TP', '.B', '.BR', '.PP', '.nf', '.fi']));
  });
});

it.each([
  ['bash', bashCompletion(program), (flag: string) => flag],
  ['zsh', zshCompletion(program), (flag: string) => flag],
  ['fish', fishCompletion(program), (flag: string) => `-l ${flag.slice(2)}`],
])('the completion of %s has every flag', (_, text, written) => {
  expect(flags.length).toBeGreaterThan(30);
  for (const flag of flags) expect(text).toContain(written(flag));
});

it.each(['wireonce@.service', 'wireonce-vmgenid.service'])(
  'the package’s %s runs the program of the package',
  name => {
    const unit = readFileSync(new URL(`../../systemd/${name}`, import.meta.url), 'utf8');
    const changed = unitOfPackage(unit);
    expect(changed.match(/^Exec\w+=.*/gm)).toEqual([
      expect.stringMatching(/^ExecStart=\/usr\/bin\/wireonce /),
    ]);
    // And is the same for the rest.
    const rest = (text: string) => text.split('\n').filter(line => !/^(Exec|#)/.test(line));
    expect(rest(changed)).toEqual(rest(unit));
  },
);
