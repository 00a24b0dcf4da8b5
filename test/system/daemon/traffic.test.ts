// Traffic between daemons: ours on both sides, and ours with Debian's wireguard-go on either.

import { afterEach, describe, expect, test } from 'vitest';
import { iperf } from './support/iperf.js';
import { closeMachines, endpoint, INNER, type Kind, startPair } from './support/machine.js';

afterEach(closeMachines);

const KINDS: readonly (readonly [Kind, Kind])[] = [
  ['wireonce', 'wireonce'],
  ['wireonce', 'wireguard-go'],
  ['wireguard-go', 'wireonce'],
];

describe.each(KINDS)('%s calls %s', (a, b) => {
  const pair = (options: Parameters<typeof startPair>[0] = {}) =>
    startPair({ ...options, a: { kind: a }, b: { kind: b } });

  test.each([4, 6] as const)('pings pass in both families over IPv%d', async outer => {
    const { a, b } = await pair({ outer });
    expect(await a.ping(INNER.b4)).toBe(3);
    expect(await a.ping(INNER.b6)).toBe(3);
    expect(await b.ping(INNER.a4)).toBe(3);
    expect(await b.ping(INNER.a6)).toBe(3);
  });

  test.each([4, 6] as const)('answers come from the address that was called, over IPv%d', async outer => {
    const { a, b, ports } = await pair({ outer });
    const second = outer === 4 ? '192.168.77.22' : 'fd99::22';
    const link = JSON.parse(await b.ip('-j', 'link', 'show', 'type', 'veth'))[0].ifname as string;
    const nodad = outer === 6 ? ['nodad'] : [];
    await b.ip('address', 'add', `${second}/${outer === 4 ? 24 : 64}`, 'dev', link, ...nodad);
    await a.wg('set', a.name, 'peer', b.publicKey, 'endpoint', endpoint(second, ports.b));
    expect(await a.ping(INNER.b4)).toBe(3);
    expect(await a.show('endpoints', b.publicKey)).toBe(endpoint(second, ports.b));
    // That address goes: the way is forgotten, and the tunnel goes on by another. (wireguard-go may go on trying.)
    if (b.kind === 'wireguard-go') return;
    await b.ip('address', 'del', `${second}/${outer === 4 ? 24 : 64}`, 'dev', link);
    expect(await b.ping(INNER.a4)).toBe(3);
    expect(await a.show('endpoints', b.publicKey)).not.toBe(endpoint(second, ports.b));
  });

  test('wg show transfer counts every byte, padding included', async () => {
    const { a, b } = await pair();
    // 84 bytes of IP become 96, and 32 around them: 10 * 128. The handshake has 148 and 92.
    expect(await a.ping(INNER.b4, { count: 10 })).toBe(10);
    const [received, sent] = (await a.show('transfer', b.publicKey)).split('\t').map(Number);
    expect(received).toBe(92 + 10 * 128);
    expect(sent).toBe(148 + 10 * 128);
    const [theirs, ours] = (await b.show('transfer', a.publicKey)).split('\t').map(Number);
    // Whoever answered the handshake sends no keepalive while it has echoes to send.
    expect([theirs, ours]).toEqual([148 + 10 * 128, 92 + 10 * 128]);
  });

  test('packets of every size pass at an MTU of 1280, 1420 and 9000', async () => {
    const { a, b } = await pair({ outerMtu: 9_100 });
    for (const mtu of [1_280, 1_420, 9_000]) {
      for (const machine of [a, b]) await machine.ip('link', 'set', machine.name, 'mtu', `${mtu}`);
      for (const size of [0, 1, 15, 16, 17, mtu - 29, mtu - 28]) {
        expect(await a.ping(INNER.b4, { count: 1, size }), `${size} bytes at ${mtu}`).toBe(1);
      }
    }
  });

  test('TCP and UDP stream both ways', async () => {
    const found = await pair();
    for (const reverse of [false, true]) {
      const back = reverse ? ['-R'] : [];
      expect((await iperf(found, ['-t', '1', ...back])).bitsPerSecond).toBeGreaterThan(1e6);
      expect((await iperf(found, ['-t', '1', '-u', '-b', '5M', ...back])).bitsPerSecond).toBeGreaterThan(1e5);
    }
  });
});
