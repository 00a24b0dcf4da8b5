// The ways that datagrams take: through a tunnel of their own, a router with moods, another namespace, a new address.

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { run, until } from '../support/run.js';
import {
  atEnd,
  closeMachines,
  endpoint,
  INNER,
  type Kind,
  Machine,
  namespace,
  startPair,
} from './support/machine.js';

afterEach(closeMachines);

const NAT = fileURLToPath(new URL('./support/nat.mjs', import.meta.url));

describe.each<Kind>(['wireonce', 'wireguard-go'])('with %s on the other side', kind => {
  test('a tunnel in a tunnel', async () => {
    const { a, b } = await startPair({ b: { kind } });
    const innerA = await Machine.start({ namespace: a.namespace });
    const innerB = await Machine.start({ namespace: b.namespace, kind });
    for (const machine of [innerA, innerB]) await machine.ip('link', 'set', machine.name, 'mtu', '1340');
    await innerA.up('10.88.0.1/24');
    await innerB.up('10.88.0.2/24');
    const at = endpoint(INNER.b4, await innerB.listenPort());
    await innerA.wg(
      'set',
      innerA.name,
      'peer',
      innerB.publicKey,
      'allowed-ips',
      '10.88.0.2/32',
      'endpoint',
      at,
    );
    await innerB.wg('set', innerB.name, 'peer', innerA.publicKey, 'allowed-ips', '10.88.0.1/32');
    expect(await innerA.ping('10.88.0.2')).toBe(3);
    expect(await innerB.ping('10.88.0.1', { size: 1_312 })).toBe(3);
    // It did go through the outer one.
    const [received] = (await b.show('transfer', a.publicKey)).split('\t').map(Number);
    expect(received).toBeGreaterThan(3 * 1_340);
  });

  test('a router with keepalives: the peer inside is reached, and again when the router’s port has changed', async () => {
    const { a, b, outer, ports } = await startPair({ b: { kind } });
    // The router stands beside B, and A sends to it alone.
    const router = await startRouter(b.namespace, 40_001, `127.0.0.1`, ports.b);
    await a.wg('set', a.name, 'peer', b.publicKey, 'endpoint', endpoint(outer.b, 40_001));
    // Nobody has called from inside: A cannot be reached (control).
    expect(await b.ping(INNER.a4, { count: 1, waitS: 1 })).toBe(0);
    await a.wg('set', a.name, 'peer', b.publicKey, 'persistent-keepalive', '1');
    await until('a way in', async () => (await b.show('endpoints', a.publicKey)) !== '(none)');
    expect(await b.ping(INNER.a4)).toBe(3);
    const before = await b.show('endpoints', a.publicKey);
    expect(before).toMatch(/^127\.0\.0\.1:/);

    await router.move();
    await until('the new port', async () => (await b.show('endpoints', a.publicKey)) !== before);
    expect(await b.ping(INNER.a4)).toBe(3);
    expect(await a.ping(INNER.b4)).toBe(3);
  });

  test('either side moves to another address, and is followed', async () => {
    const { a, b, ports } = await startPair({ b: { kind } });
    expect(await a.ping(INNER.b4)).toBe(3);
    for (const [mover, other, old, now, port] of [
      [a, b, '192.168.77.1', '192.168.77.31', ports.a],
      [b, a, '192.168.77.2', '192.168.77.32', ports.b],
    ] as const) {
      const link = JSON.parse(await mover.ip('-j', 'link', 'show', 'type', 'veth'))[0].ifname as string;
      await mover.ip('address', 'add', `${now}/24`, 'dev', link);
      await mover.ip('address', 'del', `${old}/24`, 'dev', link);
      await mover.ip('address', 'add', `${now}/24`, 'dev', link).catch(() => undefined);
      // Whoever has moved speaks first, and is found at the new address. (wireguard-go loses packets until it has noticed.)
      const [there, here] = mover === a ? [INNER.b4, INNER.a4] : [INNER.a4, INNER.b4];
      const first = () => mover.ping(there, { count: 1, waitS: mover.kind === 'wireonce' ? 20 : 1 });
      if (mover.kind === 'wireonce') expect(await first()).toBe(1);
      else await until('a packet from there', first, 60_000);
      expect(await other.show('endpoints', mover.publicKey)).toBe(endpoint(now, port));
      expect(await other.ping(here)).toBe(3);
    }
  });
});

test('an interface that was moved behind the tunnel, as into a container, keeps its sockets outside', async () => {
  const { a, b } = await startPair();
  expect(await a.ping(INNER.b4)).toBe(3);
  const inside = await namespace();
  await a.ip('link', 'set', a.name, 'netns', inside);
  await run('ip', ['-n', inside, 'address', 'add', `${INNER.a4}/24`, 'dev', a.name]);
  await run('ip', ['-n', inside, 'link', 'set', a.name, 'up']);
  const ping = ['netns', 'exec', inside, 'ping', '-n', '-q', '-c', '1', '-W', '20', INNER.b4];
  expect(await run('ip', ping)).toContain(' 1 received');
  // Nothing but the tunnel leads out of there, and `wg` drives it as before.
  expect(await run('ip', ['-n', inside, '-br', 'link'])).not.toContain('veth');
  await a.wg('set', a.name, 'listen-port', '51876');
  expect(await run('ip', ping)).toContain(' 1 received');
  expect(await b.show('endpoints', a.publicKey)).toBe('192.168.77.1:51876');
  // Its MTU is followed there too.
  await run('ip', ['-n', inside, 'link', 'set', a.name, 'mtu', '1300']);
  await until('the new MTU', async () => (await a.status()).mtu === 1_300);
});

async function startRouter(ns: string, port: number, to: string, toPort: number) {
  const args = ['netns', 'exec', ns, 'setpriv', '--pdeathsig', 'KILL', process.execPath, NAT];
  const router: ChildProcess = spawn('ip', [...args, `${port}`, to, `${toPort}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  atEnd(() => router.kill('SIGKILL'));
  const said = (word: string) =>
    new Promise<void>(resolve =>
      router.stdout?.once('data', (text: Buffer) => String(text).includes(word) && resolve()),
    );
  await said('ready');
  return {
    move: async () => {
      const moved = said('moved');
      router.stdin?.write('\n');
      await moved;
    },
  };
}
