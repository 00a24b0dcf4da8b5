// `wireonce drill`: every peer comes back under new keys, whoever it is; and what is wrong after a fork, a drill shows.

import { spawn } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { DrillReport } from '../../../cli/drill-report.js';
import { until } from '../support/run.js';
import { programWith } from './support/copied-program.js';
import {
  closeMachines,
  folder,
  INNER,
  type Kind,
  type Machine,
  PROGRAM,
  startPair,
} from './support/machine.js';

afterEach(closeMachines);

/** What an idle machine needs a few milliseconds for. */
const BUSY = ['--timeout', '60'];
const SOON = ['--timeout', '1'];

interface Drilled {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function drill({ name }: Machine, ...args: string[]): Promise<Drilled> {
  const child = spawn(process.execPath, [PROGRAM, 'drill', name, ...args]);
  const said = { out: '', err: '' };
  child.stdout.on('data', text => (said.out += text));
  child.stderr.on('data', text => (said.err += text));
  return new Promise(resolve => child.on('close', code => resolve({ code, ...said })));
}

const report = async (machine: Machine, ...args: string[]): Promise<DrillReport> =>
  JSON.parse((await drill(machine, '--json', ...args)).out);

describe.each<Kind>(['wireonce', 'wireguard-go'])('with %s on the other side', kind => {
  test('the peer in conversation is back under new keys, and nothing else has changed', async () => {
    const { a, b } = await startPair({ b: { kind } });
    expect(await a.ping(INNER.b4)).toBe(3);
    const before = await a.status();
    const drilled = await report(a, ...BUSY);
    expect(drilled).toMatchObject({
      interface: a.name,
      epoch: 2,
      ok: true,
      problems: [],
      wipedKeypairs: 1,
      staleKeypairs: 0,
      opensslHealed: true,
      called: 1,
      back: 1,
    });
    const [peer] = drilled.peers;
    expect(peer).toMatchObject({ publicKey: b.publicKey, sessionEpoch: 2 });
    expect(peer.sessionIndexBefore).toBe(before.peers[0].sessionIndex);
    expect(peer.sessionIndex).not.toBe(peer.sessionIndexBefore);
    expect(peer.backAfterMs).toBeGreaterThan(0);

    const after = await a.status();
    expect(after).toMatchObject({ epoch: 2, forks: 0, drills: 1, held: false, publicKey: before.publicKey });
    expect(after.handshakes.completed).toBe(before.handshakes.completed + 1);
    expect(await b.ping(INNER.a6)).toBe(3);
    expect(a.log()).toContain('A drill, and no fork: epoch 2 begins');

    const again = await drill(a, ...BUSY);
    expect(again).toMatchObject({ code: 0, err: '' });
    expect(again.out).toMatch(
      /1 of 1 back\n {4}\S+ {2}back after [\d.]+ ms, session [\da-f]{8} -> [\da-f]{8}\n/,
    );
    expect(again.out).toMatch(/ all under new keys\n$/);
  });
});

test('by policy hold the identity stays, and the peer comes back; a fork after it is one', async () => {
  const path = join(folder(), 'generation');
  const write = (byte: number) => {
    writeFileSync(`${path}.new`, Buffer.alloc(16, byte));
    renameSync(`${path}.new`, path);
  };
  write(1);
  const source = ['--generation-file', path, '--generation-file-timing', 'immediate'];
  const { a, b } = await startPair({ a: { flags: ['--fork-policy', 'hold', ...source] } });
  expect(await a.ping(INNER.b4)).toBe(3);
  expect(await report(a, ...BUSY)).toMatchObject({ ok: true, epoch: 2, called: 1, back: 1 });
  expect(await a.status()).toMatchObject({ held: false, publicKey: a.publicKey });

  // Nobody answers any more: so that the drill lasts until there is a fork.
  await b.end('SIGKILL');
  const drilling = drill(a, ...BUSY);
  await until('the drill', async () => (await a.status()).epoch === 3);
  write(2);
  const { code, out } = await drilling;
  expect(code).toBe(1);
  expect(out).toContain('FAILED: this machine was forked meanwhile: what is seen is of epoch 4');
  expect(await a.status()).toMatchObject({ forks: 1, drills: 2, held: true });
  const refused = await drill(a);
  expect(refused).toMatchObject({ code: 1, out: '' });
  expect(refused.err).toContain('no drill now: the device is held after a fork');
});

test('a peer that is not back is named, of two at once one is told to wait, and one alone has failed', async () => {
  const { a, b } = await startPair();
  expect(await a.ping(INNER.b4)).toBe(3);
  await b.end('SIGKILL');
  const drills = await Promise.all([drill(a, ...SOON), drill(a, ...SOON)]);
  expect(drills.map(({ code }) => code)).toEqual([1, 1]);
  const said = drills.map(({ out, err }) => out + err).join();
  expect(said).toContain(`FAILED: peer ${b.publicKey} is not back after 1 s`);
  expect(said).toContain('still coming back from what began epoch 2: 0 of 1 peers are back');
  expect(await a.status()).toMatchObject({ drills: 1 });
});

describe('control: what is wrong after a fork fails a drill', () => {
  const RESPONSE = 'dist/sessions/fork-response.js';

  test.each([
    [
      'nothing is erased, the stamps alone hold',
      RESPONSE,
      'dropSessions(context, ended, recovery);',
      '',
      'of an older epoch could still seal',
    ],
    [
      'keys go on under a new stamp',
      RESPONSE,
      'dropSessions(context, ended, recovery);',
      `for (const peer of context.peers.values())
        for (const each of [peer.keypairs.previous, peer.keypairs.current, peer.keypairs.next])
          if (each) each.sendEpoch = each.receiveEpoch = context.epoch;`,
      'has the session that it had before',
    ],
    [
      'nobody is called',
      RESPONSE,
      'context.recalled.add(peer);\n        recovery',
      'recovery',
      'is not back after',
    ],
  ])('%s', async (_, module, text, other, problem) => {
    const { a } = await startPair({ a: { program: programWith(module, text, other) } });
    expect(await a.ping(INNER.b4)).toBe(3);
    const { code, out } = await drill(a, ...SOON);
    expect(out).toContain(problem);
    expect(code).toBe(1);
  });
});
