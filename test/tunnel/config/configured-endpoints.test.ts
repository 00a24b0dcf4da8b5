import { beforeEach, expect, test } from 'vitest';
import { ConfiguredEndpoints } from '../../../tunnel/config/configured-endpoints.js';
import { UdpEndpoint } from '../../../tunnel/endpoint.js';
import { RETRY_MS, SILENT_ATTEMPT } from '../../../tunnel/config/endpoint-refresher.js';
import type { TunnelError } from '../../../tunnel/errors.js';
import type { UapiBackend, UapiChanges, UapiPeerChange } from '../../../tunnel/daemon/uapi/types.js';
import { deviceStatus } from '../daemon/status.js';
import { hex, key, MemoryBackend } from '../daemon/uapi/backend.js';

const BY_URL = key(1);
const BY_NAME = key(2);
const PLAIN = key(3);

let device: MemoryBackend & Required<Pick<UapiBackend, 'status' | 'drill'>>;
let now: number;
let address: string;
let trouble: TunnelError[];
let configured: ConfiguredEndpoints;

beforeEach(() => {
  device = Object.assign(new MemoryBackend(), {
    status: () => deviceStatus(),
    drill: () => ({ refused: 'not now' }),
  });
  now = 1_000;
  address = '192.0.2.1';
  trouble = [];
  configured = new ConfiguredEndpoints(device, {
    peers: [
      { publicKey: BY_URL, endpoint: { url: 'wss://gate.example/' } },
      { publicKey: BY_NAME, endpoint: { host: 'home.example', port: 7 } },
    ],
    now: () => now,
    after: () => () => undefined,
    resolve: async (_, port) => [UdpEndpoint.of(address, port)],
    onTrouble: error => trouble.push(error),
  });
});

const change = (publicKey: Uint8Array, more: Partial<UapiPeerChange> = {}): UapiPeerChange => ({
  publicKey,
  remove: false,
  updateOnly: false,
  replaceAllowedIps: false,
  allowedIps: [],
  ...more,
});
const set = (peers: UapiPeerChange[], more: Partial<UapiChanges> = {}) =>
  configured.set({ replacePeers: false, peers, ...more });
const endpointOf = (publicKey: Uint8Array) => device.peers.get(hex(publicKey))?.endpoint;
const settle = () => new Promise(resolve => setImmediate(resolve));
const udp = (last: number) => ({ ip: Uint8Array.of(203, 0, 113, last), port: 9 });

test('a peer that wg adds is where the file says; others are left alone', async () => {
  await set([change(BY_URL), change(BY_NAME), change(PLAIN)]);
  await settle();
  expect(endpointOf(BY_URL)).toBe('wss://gate.example/');
  expect(endpointOf(BY_NAME)).toBe('192.0.2.1:7');
  expect(endpointOf(PLAIN)).toBeUndefined();
  expect(device.peers.size).toBe(3);
});

test('an entry for a peer that nobody adds does nothing', async () => {
  await set([change(BY_URL, { updateOnly: true }), change(BY_NAME, { updateOnly: true })]);
  await settle();
  expect(device.peers.size).toBe(0);
});

test('what wg says counts, and a later change of something else leaves it', async () => {
  await set([change(BY_URL, { endpoint: udp(1) }), change(BY_NAME)]);
  await set([change(BY_NAME, { endpoint: udp(2) })]);
  await set([change(BY_URL, { persistentKeepalive: 5 }), change(BY_NAME, { persistentKeepalive: 5 })]);
  now += RETRY_MS;
  configured.hear({ type: 'handshakeInitiated', peer: BY_NAME, attempt: SILENT_ATTEMPT });
  await settle();
  expect(endpointOf(BY_URL)).toBe('203.0.113.1:9');
  expect(endpointOf(BY_NAME)).toBe('203.0.113.2:9');
});

test('a peer that is removed and added, or replaced as by setconf, begins anew', async () => {
  await set([change(BY_URL, { endpoint: udp(1) })]);
  await set([change(BY_URL, { remove: true }), change(BY_URL)]);
  expect(endpointOf(BY_URL)).toBe('wss://gate.example/');
  await set([change(BY_URL, { endpoint: udp(1) })]);
  await set([change(BY_URL)], { replacePeers: true });
  expect(endpointOf(BY_URL)).toBe('wss://gate.example/');
});

test('a silent peer is looked for again by its name, and not after it was removed', async () => {
  await set([change(BY_NAME)]);
  await settle();
  address = '192.0.2.9';
  now += RETRY_MS;
  const silent = { type: 'handshakeInitiated', peer: BY_NAME, attempt: SILENT_ATTEMPT } as const;
  configured.hear(silent);
  await settle();
  expect(endpointOf(BY_NAME)).toBe('192.0.2.9:7');
  await set([], { replacePeers: true });
  const { sets } = device;
  now += RETRY_MS;
  configured.hear(silent);
  await settle();
  expect(device.sets).toBe(sets);
});

test('a refused set leaves everything as it was', async () => {
  const original = device.set.bind(device);
  device.set = () => {
    throw new Error('refused');
  };
  await expect(set([change(BY_URL), change(BY_NAME)])).rejects.toThrow('refused');
  device.set = original;
  await settle();
  expect(device.peers.size).toBe(0);
  await set([change(BY_URL)]);
  expect(endpointOf(BY_URL)).toBe('wss://gate.example/');
});

test('changes of the device never overlap', async () => {
  let running = 0;
  let most = 0;
  const original = device.set.bind(device);
  device.set = async (changes: UapiChanges) => {
    most = Math.max(most, ++running);
    await settle();
    original(changes);
    running--;
  };
  await Promise.all([set([change(BY_NAME)]), set([change(BY_URL)]), set([change(PLAIN)])]);
  for (let i = 0; i < 5; i++) await settle();
  expect(most).toBe(1);
  expect(endpointOf(BY_NAME)).toBe('192.0.2.1:7');
});

test('state and status are the device’s', async () => {
  device.fwMark = 5;
  expect(await configured.get()).toMatchObject({ fwMark: 5 });
  expect(await configured.status()).toMatchObject({ interface: 'wg0' });
  expect(trouble).toEqual([]);
  configured.close();
});
