// Policy `hold` and WebSockets: a daemon that was forked dials nobody, whose password would be the other clone's, until it
// has a key of its own.

import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { sleep, until } from '../support/run.js';
import { closeMachines, folder, INNER, type Machine, startPair } from './support/machine.js';

afterEach(closeMachines);

const PORT = 8_443;
/** Longer than the first waits between attempts to dial. */
const SILENCE_MS = 4_000;

/** A, who dials B by a WebSocket, and a way to fork A's machine. */
async function dialling(forkPolicy: 'hold' | 'wipe') {
  const home = folder();
  const generation = join(home, 'generation');
  const write = (byte: number) => {
    writeFileSync(`${generation}.new`, Buffer.alloc(16, byte));
    renameSync(`${generation}.new`, generation);
  };
  write(1);
  const conf = join(home, 'wg.conf');
  writeFileSync(conf, '[Interface]\n', { mode: 0o600 });
  const flags = ['--config', conf, '--fork-policy', forkPolicy, '--generation-file', generation];
  const { a, b, outer } = await startPair({
    a: { flags: [...flags, '--generation-file-timing', 'immediate'] },
    b: { flags: ['--listen-websocket', `${PORT}`] },
  });
  const peer = `[Peer]\nPublicKey = ${b.publicKey}\nEndpoint = ws://user:secret@${outer.b}:${PORT}/\n`;
  writeFileSync(conf, `[Interface]\n${peer}`, { mode: 0o600 });
  await a.end('SIGTERM');
  await a.launch();
  await a.up(`${INNER.a4}/24`);
  await a.wg('set', a.name, 'peer', b.publicKey, 'allowed-ips', `${INNER.b4}/32`);
  expect(await a.ping(INNER.b4, { waitS: 20, count: 1 })).toBe(1);
  return { a, b, fork: () => write(2) };
}

/** Connections to the port that B has accepted. */
async function accepted(b: Machine): Promise<number> {
  return (await b.exec('ss', '-Htn', 'state', 'established', `sport = :${PORT}`)).split('\n').filter(Boolean)
    .length;
}

test('on hold no WebSocket is dialled, before a new private key is set', async () => {
  const { a, b, fork } = await dialling('hold');
  expect(await accepted(b)).toBe(1);
  fork();
  await until('the device to be on hold', async () => (await a.status()).held);
  await until('the connection to be cut', async () => (await accepted(b)) === 0);
  for (const end = performance.now() + SILENCE_MS; performance.now() < end; await sleep(100)) {
    expect(await accepted(b)).toBe(0);
  }
  // What is set beside a key does not end it.
  await a.wg('set', a.name, 'peer', b.publicKey, 'persistent-keepalive', '1');
  await sleep(SILENCE_MS / 2);
  expect(await accepted(b)).toBe(0);

  const key = (await a.wg('genkey')).trim();
  const publicKey = (await a.exec('sh', '-c', `echo ${key} | wg pubkey`)).trim();
  await b.wg(
    'set',
    b.name,
    'peer',
    a.publicKey,
    'remove',
    'peer',
    publicKey,
    'allowed-ips',
    `${INNER.a4}/32`,
  );
  await a.wg('set', a.name, 'private-key', a.file('another', key));
  await until('the peer to be dialled', async () => (await accepted(b)) === 1);
  expect(await a.ping(INNER.b4, { waitS: 20, count: 1 })).toBe(1);
});

test('by policy wipe (control) it is dialled anew', async () => {
  const { a, b, fork } = await dialling('wipe');
  fork();
  await until('a response', async () => (await a.status()).forks === 1);
  await until('the peer to be dialled', async () => (await accepted(b)) === 1);
  expect(await a.ping(INNER.b4, { waitS: 20, count: 1 })).toBe(1);
});
