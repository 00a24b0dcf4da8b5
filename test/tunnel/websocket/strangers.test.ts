// What strangers can do to whoever listens for WebSockets, and what a device on hold still says: nothing, to nobody.

import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { Crng, kernelEntropy } from '../../../crng/index.js';
import type { DeviceOptions, PeerOptions } from '../../../sessions/device.js';
import type { Endpoint } from '../../../sessions/ports.js';
import { systemClock } from '../../../tunnel/clock.js';
import { EventLoopTunnel } from '../../../tunnel/loop/event-loop.js';
import type { Transport } from '../../../tunnel/transport.js';
import {
  WebSocketDialer,
  WebSocketListener,
  type WebSocketListenerOptions,
} from '../../../tunnel/websocket/index.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import { publicKeyOf } from '../../support/echo-peer.js';
import { ipv4Packet } from '../../support/packets.js';
import { destroyRawClients, frame, RawClient, until, UPGRADE } from './raw-websocket.js';

const closers: (() => unknown)[] = [];

afterEach(async () => {
  destroyRawClients();
  for (const close of closers.splice(0).reverse()) await close();
});

async function listen(options: WebSocketListenerOptions = {}): Promise<WebSocketListener> {
  const listener = await WebSocketListener.listen({ host: '127.0.0.1', ...options });
  closers.push(() => listener.close());
  return listener;
}

/** A client whose first datagram has arrived, and the endpoint that it came from. */
async function client(listener: WebSocketListener): Promise<{ raw: RawClient; endpoint: Endpoint }> {
  const raw = await new RawClient(listener.port).upgraded();
  let endpoint: Endpoint | undefined;
  const before = listener.onDatagram;
  listener.onDatagram = (_, from) => {
    endpoint = from;
  };
  raw.socket.write(frame(2, Buffer.from('hello')));
  await until(() => endpoint !== undefined);
  listener.onDatagram = before;
  return { raw, endpoint: endpoint as Endpoint };
}

const settle = () => new Promise(resolve => setTimeout(resolve, 50));

describe('places', () => {
  test('the oldest unproven connection gives way, and never a proven one; to be answered proves nothing', async () => {
    const listener = await listen({ maxConnections: 4, maxUnproven: 4 });
    const proven = await client(listener);
    proven.endpoint.authenticated?.();
    const answered = await client(listener);
    expect(listener.send(Buffer.from('a cookie reply'), answered.endpoint)).toBe(true);
    expect([listener.isProven(proven.endpoint), listener.isProven(answered.endpoint)]).toEqual([true, false]);
    const strangers: RawClient[] = [];
    for (let i = 0; i < 6; i++) strangers.push(await new RawClient(listener.port).upgraded());
    await until(() => answered.raw.ended && strangers.slice(0, 4).every(({ ended }) => ended));
    expect([proven.raw.ended, strangers.map(({ ended }) => ended)]).toEqual([
      false,
      [true, true, true, true, false, false],
    ]);
  });

  test('when all connections are proven, a newcomer is refused with 503', async () => {
    const listener = await listen({ maxConnections: 1 });
    const { raw, endpoint } = await client(listener);
    endpoint.authenticated?.();
    const newcomer = new RawClient(listener.port);
    await until(() => newcomer.ended);
    expect(newcomer.status).toMatch(/503/);
    expect(raw.ended).toBe(false);
    // Its place is free when it is gone.
    raw.socket.destroy();
    await until(() => listener.connections === 0);
    await new RawClient(listener.port).upgraded();
  });

  test('a crowd from other addresses does not push out who has an address of its own', async () => {
    const listener = await listen({ maxUnproven: 8 });
    const own = await new RawClient(listener.port).upgraded();
    for (let i = 0; i < 40; i++) await upgradeFrom(listener.port, `127.0.0.${2 + (i % 4)}`);
    expect(listener.connections).toBeLessThanOrEqual(8);
    expect(own.ended).toBe(false);
    // The control: from its own address it is pushed out.
    for (let i = 0; i < 8; i++) await new RawClient(listener.port).upgraded();
    await until(() => own.ended);
  });

  test('a crowd that comes at once pushes out nobody who has asked for an upgrade and was not read yet', async () => {
    const listener = await listen({ maxUnproven: 8, handshakeTimeoutMs: 60_000 });
    const first = new RawClient(listener.port);
    const crowd = Array.from({ length: 60 }, () => new RawClient(listener.port, ''));
    await first.upgraded();
    expect(first.status).toMatch(/101/);
    await until(() => crowd.filter(({ ended }) => ended).length >= 52);
  });

  test('sockets that say nothing, or begin a request and never end it, keep nobody out', async () => {
    const listener = await listen({ maxUnproven: 8, handshakeTimeoutMs: 60_000 });
    const silent = Array.from(
      { length: 40 },
      (_, i) => new RawClient(listener.port, i % 2 ? '' : 'GET / HT'),
    );
    await until(() => silent.filter(({ ended }) => ended).length >= 32);
    const newcomer = await new RawClient(listener.port).upgraded();
    expect(newcomer.status).toMatch(/101/);
    expect(silent.filter(({ ended }) => !ended).length).toBeLessThanOrEqual(8);
  });
});

