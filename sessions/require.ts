// What callers hand in, checked at the door.
// Promises: each throws a `SessionError` that says what was wrong, before anything has changed.

import { KEY_BYTES } from '../protocol/suite.js';
import type { AllowedIp } from './allowed-ips.js';
import { SessionError } from './errors.js';

const MAX_PERSISTENT_KEEPALIVE_S = 65_535;

/** What a peer may be given, whoever gives it. */
interface PeerSettings {
  readonly presharedKey?: Uint8Array | undefined;
  readonly persistentKeepalive?: number | undefined;
  readonly allowedIps?: readonly AllowedIp[] | undefined;
}

export function requirePeerSettings({
  presharedKey,
  persistentKeepalive,
  allowedIps = [],
}: PeerSettings): void {
  if (presharedKey) requireKey('preshared key', presharedKey);
  if (persistentKeepalive !== undefined)
    requireRange('persistentKeepalive', persistentKeepalive, 0, MAX_PERSISTENT_KEEPALIVE_S);
  for (const { ip, prefix } of allowedIps) requireAddress(ip, prefix);
}

export function requireKey(what: string, key: Uint8Array): void {
  if (key.length !== KEY_BYTES) {
    throw new SessionError('ERR_KEY_LENGTH', `a ${what} has ${KEY_BYTES} bytes, not ${key.length}`);
  }
}

export function requireRange(what: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new SessionError('ERR_OPTION', `${what} must be an integer from ${least} to ${most}, not ${value}`);
  }
}

export function requireAddress(ip: Uint8Array, prefix: number): void {
  if (ip.length !== 4 && ip.length !== 16) {
    throw new SessionError('ERR_ADDRESS', `an address has 4 or 16 bytes, not ${ip.length}`);
  }
  requireRange('prefix', prefix, 0, 8 * ip.length);
}
