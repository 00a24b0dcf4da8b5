// Programs that the bench keeps running are ended by it, and by it alone.

import { expect, test, vi } from 'vitest';
import { Program, run, runUnread, succeeds, until, which } from '../../../bench/tunnel/programs.js';
import { Undo } from '../../../bench/tunnel/undo.js';

const undo = new Undo();
const idle = (prelude = '') =>
  new Program(process.execPath, ['-e', `${prelude}setInterval(() => {}, 1000)`], undo);

test('a program that is closed has ended when the call returns', async () => {
  const program = idle();
  expect(program.running).toBe(true);
  await program.close();
  expect(program.running).toBe(false);
  expect(() => process.kill(program.pid, 0)).toThrow();
});

test('undoing ends what was not closed, last first, and a step that throws stops nobody', async () => {
  const program = idle();
  const order: number[] = [];
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  undo.push(() => order.push(1));
  undo.push(() => {
    throw new Error('a step that fails, on purpose');
  });
  undo.push(() => order.push(2));
  undo.run();
  expect(said.mock.calls).toEqual([['bench: taking down: a step that fails, on purpose\n']]);
  said.mockRestore();
  expect(order).toEqual([2, 1]);
  await until('its end', () => !program.running);
});

test('what a program says is kept, and a program that does not exist says so', async () => {
  const speaker = idle('console.log("ready");');
  await until('its word', () => speaker.log.includes('ready'));
  await speaker.close();
  const nobody = new Program('/nonexistent/program', [], undo);
  await until('the complaint', () => nobody.log !== '');
  expect(nobody.running).toBe(false);
  expect(() => nobody.pid).toThrow('ENOENT');
  await nobody.close();
});

test('a command that fails throws its complaint', async () => {
  await expect(run('sh', ['-c', 'echo no >&2; exit 3'])).rejects.toThrow('no');
  expect(await run('cat', [], { input: 'through' })).toBe('through');
  expect(await succeeds('false', [])).toBe(false);
  expect(which('sh')).toMatch(/\/sh$/);
  expect(which('a-program-that-nobody-has')).toBeUndefined();
});

test('what goes to a file first is what it printed, and a failure is told likewise', async () => {
  expect(await runUnread('sh', ['-c', 'echo "$0 and $1"', 'a b', 'c'])).toBe('a b and c\n');
  await expect(runUnread('sh', ['-c', 'echo no >&2; exit 3'])).rejects.toThrow('no');
});
