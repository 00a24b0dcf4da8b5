// A status as a daemon gives it, for tests: everything at rest but for what the test says.

import { DROP_REASONS, type DropReason } from '../../../sessions/index.js';
import { RecoveryTimes } from '../../../tunnel/daemon/recovery-times.js';
import type { DeviceStatus, PeerStatus } from '../../../tunnel/daemon/status.js';
import { TRANSPORT_DROPS, type TransportDrop } from '../../../tunnel/transport.js';

const zeros = <K extends string>(names: readonly K[]) =>
  Object.fromEntries(names.map(name => [name, 0])) as Record<K, number>;

export const noDrops = (): Record<DropReason, number> => zeros(DROP_REASONS);
export const noTransportDrops = (): Record<TransportDrop, number> => zeros(TRANSPORT_DROPS);

/** 32 bytes of one value, in base64. */
export const keyText = (byte: number): string => Buffer.alloc(32, byte).toString('base64');

export function peerStatus(change: Partial<PeerStatus> = {}): PeerStatus {
  return {
    publicKey: keyText(2),
    allowedIps: ['10.0.0.2/32'],
    endpoint: '192.0.2.1:51820',
    lastHandshakeAt: 0,
    rxBytes: 0,
    txBytes: 0,
    hasSession: false,
    sessionEpoch: null,
    sessionIndex: null,
    recovery: null,
    unanswered: 0,
    moves: 0,
    ...change,
  };
}

export function deviceStatus(change: Partial<DeviceStatus> = {}): DeviceStatus {
  return {
    interface: 'wg0',
    version: '0.1.0',
    uptimeMs: 1_000,
    publicKey: keyText(1),
    mtu: 1420,
    linkState: 'up',
    listenPort: 51820,
    webSockets: [],
    protection: 'immediate',
    clockBehindMs: 0,
    keyMemory: { bytes: 4_096, lockedBytes: 4_096, refused: null },
    privileges: { capabilities: ['CAP_NET_ADMIN'], noNewPrivileges: true },
    sources: [{ name: 'acpi', timing: 'immediate', uniqueness: 'unique', readable: true }],
    forkPolicy: 'wipe',
    strict: false,
    holdBackMs: 0,
    epoch: 1,
    forks: 0,
    drills: 0,
    lastForkAt: null,
    lastDrillAt: null,
    epochs: [],
    recoveries: { fork: new RecoveryTimes().histogram, drill: new RecoveryTimes().histogram },
    wipedKeypairs: 0,
    staleKeypairs: 0,
    openssl: { epoch: 1, parted: true },
    recovery: null,
    discardedAtRelease: 0,
    handshakes: { completed: 0 },
    drops: noDrops(),
    transportDrops: noTransportDrops(),
    lastUdpError: null,
    interfaceDrops: { unsplittable: 0, undeliverable: 0 },
    nonceHeadroom: null,
    clonedPeers: 0,
    lastTripwire: null,
    suite: 'sodium',
    offloads: [],
    waitingForFreshness: 0,
    held: false,
    gateway: null,
    enrolment: null,
    peers: [],
    hints: [],
    ...change,
  };
}
