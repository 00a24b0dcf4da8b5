// A program that is asked for the rest of an identity: what it is told, and that it is bounded in every way.

import type * as ChildProcess from 'node:child_process';
import { EventEmitter } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { askEnroller, type EnrollerQuestion } from '../../../../tunnel/daemon/clone/enroller.js';

/** Whether no descriptor is left: then Node gives a process without streams, which has an error to tell and nothing else. */
let isCramped = false;
vi.mock('node:child_process', async original => {
  const real = await original<typeof ChildProcess>();
  const spawn = (...given: Parameters<typeof real.spawn>) => {
    if (!isCramped) return real.spawn(...given);
    const child = new EventEmitter();
    process.nextTick(() => child.emit('error', new Error('spawn EMFILE')));
    return child;
  };
  return { ...real, spawn };
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-enroller-'));
});
afterEach(() => {
  isCramped = false;
  rmSync(folder, { recursive: true, force: true });
});

function ask(script: string, change: Partial<EnrollerQuestion> = {}): Promise<string> {
  const program = join(folder, 'enroller');
  writeFileSync(program, `#!/bin/sh\n${script}\n`);
  chmodSync(program, 0o700);
  const question = { program, publicKey: 'the key', interface: 'wg7', epoch: 3 };
  return askEnroller({ ...question, signal: new AbortController().signal, ...change });
}

/** Whether a process with the number in this file of the folder still runs. */
function runs(name: string): boolean {
  try {
    process.kill(Number(readFileSync(join(folder, name), 'utf8')), 0);
    return true;
  } catch {
    return false;
  }
}

it('is told the key, the interface and the epoch, and none of our settings', async () => {
  process.env['WIREONCE_HOOK_TOKEN'] = 'a secret';
  try {
    const said = await ask(
      'cat; echo $WIREONCE_PUBLIC_KEY $WIREONCE_INTERFACE $WIREONCE_EPOCH; env | grep -c ^WIREONCE_',
    );
    expect(said).toBe('the key\nthe key wg7 3\n3\n');
  } finally {
    delete process.env['WIREONCE_HOOK_TOKEN'];
  }
});

it('need not read', async () => {
  expect(await ask('exec <&-; echo done', { publicKey: 'k'.repeat(100_000) })).toBe('done\n');
});

describe('is no answer', () => {
  it.each([
    ['a status', 'echo half; exit 4', 'ended with status 4'],
    [
      'a status with a complaint, of which a part is shown',
      'yes "no  way" | head -999 >&2; exit 5',
      /^ended with status 5: no way no way/,
    ],
    ['a signal', 'kill -9 $$', 'was ended by SIGKILL'],
    ['too much', 'yes', 'printed more than 65536 bytes'],
  ])('%s', async (_, script, problem) => {
    const error = await ask(script).then(
      () => undefined,
      (error: Error) => error,
    );
    expect(error?.message).toEqual(typeof problem === 'string' ? problem : expect.stringMatching(problem));
    expect(error?.message.length).toBeLessThan(300);
  });

  it('a program that is none', async () => {
    await expect(ask('', { program: join(folder, 'none') })).rejects.toThrow('ENOENT');
  });

  it('a program for which there is no descriptor left', async () => {
    isCramped = true;
    await expect(ask('')).rejects.toThrow(/^spawn EMFILE$/);
  });

  it.each([
    ['what takes too long', { timeoutMs: 300 }, 'took longer than 0.3 s'],
    ['what is not wanted any more', {}, 'is not needed any more'],
  ])('%s, which is ended with all that it has started', async (_, change, problem) => {
    const over = new AbortController();
    const script = `sleep 1000 & echo $! >${folder}/child; echo $$ >${folder}/self; trap '' TERM; echo [Interface]; wait`;
    const answer = ask(script, { signal: over.signal, ...change });
    answer.catch(() => undefined);
    while (!runs('self')) await new Promise(resolve => setTimeout(resolve, 20));
    if (!('timeoutMs' in change)) over.abort();
    await expect(answer).rejects.toThrow(problem);
    while (runs('child') || runs('self')) await new Promise(resolve => setTimeout(resolve, 20));
  });
});

it('what has left its group, as a connection that ssh keeps, is not waited for', async () => {
  const stray = `setsid sh -c 'echo $$ >${folder}/child; exec sleep 1000' & while [ ! -s ${folder}/child ]; do sleep 0.02; done`;
  try {
    expect(await ask(`${stray}; echo good`)).toBe('good\n');
    await expect(ask(`${stray}; sleep 1000`, { timeoutMs: 1_000 })).rejects.toThrow('took longer than 1 s');
  } finally {
    if (runs('child')) process.kill(Number(readFileSync(join(folder, 'child'), 'utf8')), 'SIGKILL');
  }
});

it('what it leaves running is ended, and not waited for', async () => {
  expect(await ask(`sleep 1000 & echo $! >${folder}/child; echo good`)).toBe('good\n');
  while (runs('child')) await new Promise(resolve => setTimeout(resolve, 20));
});
