import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UapiClient } from '../../../../tunnel/daemon/uapi/client.js';
import { UapiServer } from '../../../../tunnel/daemon/uapi/server.js';
import { UapiError } from '../../../../tunnel/daemon/uapi/types.js';
import { deviceStatus, keyText, peerStatus } from '../status.js';
import { key, MemoryBackend } from './backend.js';

let folder: string;
let path: string;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wireonce-uapi-'));
  path = join(folder, 'wg0.sock');
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  await rm(folder, { recursive: true, force: true });
});

async function serve(backend = new MemoryBackend()): Promise<MemoryBackend> {
  const server = await UapiServer.listen(path, backend);
  cleanups.push(() => server.close());
  return backend;
}

/** A daemon that gives one literal answer to whatever comes, and hangs up. */
async function pretend(answer: string, hangUp = true): Promise<void> {
  const server: Server = createServer(socket => {
    socket.on('error', () => undefined);
    socket.once('data', () => (hangUp ? socket.end(answer) : socket.write(answer)));
    cleanups.push(() => socket.destroy());
  });
  await new Promise<void>(resolve => server.listen(path, resolve));
  cleanups.push(() => server.close());
}

test('what one set has said, the next get shows, 130,000 ranges in one call', async () => {
  const backend = await serve();
  const client = new UapiClient(path);
  expect(await client.get()).toEqual({ listenPort: 0, fwMark: 0, peers: [] });
  const allowedIps = Array.from({ length: 130_000 }, (_, i) => ({
    ip: Uint8Array.of(10, i >> 16, i >> 8, i),
    prefix: 32,
    remove: false,
  }));
  const base = { remove: false, updateOnly: false, replaceAllowedIps: true };
  await client.set({
    privateKey: key(0x48),
    listenPort: 51820,
    fwMark: 7,
    replacePeers: true,
    peers: [
      {
        ...base,
        publicKey: key(1),
        presharedKey: key(2),
        endpoint: { ip: Uint8Array.of(192, 0, 2, 1), port: 9 },
        persistentKeepalive: 25,
        allowedIps,
      },
      { ...base, publicKey: key(3), endpoint: { url: 'wss://h/x' }, allowedIps: [] },
    ],
  });
  const peer = backend.peers.get('01'.repeat(32));
  if (!peer) throw new Error('no peer');
  backend.peers.set('01'.repeat(32), {
    ...peer,
    rxBytes: 2 ** 50,
    txBytes: 12,
    lastHandshakeAt: 1_700_000_000_123,
  });
  const state = await client.get();
  expect(state).toMatchObject({ privateKey: key(0x48), listenPort: 51820, fwMark: 7 });
  expect(state.peers).toHaveLength(2);
  const [first, second] = state.peers;
  expect(first).toMatchObject({
    publicKey: key(1),
    presharedKey: key(2),
    endpoint: '192.0.2.1:9',
    persistentKeepalive: 25,
    rxBytes: 2 ** 50,
    txBytes: 12,
    lastHandshakeAt: 1_700_000_000_123,
  });
  expect(first.allowedIps).toHaveLength(130_000);
  expect(first.allowedIps[129_999]).toEqual({ ip: Uint8Array.of(10, 1, 251, 207), prefix: 32 });
  expect(second).toMatchObject({ publicKey: key(3), endpoint: 'wss://h/x', allowedIps: [] });
});

test('a refusal has its number, whichever sign it came with', async () => {
  const backend = await serve();
  backend.set = () => {
    throw new UapiError(98, 'taken');
  };
  backend.get = () => {
    throw new UapiError(13, 'not now');
  };
  const client = new UapiClient(path);
  const refused = { code: 'ERR_UAPI_REQUEST', errorNumber: 98, errno: 'EADDRINUSE' };
  await expect(client.set({ replacePeers: false, peers: [] })).rejects.toMatchObject(refused);
  await expect(client.get()).rejects.toMatchObject({ errorNumber: 13, errno: 'EACCES' });
});

