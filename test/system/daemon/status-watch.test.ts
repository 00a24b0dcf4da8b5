// `wireonce status --watch` on a real terminal: in place, through a restart of the daemon, and the cursor comes back.

import { spawn } from 'node:child_process';
import { afterEach, expect, test } from 'vitest';
import { until } from '../support/run.js';
import { atEnd, closeMachines, Machine, PROGRAM } from './support/machine.js';

afterEach(closeMachines);

const CTRL_C = '\u0003';

test('it draws in place, waits for the daemon that is restarted, and ends by Ctrl-C with the cursor back', async () => {
  const machine = await Machine.start();
  const watch = `${process.execPath} ${PROGRAM} status --watch 0.2 ${machine.name}`;
  const command = `stty rows 40 columns 100; exec ${watch}`;
  // A program that gives another one a terminal of its own.
  const terminal = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null']);
  atEnd(() => terminal.kill('SIGKILL'));
  let out = '';
  terminal.stdout.on('data', chunk => (out += chunk));
  const ended = new Promise<number | null>(resolve => terminal.on('close', resolve));

  await until('a picture', () => out.includes(`interface: ${machine.name}`));
  expect(out.indexOf('\u001b[?25l')).toBe(0);
  await machine.end('SIGTERM');
  await until('the wait', () => /waiting: \S+: no daemon answers/.test(out));
  const before = out.length;
  await machine.launch();
  await until('it to be back', () => out.slice(before).includes('protection:'));
  terminal.stdin.write(CTRL_C);
  expect(await ended).toBe(0);
  expect(out.endsWith('\u001b[?25h')).toBe(true);
  expect(out.split('\u001b[H').length).toBeGreaterThan(3);
  expect(out.split('\u001b[2J')).toHaveLength(2);
});
