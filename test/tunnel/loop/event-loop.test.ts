// A device on the event loop is run when something is due, whoever called it and by which door.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Crng, kernelEntropy } from '../../../crng/index.js';
import { nobleSuite } from '../../../protocol/suites/noble.js';
import { EventLoopTunnel } from '../../../tunnel/loop/event-loop.js';
import { type Transport, newCounters } from '../../../tunnel/transport.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import { SimEndpoint } from '../../support/machine.js';
import { ipv4Packet } from '../../support/packets.js';

const INITIATION = 1;
const [OURS, THEIRS] = ['10.0.0.1', '10.0.0.2'];
const clock = { now: () => performance.now(), wallClock: () => Date.now() };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(async () => {
  vi.useRealTimers();
  for (const tunnel of tunnels.splice(0)) await tunnel.close();
});
const tunnels: EventLoopTunnel[] = [];

/** A transport in memory: what is sent is kept, and goes to `wire` while there is one. */
class Memory implements Transport {
  readonly kind = 'udp';
  readonly counters = newCounters();
  readonly localAddresses = [];
  readonly sent: Uint8Array[] = [];
  onDatagram: Transport['onDatagram'] = () => {};
  onError: Transport['onError'] = () => {};
  wire: ((datagram: Uint8Array) => void) | undefined;

  owns(): boolean {
    return true;
  }

  send(datagram: Uint8Array): boolean {
    this.sent.push(datagram.slice());
    this.wire?.(datagram.slice());
    return true;
  }

  dropAll(): void {}
  async close(): Promise<void> {}

  get initiations(): number {
    return this.sent.filter(([type]) => type === INITIATION).length;
  }
}

async function machine(host: number) {
  const vmgenid = new VmGenId([new MemorySource()]);
  await vmgenid.start();
  const crng = new Crng({ vmgenid, now: clock.now, entropy: kernelEntropy() });
  const privateKey = new Uint8Array(32).fill(host);
  const publicKey = new Uint8Array(32);
  nobleSuite.publicKey(privateKey, publicKey);
  const memory = new Memory();
  const tunnel = new EventLoopTunnel({
    vmgenid,
    crng,
    clock,
    privateKey,
    transports: [memory],
    onPacket: () => {},
  });
  tunnels.push(tunnel);
  return { tunnel, memory, publicKey, endpoint: new SimEndpoint(host) };
}

/** Two that know each other. Nothing has been sent. */
async function pair() {
  const [a, b] = [await machine(1), await machine(2)];
  const know = (one: typeof a, other: typeof a, ip: number) =>
    one.tunnel.setPeer({
      publicKey: other.publicKey,
      endpoint: other.endpoint,
      allowedIps: [{ ip: Uint8Array.of(10, 0, 0, ip), prefix: 32 }],
    });
  know(a, b, 2);
  know(b, a, 1);
  return { a, b };
}
type Scene = Awaited<ReturnType<typeof pair>>;

const packet = () => ipv4Packet(OURS, THEIRS, new Uint8Array(5));

describe('what is begun on the device itself goes on', () => {
  test.each<[string, (scene: Scene) => unknown]>([
    ['a packet', ({ a }) => a.tunnel.device.sendPacket(packet())],
    ['a handshake', ({ a, b }) => a.tunnel.device.initiateHandshake(b.publicKey)],
    ['a keepalive', ({ a, b }) => a.tunnel.device.sendKeepalive(b.publicKey)],
    [
      'a persistent keepalive',
      ({ a, b }) => a.tunnel.device.setPeer({ publicKey: b.publicKey, persistentKeepalive: 25 }),
    ],
    [
      'a packet within a cork',
      ({ a: { tunnel } }) => {
        tunnel.device.cork();
        tunnel.device.sendPacket(packet());
        tunnel.device.uncork();
      },
    ],
    ['a packet through the tunnel', ({ a }) => a.tunnel.sendPacket(packet())],
  ])('%s: its initiation is lost, and sent again', async (_what, begin) => {
    const scene = await pair();
    begin(scene);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(scene.a.memory.initiations).toBeGreaterThanOrEqual(3);
  });

  test('sessions are wiped in the middle of a conversation: the peer is called anew, and again when it is not heard', async () => {
    const { a, b } = await pair();
    a.memory.wire = datagram => b.memory.onDatagram(datagram, a.endpoint);
    b.memory.wire = datagram => a.memory.onDatagram(datagram, b.endpoint);
    a.tunnel.sendPacket(packet());
    await vi.advanceTimersByTimeAsync(100);
    expect(a.tunnel.device.peers()[0].hasSession).toBe(true);
    a.memory.wire = undefined;
    const before = a.memory.initiations;
    a.tunnel.device.wipe();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(a.memory.initiations).toBeGreaterThanOrEqual(before + 3);
  });

  test('and ends when the tunnel is closed', async () => {
    const { a } = await pair();
    a.tunnel.device.sendPacket(packet());
    await a.tunnel.close();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(a.memory.initiations).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});
