// Large configurations: as many peers and address ranges as anybody has, in one call.

import { afterEach, expect, test } from 'vitest';
import { publicKeyOf } from '../../../protocol/suite.js';
import { fastestSuite } from '../../../protocol/suites/fastest.js';
import { encodeKey } from '../../../tunnel/keys.js';
import { run } from '../support/run.js';
import { closeMachines, INNER, Machine, startPair } from './support/machine.js';

afterEach(closeMachines);

const suite = await fastestSuite();
const PEERS = 1_000;
const RANGES = 130_000;

/** A private key, and the public one, in base64, from a number. */
function identity(number: number) {
  const privateKey = new Uint8Array(32).fill(7);
  new DataView(privateKey.buffer).setUint32(4, number);
  privateKey[0] &= 0xf8;
  privateKey[31] = (privateKey[31] & 0x7f) | 0x40;
  return { secret: encodeKey(privateKey), name: encodeKey(publicKeyOf(suite, privateKey)) };
}

test(`${RANGES} allowed IPs are set and listed in one call, and traffic finds its peer among them`, async () => {
  const { a, b } = await startPair();
  const range = (i: number) => `10.${100 + (i >> 16)}.${(i >> 8) & 0xff}.${i & 0xff}/32`;
  const ranges = Array.from({ length: RANGES }, (_, i) => range(i));
  const lines = [`[Interface]`, `PrivateKey = ${a.privateKey}`];
  // Half of them each, in turn: neighbours belong to different peers.
  const other = identity(0);
  lines.push('[Peer]', `PublicKey = ${b.publicKey}`, `Endpoint = 192.168.77.2:${await b.listenPort()}`);
  for (const [i, each] of ranges.entries()) if (i % 2 === 0) lines.push(`AllowedIPs = ${each}`);
  lines.push('[Peer]', `PublicKey = ${other.name}`);
  for (const [i, each] of ranges.entries()) if (i % 2 === 1) lines.push(`AllowedIPs = ${each}`);
  await a.wg('setconf', a.name, a.file('conf', `${lines.join('\n')}\n`));

  const listed = await a.wg('show', a.name, 'allowed-ips');
  const byPeer = new Map(
    listed
      .trimEnd()
      .split('\n')
      .map(line => [line.split('\t')[0], new Set(line.split('\t')[1].split(' '))]),
  );
  expect(byPeer.get(b.publicKey)).toEqual(new Set(ranges.filter((_, i) => i % 2 === 0)));
  expect(byPeer.get(other.name)).toEqual(new Set(ranges.filter((_, i) => i % 2 === 1)));

  // The last of the ranges is found, and its neighbour is another's.
  const last = ranges[RANGES - 2].split('/')[0];
  await b.ip('address', 'add', `${last}/32`, 'dev', 'lo');
  await a.ip('route', 'add', '10.96.0.0/11', 'dev', a.name);
  expect(await a.ping(last)).toBe(3);
  const neighbour = ranges[RANGES - 1].split('/')[0];
  expect(await a.ping(neighbour, { count: 1, waitS: 1 })).toBe(0);

  // Moved to the other peer in one call, too.
  const moved = ['[Peer]', `PublicKey = ${other.name}`, ...ranges.map(each => `AllowedIPs = ${each}`)];
  await a.wg('addconf', a.name, a.file('moved', `${moved.join('\n')}\n`));
  expect((await a.show('allowed-ips', other.name)).split(' ')).toHaveLength(RANGES);
  expect(await a.show('allowed-ips', b.publicKey)).toBe('(none)');
}, 300_000);

test(`${PEERS} peers are set and listed in one call, and each of those that call is answered`, async () => {
  const { a, b } = await startPair();
  const peers = Array.from({ length: PEERS }, (_, i) => identity(i + 1));
  const address = (i: number) => `10.78.${i >> 8}.${i & 0xff}`;
  const lines = peers.flatMap(({ name }, i) => [
    '[Peer]',
    `PublicKey = ${name}`,
    `AllowedIPs = ${address(i)}/32`,
  ]);
  await b.wg('addconf', b.name, b.file('conf', `${lines.join('\n')}\n`));
  expect((await b.wg('show', b.name, 'peers')).trimEnd().split('\n')).toHaveLength(PEERS + 1);
  const { peers: shown } = await b.status();
  expect(shown).toHaveLength(PEERS + 1);
  expect(await a.ping(INNER.b4)).toBe(3);

  // One machine takes one identity after another: each finds its own session.
  const port = await b.listenPort();
  await b.ip('route', 'add', '10.78.0.0/16', 'dev', b.name);
  for (const i of [0, 1, PEERS / 2, PEERS - 1]) {
    const client = await Machine.start({ namespace: a.namespace });
    await client.wg('set', client.name, 'private-key', client.file('key', peers[i].secret));
    await client.up(`${address(i)}/32`);
    const to = ['allowed-ips', '10.79.0.1/32', 'endpoint', `192.168.77.2:${port}`];
    await client.wg('set', client.name, 'peer', b.publicKey, ...to);
    await client.ip('route', 'add', '10.79.0.1/32', 'dev', client.name, 'src', address(i));
    await run('ip', ['-n', b.namespace, 'address', 'replace', '10.79.0.1/32', 'dev', 'lo']);
    expect(await client.ping('10.79.0.1'), `peer ${i}`).toBe(3);
    await client.end('SIGTERM');
  }
  const handshakes = (await b.wg('show', b.name, 'latest-handshakes')).trimEnd().split('\n');
  expect(handshakes.filter(line => !line.endsWith('\t0'))).toHaveLength(5);

  // And gone in one call.
  await b.wg('setconf', b.name, b.file('empty', `[Interface]\nPrivateKey = ${b.privateKey}\n`));
  expect(await b.wg('show', b.name, 'peers')).toBe('');
}, 300_000);