/** An upgraded connection from another address of this machine. */
function upgradeFrom(port: number, localAddress: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    closers.push(() => socket.destroy());
    socket.on('error', reject);
    socket.once('data', () => resolve());
    socket.write(UPGRADE);
  });
}

describe('what an unproven connection sends', () => {
  const burst = Buffer.concat(Array.from({ length: 1_000 }, () => frame(2, Buffer.from('junk'))));

  test('is handed on up to its allowance, then it is read no more', async () => {
    const listener = await listen();
    let heard = 0;
    listener.onDatagram = () => heard++;
    const stranger = await new RawClient(listener.port).upgraded();
    stranger.socket.write(burst);
    await until(() => listener.counters.dropped.unproven > 0);
    expect(heard).toBeLessThanOrEqual(512);
    for (let i = 0; i < 2_000; i++) stranger.socket.write(burst);
    await settle();
    // Not even parsed: most of it waits in the system, or at the stranger's.
    expect(heard + listener.counters.dropped.unproven).toBeLessThan(1_000_000);
    expect(stranger.socket.writableLength).toBeGreaterThan(0);
  });

  test('is handed on whole when it is proven', async () => {
    const listener = await listen();
    const { raw, endpoint } = await client(listener);
    let heard = 0;
    listener.onDatagram = () => {
      if (heard++ === 0) endpoint.authenticated?.();
    };
    for (let i = 0; i < 20; i++) raw.socket.write(burst);
    await until(() => heard === 20_000);
    expect(listener.counters.dropped.unproven).toBe(0);
  });

  test('is handed on again, also from a connection that was stopped, when it is proven by what came before', async () => {
    const listener = await listen();
    const { raw, endpoint } = await client(listener);
    let heard = 0;
    listener.onDatagram = () => heard++;
    raw.socket.write(burst);
    await until(() => listener.counters.dropped.unproven > 0);
    endpoint.authenticated?.();
    raw.socket.write(frame(2, Buffer.from('after')));
    const before = heard;
    await until(() => heard > before);
  });

  test('pings count too, and end the connection of who floods', async () => {
    const listener = await listen();
    const stranger = await new RawClient(listener.port).upgraded();
    for (let i = 0; i < 50; i++) stranger.socket.write(frame(9, Buffer.alloc(0)));
    await until(() => stranger.ended || stranger.frames.length >= 100);
    const flooder = await new RawClient(listener.port).upgraded();
    flooder.socket.write(Buffer.concat(Array.from({ length: 5_000 }, () => frame(9, Buffer.alloc(100)))));
    await until(() => flooder.ended);
  });
});

describe('readers that stall', () => {
  test('are owed a few replies while they are unproven; the control is one that is proven', async () => {
    const listener = await listen();
    const clients: Awaited<ReturnType<typeof client>>[] = [];
    for (let i = 0; i < 6; i++) clients.push(await client(listener));
    for (const { raw } of clients) raw.socket.pause();
    /** Sends to one until it is refused for good, and returns how many went. */
    const fill = async (to: Endpoint, bytes: number) => {
      let sent = 0;
      for (let refused = 0; refused < 20; ) {
        if (listener.send(new Uint8Array(bytes), to)) sent++;
        else refused++;
        if (refused > 0 || sent % 50 === 0) await new Promise(resolve => setImmediate(resolve));
      }
      return sent;
    };
    // What the system takes is not ours: it is filled first.
    for (const { endpoint } of clients) await fill(endpoint, 60_000);
    for (const { endpoint } of clients) expect(await fill(endpoint, 64)).toBeLessThanOrEqual(12);
    clients[0].endpoint.authenticated?.();
    expect(await fill(clients[0].endpoint, 64)).toBeGreaterThan(1_000);
  });
});

interface End {
  readonly tunnel: EventLoopTunnel;
  readonly source: MemorySource;
  readonly crng: Crng;
  readonly got: Uint8Array[];
}

const KEYS = [new Uint8Array(32).fill(0x41), new Uint8Array(32).fill(0x42)] as const;
const [SERVER, CLIENT] = KEYS.map(publicKeyOf);

function end(
  privateKey: Uint8Array,
  transports: (crng: Crng) => Transport[],
  peers: (transports: Transport[]) => PeerOptions[],
  options: Partial<DeviceOptions> = {},
): End {
  const source = new MemorySource();
  const vmgenid = new VmGenId([source]);
  const entropy = kernelEntropy();
  const crng = new Crng({ entropy, vmgenid, now: systemClock.now });
  const made = transports(crng);
  const got: Uint8Array[] = [];
  const tunnel = new EventLoopTunnel({
    privateKey,
    crng,
    vmgenid,
    transports: made,
    peers: peers(made),
    onPacket: packet => got.push(packet),
    ...options,
  });
  closers.push(async () => {
    await tunnel.close();
    crng.close();
    entropy.close();
    await vmgenid.close();
  });
  return { tunnel, source, crng, got };
}

