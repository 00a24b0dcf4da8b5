// After a fork of either end a WebSocket peer comes back by itself, though nobody has anything to say.

import { afterEach, expect, it, vi } from 'vitest';
import { Crng, kernelEntropy } from '../../../crng/index.js';
import { TRANSPORT_DATA } from '../../../protocol/constants.js';
import { fastestSuite } from '../../../protocol/suites/fastest.js';
import { EventLoopTunnel } from '../../../tunnel/loop/event-loop.js';
import type { Transport } from '../../../tunnel/transport.js';
import { WebSocketDialer, WebSocketListener } from '../../../tunnel/websocket/index.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import { ipv4Packet } from '../../support/packets.js';

const suite = await fastestSuite();
const SOON = { timeout: 12_000, interval: 10 };
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Runs ahead of the system's: past the limits on how often one may call. */
let skippedMs = 0;
const clock = { now: () => performance.now() + skippedMs, wallClock: () => Date.now() + skippedMs };

async function machine(host: number, transport: (crng: Crng) => Transport | Promise<Transport>) {
  const source = new MemorySource();
  const vmgenid = new VmGenId([source]);
  await vmgenid.start();
  const entropy = kernelEntropy();
  const crng = new Crng({ vmgenid, now: clock.now, entropy });
  const privateKey = new Uint8Array(32).fill(host);
  const publicKey = new Uint8Array(32);
  suite.publicKey(privateKey, publicKey);
  const received: Uint8Array[] = [];
  const onPacket = (packet: Uint8Array) => received.push(packet);
  const transports = [await transport(crng)];
  const tunnel = new EventLoopTunnel({ vmgenid, crng, clock, suite, privateKey, transports, onPacket });
  closers.push(
    () => vmgenid.close(),
    () => entropy.close(),
    () => crng.close(),
    () => tunnel.close(),
  );
  const fork = () => {
    source.fork(new Uint8Array(16).fill(0xf0));
    vmgenid.poll();
  };
  return { tunnel, publicKey, received, fork };
}

/** A server, and a client that dials it; they have talked, and both have fallen silent. */
async function conversation() {
  const listener = await WebSocketListener.listen({ host: '127.0.0.1', port: 0 });
  const server = await machine(1, () => listener);
  let dialer: WebSocketDialer | undefined;
  const client = await machine(2, randomness => {
    dialer = new WebSocketDialer(`ws://${listener.localAddresses[0]}`, { randomness, minBackoffMs: 5 });
    return dialer;
  });
  if (!dialer) throw new Error('there is a dialer');
  const range = (ip: number) => [{ ip: Uint8Array.of(10, 0, 0, ip), prefix: 32 }];
  server.tunnel.setPeer({ publicKey: client.publicKey, allowedIps: range(2) });
  client.tunnel.setPeer({ publicKey: server.publicKey, allowedIps: range(1), endpoint: dialer.endpoint });
  dialer.start();
  const say = (from: typeof server, [mine, yours]: [number, number]) =>
    from.tunnel.sendPacket(ipv4Packet(`10.0.0.${mine}`, `10.0.0.${yours}`, new Uint8Array(5)));
  const toClient = () => say(server, [1, 2]);
  const toServer = () => say(client, [2, 1]);
  toServer();
  await vi.waitFor(() => expect(server.received).toHaveLength(1), SOON);
  toClient();
  await vi.waitFor(() => expect(client.received).toHaveLength(1), SOON);
  skippedMs += 6_000;
  return { server, client, dialer, toClient, toServer };
}

const stats = ({ tunnel }: { tunnel: EventLoopTunnel }) => tunnel.device.stats();

it('of a server that was forked: the client dials anew, and calls', async () => {
  const { server, client, toClient } = await conversation();
  server.fork();
  expect(stats(server).recovery).toMatchObject({ called: 1, back: 0 });
  await vi.waitFor(() => expect(stats(server).recovery).toMatchObject({ called: 1, back: 1 }), SOON);
  toClient();
  await vi.waitFor(() => expect(client.received).toHaveLength(2), SOON);
});

it('control: of a server that was forked it does not, if a new connection is taken for the old one', async () => {
  const { server, dialer, toServer } = await conversation();
  const reopened = new Promise<void>(resolve => {
    dialer.onReopened = () => resolve();
  });
  const sent: number[] = [];
  const send = dialer.send.bind(dialer);
  dialer.send = (datagram, to) => {
    sent.push(datagram[0]);
    return send(datagram, to);
  };
  server.fork();
  await reopened;
  // It would come after a call: data under the keys of before, of which a server that was forked knows nothing.
  const before = stats(server).drops.unknownIndex;
  toServer();
  await vi.waitFor(() => expect(stats(server).drops.unknownIndex).toBeGreaterThan(before), SOON);
  expect([...new Set(sent)]).toEqual([TRANSPORT_DATA]);
  expect(stats(server).recovery).toMatchObject({ called: 1, back: 0 });
});

it('of a client that was forked: it dials anew, and calls once', async () => {
  const { server, client, toClient } = await conversation();
  const before = stats(server).handshakesCompleted;
  client.fork();
  await vi.waitFor(() => expect(stats(client).recovery).toMatchObject({ called: 1, back: 1 }), SOON);
  await vi.waitFor(() => expect(stats(server).handshakesCompleted).toBe(before + 1), SOON);
  toClient();
  await vi.waitFor(() => expect(client.received).toHaveLength(2), SOON);
});