test('a refusal that comes before the request is out is read', async () => {
  await pretend('errno=-7\n\n');
  const peers = Array.from({ length: 100_000 }, () => ({
    publicKey: key(1),
    remove: true,
    updateOnly: false,
    replaceAllowedIps: false,
    allowedIps: [],
  }));
  await expect(new UapiClient(path).set({ replacePeers: false, peers })).rejects.toMatchObject({
    errorNumber: 7,
  });
});

test('keys of other implementations are skipped', async () => {
  await pretend(`jc=4\nlisten_port=5\npublic_key=${'01'.repeat(32)}\nadvanced_security=on\nerrno=0\n\n`);
  expect(await new UapiClient(path).get()).toMatchObject({ listenPort: 5, peers: [{ publicKey: key(1) }] });
});

test.each([
  ['', 'broken off'],
  ['listen_port=1\n', 'broken off'],
  ['listen_port=1\n\n', 'without errno'],
  ['listen_port=x\nerrno=0\n\n', 'with a value that is none'],
  ['public_key=00\nerrno=0\n\n', 'with a key that is none'],
  ['errno=x\n\n', 'with an errno that is none'],
  ['nonsense\n', 'without keys'],
  ['x'.repeat(10_000), 'without lines'],
])('an answer that is none is ERR_UAPI_ANSWER: %j', async answer => {
  await pretend(answer);
  await expect(new UapiClient(path).get()).rejects.toMatchObject({ code: 'ERR_UAPI_ANSWER' });
});

test('an answer that does not come is ERR_UAPI_SILENCE after the time limit', async () => {
  await pretend('listen_port=1\n', false);
  const client = new UapiClient(path, { timeoutMs: 50 });
  await expect(client.get()).rejects.toMatchObject({ code: 'ERR_UAPI_SILENCE' });
});

test('nobody there is ERR_UAPI_CONNECT', async () => {
  await expect(new UapiClient(path).get()).rejects.toMatchObject({ code: 'ERR_UAPI_CONNECT' });
});

test('a status comes as the backend gave it, a thousand peers in one line', async () => {
  const peers = Array.from({ length: 1_000 }, (_, i) =>
    peerStatus({ publicKey: keyText(i % 256), endpoint: `192.0.2.1:${i + 1}`, rxBytes: 2 ** 50 + i }),
  );
  const status = deviceStatus({ interface: 'wg-\u00fc\n', peers, nonceHeadroom: '18446744073709543423' });
  await serve(Object.assign(new MemoryBackend(), { status: async () => status }));
  const client = new UapiClient(path);
  expect(await client.status()).toEqual(status);
  expect(await client.get()).toMatchObject({ peers: [] });
});

test('a status that fails has its number', async () => {
  const status = () => {
    throw new UapiError(13, 'not now');
  };
  await serve(Object.assign(new MemoryBackend(), { status }));
  await expect(new UapiClient(path).status()).rejects.toMatchObject({
    code: 'ERR_UAPI_REQUEST',
    errorNumber: 13,
  });
});

test('a status that is none is ERR_UAPI_ANSWER', async () => {
  await pretend('status={"interface":"wg0"}\nerrno=0\n\n');
  await expect(new UapiClient(path).status()).rejects.toMatchObject({ code: 'ERR_UAPI_ANSWER' });
});

test.each([
  ['hangs up, as wireguard-go does', ''],
  ['answers EIO, as boringtun does', 'errno=5\n\n'],
  ['answers without a status', 'errno=0\n\n'],
])('a daemon that %s is another implementation', async (_, answer) => {
  await pretend(answer);
  await expect(new UapiClient(path).status()).rejects.toMatchObject({ code: 'ERR_UAPI_NO_STATUS' });
});

test('a backend of ours without a status counts as another implementation too', async () => {
  await serve();
  await expect(new UapiClient(path).status()).rejects.toMatchObject({ code: 'ERR_UAPI_NO_STATUS' });
});
