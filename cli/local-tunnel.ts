// Does a tunnel with this key run on this machine? Its peer would answer whoever called last, and it would fall silent.
// Promises: changes nothing; waits for no daemon that says nothing; says how sure it is: who may not ask for keys still sees
// the addresses of interfaces.
// Read on: ping.ts; Linux drivers/net/wireguard/device.c (DEVTYPE), drivers/net/tun.c (tun_flags).

import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { InterfaceConfig } from '../tunnel/config/config.js';
import { formatIp } from '../tunnel/ip.js';
import { encodeKey } from '../tunnel/keys.js';
import { UapiClient } from '../tunnel/daemon/uapi/client.js';
import { SOCKET_FOLDER, socketPath } from '../tunnel/daemon/uapi/socket-path.js';
import { publicKeyOf } from '../protocol/suite.js';
import { nobleSuite } from '../protocol/suites/noble.js';
import { TunnelError } from '../tunnel/errors.js';
import { LINKS, linkKind } from './kernel-wireguard.js';

export interface LocalTunnel {
  readonly interface: string;
  /** Whether it has the key, or an address of ours, with a key that we may not see. */
  readonly by: 'key' | 'address';
}

export interface LocalTunnelOptions {
  /** Where the sockets of daemons are. */
  readonly folder?: string;
  /** Where Linux lists interfaces. */
  readonly sysNet?: string;
  /** The addresses of each interface. */
  readonly addresses?: () => Readonly<Record<string, readonly string[]>>;
  /** The public key of an interface of the kernel's WireGuard, in base64; none when it may not be asked. */
  readonly kernelKey?: (name: string) => Promise<string | undefined>;
}

const SUFFIX = '.sock';
/** A daemon or a program that is alive answers at once. */
const TIMEOUT_MS = 1_000;

/** The tunnel of this machine that has the key of `own`, or seems to. Never throws. */
export async function findLocalTunnel(
  own: Pick<InterfaceConfig, 'privateKey' | 'addresses'>,
  options: LocalTunnelOptions = {},
): Promise<LocalTunnel | undefined> {
  const { folder = SOCKET_FOLDER, sysNet = LINKS, kernelKey = askWg, addresses = systemAddresses } = options;
  const wanted = encodeKey(publicKeyOf(nobleSuite, own.privateKey));
  const sockets = namesIn(folder)
    .filter(file => file.endsWith(SUFFIX))
    .map(file => file.slice(0, -SUFFIX.length));
  const devices = namesIn(sysNet).filter(name => isTunnel(sysNet, name));
  const kernel = devices.filter(name => !sockets.includes(name) && linkKind(name, sysNet) === 'wireguard');
  const keys = new Map(
    await Promise.all([
      ...sockets.map(async name => [name, await askDaemon(socketPath(name, folder))] as const),
      ...kernel.map(async name => [name, await kernelKey(name)] as const),
    ]),
  );
  for (const [name, key] of keys) if (key === wanted) return { interface: name, by: 'key' };
  const ours = own.addresses.map(({ ip }) => formatIp(ip));
  const has = addresses();
  const alike = devices.find(
    name => keys.get(name) === undefined && has[name]?.some(address => ours.includes(address)),
  );
  return alike === undefined ? undefined : { interface: alike, by: 'address' };
}

function isTunnel(sysNet: string, name: string): boolean {
  return existsSync(join(sysNet, name, 'tun_flags')) || linkKind(name, sysNet) === 'wireguard';
}

async function askDaemon(path: string): Promise<string | undefined> {
  const client = new UapiClient(path, { timeoutMs: TIMEOUT_MS });
  try {
    return (await client.status()).publicKey ?? undefined;
  } catch (error) {
    if (!(error instanceof TunnelError) || error.code !== 'ERR_UAPI_NO_STATUS') return undefined;
  }
  try {
    const { privateKey, peers } = await client.get();
    for (const { presharedKey } of peers) presharedKey.fill(0);
    if (!privateKey) return undefined;
    try {
      return encodeKey(publicKeyOf(nobleSuite, privateKey));
    } finally {
      privateKey.fill(0);
    }
  } catch {
    return undefined;
  }
}

function askWg(name: string): Promise<string | undefined> {
  return new Promise(resolve => {
    execFile('wg', ['show', name, 'public-key'], { timeout: TIMEOUT_MS }, (error, text) =>
      resolve(error ? undefined : text.trim()),
    );
  });
}

function systemAddresses(): Record<string, string[]> {
  const all = Object.entries(networkInterfaces());
  return Object.fromEntries(all.map(([name, list = []]) => [name, list.map(({ address }) => address)]));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
