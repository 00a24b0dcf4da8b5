import { beforeEach, describe, expect, test } from 'vitest';
import { UdpEndpoint } from '../../../tunnel/endpoint.js';
import { EndpointRefresher, RETRY_MS, SILENT_ATTEMPT } from '../../../tunnel/config/endpoint-refresher.js';
import { TunnelError } from '../../../tunnel/errors.js';

const PEER = new Uint8Array(32).fill(1);
const OTHER = new Uint8Array(32).fill(2);
const HOST = { host: 'home.example', port: 7 };

/** A resolver, a clock and a device that the test moves by hand. */
class World {
  now = 1_000;
  addresses: string[] = ['192.0.2.1'];
  failing = false;
  asked: string[] = [];
  told: string[] = [];
  failures = 0;
  timers: { at: number; callback: () => void }[] = [];
  readonly refresher = new EndpointRefresher({
    now: () => this.now,
    after: (ms, callback) => {
      const timer = { at: this.now + ms, callback };
      this.timers.push(timer);
      return () => void (this.timers = this.timers.filter(each => each !== timer));
    },
    resolve: async (host, port) => {
      this.asked.push(host);
      if (this.failing) throw new TunnelError('ERR_ENDPOINT_UNRESOLVED', `cannot resolve ${host}`);
      return this.addresses.map(address => UdpEndpoint.of(address, port));
    },
    onResolved: (publicKey, endpoint) => this.told.push(`${publicKey[0]} ${endpoint}`),
    onFailed: () => this.failures++,
  });

  async pass(ms: number): Promise<void> {
    this.now += ms;
    const due = this.timers.filter(({ at }) => at <= this.now);
    this.timers = this.timers.filter(({ at }) => at > this.now);
    for (const { callback } of due) callback();
    await settle();
  }

  async silent(peer = PEER, attempt = SILENT_ATTEMPT): Promise<void> {
    this.refresher.hear({ type: 'handshakeInitiated', peer, attempt });
    await settle();
  }
}

const settle = () => new Promise(resolve => setImmediate(resolve));
let world: World;

beforeEach(() => {
  world = new World();
});

describe('a name is resolved', () => {
  test('when the peer is added', async () => {
    world.refresher.watch(PEER, HOST);
    await settle();
    expect(world.told).toEqual(['1 192.0.2.1:7']);
  });

  test('again when the peer stays silent, and the peer is found where it has moved', async () => {
    world.refresher.watch(PEER, HOST);
    await settle();
    world.addresses = ['192.0.2.99'];
    await world.pass(RETRY_MS);
    await world.silent();
    expect(world.told).toEqual(['1 192.0.2.1:7', '1 192.0.2.99:7']);
    await world.pass(RETRY_MS);
    world.refresher.hear({ type: 'handshakeGivenUp', peer: PEER });
    await settle();
    expect(world.told).toHaveLength(3);
  });

  test('and not while it answers, nor for the first two calls', async () => {
    world.refresher.watch(PEER, HOST);
    await settle();
    await world.pass(10 * RETRY_MS);
    for (const attempt of [0, SILENT_ATTEMPT - 1]) await world.silent(PEER, attempt);
    world.refresher.hear({ type: 'handshakeComplete', peer: PEER });
    await world.silent(OTHER);
    expect(world.asked).toHaveLength(1);
  });

  test('no more often than every ten seconds', async () => {
    world.refresher.watch(PEER, HOST);
    await settle();
    for (let i = 0; i < 100; i++) {
      await world.silent();
      await world.pass(RETRY_MS / 10);
    }
    expect(world.asked.length).toBeLessThanOrEqual(11);
    expect(world.asked.length).toBeGreaterThan(5);
  });

  test('and each of its addresses is tried in turn', async () => {
    world.addresses = ['192.0.2.1', '2001:db8::1'];
    world.refresher.watch(PEER, HOST);
    await settle();
    for (let i = 0; i < 2; i++) {
      await world.pass(RETRY_MS);
      await world.silent();
    }
    expect(world.told).toEqual(['1 192.0.2.1:7', '1 [2001:db8::1]:7', '1 192.0.2.1:7']);
  });
});

test('a name that does not resolve is asked for again until it does', async () => {
  world.failing = true;
  world.refresher.watch(PEER, HOST);
  await settle();
  await world.silent();
  await world.pass(RETRY_MS);
  expect([world.failures, world.asked.length]).toEqual([2, 2]);
  world.failing = false;
  await world.pass(RETRY_MS);
  expect(world.told).toEqual(['1 192.0.2.1:7']);
  expect(world.timers).toEqual([]);
});

test('an address is never asked for again', async () => {
  world.refresher.watch(PEER, { host: '192.0.2.1', port: 7 });
  await settle();
  await world.pass(RETRY_MS);
  await world.silent();
  expect(world.asked).toHaveLength(1);
});

test('who was forgotten meanwhile is told nothing, and no wait is left', async () => {
  world.refresher.watch(PEER, HOST);
  world.refresher.forget(PEER);
  await settle();
  expect(world.told).toEqual([]);
  world.failing = true;
  world.refresher.watch(PEER, HOST);
  await settle();
  expect(world.timers).toHaveLength(1);
  world.refresher.close();
  expect(world.timers).toEqual([]);
  await world.silent();
  expect(world.asked).toHaveLength(2);
});

test('a peer that is watched anew is told by the new name alone', async () => {
  world.refresher.watch(PEER, HOST);
  world.refresher.watch(PEER, { host: 'new.example', port: 8 });
  await settle();
  expect(world.told).toEqual(['1 192.0.2.1:8']);
});