/** Another generation. */
const NEXT = new Uint8Array(16).fill(2);
const everywhere = [{ ip: new Uint8Array(4), prefix: 0 }];
const packet = ipv4Packet('10.0.0.1', '10.0.0.2', Buffer.from('inside'));

function server(listener: WebSocketListener, options: Partial<DeviceOptions> = {}): End {
  return end(
    KEYS[0],
    () => [listener],
    () => [{ publicKey: CLIENT, allowedIps: everywhere }],
    options,
  );
}

function dialling(port: number, options: Partial<DeviceOptions> = {}): End & { dialer: WebSocketDialer } {
  const url = `ws://user:secret@127.0.0.1:${port}/`;
  let dialer: WebSocketDialer | undefined;
  const made = end(
    KEYS[1],
    crng => [(dialer = new WebSocketDialer(url, { randomness: crng, minBackoffMs: 5 }))],
    () => [{ publicKey: SERVER, allowedIps: everywhere, endpoint: (dialer as WebSocketDialer).endpoint }],
    options,
  );
  (dialer as WebSocketDialer).start();
  return { ...made, dialer: dialer as WebSocketDialer };
}

test('a connection is proven by the device, by whatever it authenticates, and a cookie reply is not enough', async () => {
  const listener = await listen();
  let from: Endpoint | undefined;
  server(listener, { underLoadThreshold: 0 });
  const deliver = listener.onDatagram;
  const provenBefore: boolean[] = [];
  listener.onDatagram = (datagram, endpoint) => {
    from = endpoint;
    provenBefore.push(listener.isProven(endpoint));
    deliver(datagram, endpoint);
  };
  const { tunnel } = dialling(listener.port);
  tunnel.sendPacket(packet);
  // Under load the first initiation draws a cookie reply, the second brings the cookie.
  await until(() => from !== undefined && listener.isProven(from));
  expect(listener.counters.sent).toBeGreaterThanOrEqual(2);
  expect(provenBefore.slice(0, 2)).toEqual([false, false]);
});

describe('by policy hold, after a fork', () => {
  test.each(['hold', 'wipe'] as const)('%s: nothing is dialled until a new key is set', async forkPolicy => {
    const listener = await listen();
    let upgrades = 0;
    const seen = new Set<Endpoint>();
    server(listener);
    const deliver = listener.onDatagram;
    listener.onDatagram = (datagram, from) => {
      if (!seen.has(from)) upgrades++;
      seen.add(from);
      deliver(datagram, from);
    };
    const { tunnel, dialer, source } = dialling(listener.port, { forkPolicy });
    tunnel.sendPacket(packet);
    await dialer.whenOpen();
    await until(() => upgrades === 1);
    source.fork(NEXT);
    tunnel.sendPacket(packet);
    if (forkPolicy === 'wipe') {
      // The control.
      await until(() => upgrades === 2);
      return;
    }
    await until(() => listener.connections === 0);
    await settle();
    expect([dialer.state, listener.connections]).toEqual(['waiting', 0]);
    expect(dialer.send(Buffer.from('anything'), dialer.endpoint)).toBe(false);
    expect(dialer.counters.dropped.held).toBe(1);
    tunnel.device.setPrivateKey(new Uint8Array(32).fill(0x43));
    tunnel.sendPacket(packet);
    await dialer.whenOpen();
    expect(listener.connections).toBe(1);
  });

  test.each(['hold', 'wipe'] as const)(
    '%s: a request that waits for its connection is not sent after the fork',
    async forkPolicy => {
      const listener = await listen();
      const { dialer, source, tunnel } = dialling(listener.port, { forkPolicy });
      tunnel.sendPacket(packet);
      expect(dialer.state).toBe('connecting');
      const got: Uint8Array[] = [];
      listener.onDatagram = datagram => got.push(datagram);
      // Between two looks at the generation: nobody has noticed when the connection is made.
      source.fork(NEXT);
      await settle();
      await settle();
      if (forkPolicy === 'wipe') return expect(got.length).toBeGreaterThan(0);
      expect([dialer.state, listener.connections, got.length]).toEqual(['waiting', 0, 0]);
    },
  );

  test.each(['hold', 'wipe'] as const)('%s: the listener sends nothing', async forkPolicy => {
    const listener = await listen();
    const { source } = server(listener, { forkPolicy });
    const one = await client(listener);
    source.fork(NEXT);
    const other = new Promise<void>(resolve => one.raw.socket.once('close', () => resolve()));
    const sent = listener.send(Buffer.from('old'), one.endpoint);
    expect(sent).toBe(forkPolicy === 'wipe');
    if (forkPolicy === 'hold') await other;
  });
});
