// A tunnel of this machine with the key that ping is given: found by its key, or by its address where keys are not to be had.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findLocalTunnel, type LocalTunnelOptions } from '../../cli/local-tunnel.js';
import { ping } from '../../cli/ping.js';
import { publicKeyOf } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { encodeKey } from '../../tunnel/keys.js';
import { UapiServer } from '../../tunnel/daemon/uapi/index.js';
import { address } from '../support/echo-peer.js';
import { deviceStatus, keyText } from '../tunnel/daemon/status.js';
import { MemoryBackend } from '../tunnel/daemon/uapi/backend.js';
import { terminal } from './terminal.js';

const privateKey = new Uint8Array(32).fill(5);
const publicKey = encodeKey(publicKeyOf(nobleSuite, privateKey));
const own = { privateKey, addresses: [{ ip: address('10.7.0.2'), prefix: 24 }] };
const cleanups: (() => unknown)[] = [];
let folder: string;
let sysNet: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-local-'));
  sysNet = join(folder, 'net');
  mkdirSync(sysNet);
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  rmSync(folder, { recursive: true, force: true });
});

function device(name: string, kind: 'tun' | 'wireguard' | 'ether'): void {
  mkdirSync(join(sysNet, name));
  if (kind === 'tun') writeFileSync(join(sysNet, name, 'tun_flags'), '0x1001\n');
  writeFileSync(
    join(sysNet, name, 'uevent'),
    kind === 'wireguard' ? 'DEVTYPE=wireguard\nINTERFACE=x\n' : 'INTERFACE=x\n',
  );
}

async function daemon(name: string, backend: MemoryBackend): Promise<void> {
  const server = await UapiServer.listen(join(folder, `${name}.sock`), backend);
  cleanups.push(() => server.close());
}

async function ours(name: string, key: string): Promise<void> {
  await daemon(name, Object.assign(new MemoryBackend(), { status: () => deviceStatus({ publicKey: key }) }));
}

async function silent(name: string): Promise<void> {
  const sockets: Socket[] = [];
  const server = createServer(socket => sockets.push(socket));
  await new Promise<void>(resolve => server.listen(join(folder, `${name}.sock`), resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}

const find = (options: LocalTunnelOptions = {}) =>
  findLocalTunnel(own, {
    folder,
    sysNet,
    addresses: () => ({}),
    kernelKey: async () => undefined,
    ...options,
  });

test('nothing runs: nothing is found', async () => {
  expect(await find()).toBeUndefined();
  expect(await find({ folder: join(folder, 'none'), sysNet: join(folder, 'none') })).toBeUndefined();
});

test('a daemon of ours with the key, among others and a silent one', async () => {
  await silent('wg0');
  await ours('wg1', keyText(9));
  expect(await find()).toBeUndefined();
  await ours('wg2', publicKey);
  expect(await find()).toEqual({ interface: 'wg2', by: 'key' });
});

test('a daemon of another implementation', async () => {
  const backend = new MemoryBackend();
  await daemon('wg0', backend);
  backend.set({ privateKey: privateKey.slice(), replacePeers: false, peers: [] });
  expect(await find()).toEqual({ interface: 'wg0', by: 'key' });
});

test('the WireGuard of the kernel: it alone is asked by wg', async () => {
  device('eth0', 'ether');
  device('wg0', 'wireguard');
  device('wg1', 'wireguard');
  const asked: string[] = [];
  const kernelKey = async (name: string) => {
    asked.push(name);
    return name === 'wg1' ? publicKey : keyText(9);
  };
  expect(await find({ kernelKey })).toEqual({ interface: 'wg1', by: 'key' });
  expect(asked.toSorted()).toEqual(['wg0', 'wg1']);
});

test('without the right to ask for keys: a tunnel with our address, and no other interface', async () => {
  const addresses = () => ({ eth0: ['10.7.0.2'], tun0: ['10.7.0.2'], wg0: ['10.7.0.2'], wg1: ['10.7.0.9'] });
  device('eth0', 'ether');
  expect(await find({ addresses })).toBeUndefined();
  device('wg1', 'wireguard');
  expect(await find({ addresses })).toBeUndefined();
  device('wg0', 'wireguard');
  expect(await find({ addresses, kernelKey: async () => keyText(9) }), 'it has another key').toBeUndefined();
  expect(await find({ addresses })).toEqual({ interface: 'wg0', by: 'address' });
  rmSync(join(sysNet, 'wg0'), { recursive: true });
  device('tun0', 'tun');
  expect(await find({ addresses })).toEqual({ interface: 'tun0', by: 'address' });
});

test('ping says so and sends nothing; with --force it goes on', async () => {
  await ours('wg0', publicKey);
  const config = join(folder, 'wg0.conf');
  const text = `[Interface]\nPrivateKey = ${encodeKey(privateKey)}\nAddress = 10.7.0.2/24\n[Peer]\nPublicKey = ${keyText(2)}\nAllowedIPs = 10.7.0.0/24\nEndpoint = 127.0.0.1:9\n`;
  writeFileSync(config, text, { mode: 0o600 });
  const run = (force: boolean) =>
    ping(terminal(), {
      config,
      target: address('10.7.0.1'),
      count: 1,
      interval: 1,
      timeout: 0.1,
      size: 8,
      force,
      localTunnels: { folder, sysNet },
    }).catch((error: Error) => error);
  const refused = await run(false);
  expect(refused).toMatchObject({ code: 'ERR_CLI_KEY_IN_USE' });
  expect((refused as Error).message).toContain('wg0 runs on this machine with this key');
  expect(await run(true)).toMatchObject({ code: 'ERR_CLI_NO_HANDSHAKE' });
  expect(readdirSync(folder)).toContain('wg0.sock');
});
