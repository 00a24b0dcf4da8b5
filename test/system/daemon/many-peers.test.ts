// A daemon with many peers, most of them idle or nowhere: those that work are not touched, not held up, and listed as they were set.
// Read on: scale.test.ts (how many it takes in one call).

import { afterEach, expect, test } from 'vitest';
import { closeMachines, INNER, Machine, startPair } from './support/machine.js';

const PEERS = 1_000;

afterEach(closeMachines);

/** A public key of that number: any 32 bytes are one. */
function keyOf(number: number): string {
  const bytes = Buffer.alloc(32, 9);
  bytes.writeUInt32LE(number);
  return bytes.toString('base64');
}

/** `10.0.0.0/32` and on: addresses of 10/8 by number. */
const range = (number: number) => `10.${number >>> 16}.${(number >>> 8) & 255}.${number & 255}/32`;

test(`syncconf takes half of ${PEERS} peers away and touches no session`, async () => {
  const { a, b } = await startPair();
  const peers = Array.from({ length: PEERS }, (_, i) => ({ key: keyOf(i), ip: range(i) }));
  const conf = peers.map(({ key, ip }) => `[Peer]\nPublicKey = ${key}\nAllowedIPs = ${ip}\n`).join('');
  await a.wg('addconf', a.name, a.file('conf', conf));
  const listed = async () => (await a.wg('show', a.name, 'allowed-ips')).trimEnd().split('\n');
  expect(await listed()).toHaveLength(PEERS + 1);
  for (const { key, ip } of peers.slice(0, 3)) expect(await listed()).toContain(`${key}\t${ip}`);
  expect(await a.ping(INNER.b4)).toBe(3);
  // The same file again changes nothing, and one without the half takes that half away.
  const own = [
    `[Interface]\nPrivateKey = ${a.privateKey}\nListenPort = ${await a.listenPort()}\n`,
    `[Peer]\nPublicKey = ${b.publicKey}\nAllowedIPs = ${INNER.b4}/32, ${INNER.b6}/128\n`,
  ].join('');
  await a.wg('syncconf', a.name, a.file('conf', own + conf));
  expect(await listed()).toHaveLength(PEERS + 1);
  await a.wg('syncconf', a.name, a.file('conf', own + conf.slice(0, conf.length / 2)));
  expect(await listed()).toHaveLength(PEERS / 2 + 1);
  // The session was not touched.
  const before = await a.show('latest-handshakes', b.publicKey);
  expect(await a.ping(INNER.b6)).toBe(3);
  expect(await a.show('latest-handshakes', b.publicKey)).toBe(before);
});

test('a thousand peers with keepalives to nowhere do not hold up the one that is there', async () => {
  const { a } = await startPair();
  const conf = Array.from(
    { length: PEERS },
    (_, i) =>
      `[Peer]\nPublicKey = ${keyOf(i)}\nAllowedIPs = ${range(i)}\nEndpoint = 192.168.77.200:${i + 1}\nPersistentKeepalive = 1\n`,
  ).join('');
  await a.wg('addconf', a.name, a.file('conf', conf));
  for (const address of [INNER.b4, INNER.b6]) expect(await a.ping(address, { waitS: 10 })).toBe(3);
  expect((await a.status()).handshakes.completed).toBeGreaterThanOrEqual(1);
});

test('what was set on one daemon is what the other lists, peer for peer', async () => {
  const [one, two] = [await Machine.start(), await Machine.start({ kind: 'wireguard-go' })];
  const conf = Array.from({ length: 50 }, (_, i) => {
    const psk = i % 2 === 0 ? `PresharedKey = ${keyOf(i + 1_000)}\n` : '';
    const where = i % 3 === 0 ? `Endpoint = [2001:db8::${i + 1}]:${i + 1}\nPersistentKeepalive = ${i}\n` : '';
    return `[Peer]\nPublicKey = ${keyOf(i)}\nAllowedIPs = ${range(i)}, fd00:${i}::/32\n${psk}${where}`;
  }).join('');
  const dumps = [];
  for (const machine of [one, two]) {
    const text = `[Interface]\nPrivateKey = ${one.privateKey}\nListenPort = 51876\nFwMark = 0x77\n${conf}`;
    await machine.wg('setconf', machine.name, machine.file('conf', text));
    // In no order; and of several ranges of one peer either may come first.
    const lines = (await machine.wg('show', machine.name, 'dump')).trimEnd().split('\n');
    dumps.push(
      lines
        .map(line =>
          line
            .split('\t')
            .map(field => field.split(',').toSorted().join())
            .join('\t'),
        )
        .toSorted(),
    );
  }
  expect(dumps[0]).toHaveLength(51);
  expect(dumps[0]).toEqual(dumps[1]);
});
