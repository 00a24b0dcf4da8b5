// A device's status, from what its thread reports and what the main thread has seen and heard.
// Read on: ../status.ts (what each field means).

import type { OpenSslSeeding } from '../../../crng/openssl.js';
import type { VmGenId } from '../../../vmgenid/driver.js';
import type { DeviceStats } from '../../../sessions/device.js';
import { encodeKey } from '../../keys.js';
import type { Privileges } from '../../linux/capabilities.js';
import type { LoopReport, PeerReport } from '../../linux/device-loop.js';
import type { GatewayStats } from '../../../gateway/admission.js';
import {
  type DeviceStatus,
  type EnrolmentStatus,
  type EpochStart,
  type GatewayStatus,
  MAX_EPOCHS,
  MAX_MOVES,
  type PeerStatus,
  type TripwireStatus,
} from '../status.js';
import { RecoveryTimes } from '../recovery-times.js';
import { hintsFor } from '../status-hints.js';
import { type TransportCounters, newCounters } from '../../transport.js';
import type { ThreadDeviceEvent } from './messages.js';

const RECENT_MS = 60_000;

/** What a device's events add up to. */
export class EventTally {
  #lastTripwire: TripwireStatus | null = null;
  /** What peers come back from now. */
  #last: 'fork' | 'drill' = 'fork';
  readonly #at: Record<'fork' | 'drill', number | null> = { fork: null, drill: null };
  #epochs: readonly EpochStart[] = [];
  readonly #times = { fork: new RecoveryTimes(), drill: new RecoveryTimes() };
  /** By public key: initiations since the last handshake that was completed. */
  readonly #unanswered = new Map<string, number>();
  /** By public key: when the peer last moved to another address, MAX_MOVES times at most. */
  readonly #moves = new Map<string, number[]>();

  count(event: ThreadDeviceEvent, wallClock: () => number): void {
    if (event.type === 'vmFork') {
      this.#last = event.isDrill ? 'drill' : 'fork';
      const at = wallClock();
      this.#at[this.#last] = at;
      this.#epochs = [...this.#epochs, { epoch: event.epoch, at, cause: this.#last }].slice(-MAX_EPOCHS);
    } else if (event.type === 'handshakeInitiated') {
      const peer = encodeKey(event.peer);
      this.#unanswered.set(peer, (this.#unanswered.get(peer) ?? 0) + 1);
    } else if (event.type === 'handshakeComplete') {
      if (event.afterForkMs !== undefined) this.#times[this.#last].observe(event.afterForkMs);
      this.#unanswered.delete(encodeKey(event.peer));
    } else if (event.type === 'roamed') {
      const peer = encodeKey(event.peer);
      this.#moves.set(peer, [...(this.#moves.get(peer) ?? []), wallClock()].slice(-MAX_MOVES));
    } else if (event.type === 'peerEvicted') {
      // Nobody may ask how things stand for long: of those who are gone nothing stays.
      this.#unanswered.delete(encodeKey(event.peer));
      this.#moves.delete(encodeKey(event.peer));
    } else if (event.type === 'peerCloned') {
      this.#lastTripwire = { peer: encodeKey(event.peer), at: wallClock() };
    }
  }

  /** What was heard of each of these peers, beside what the thread says. Of others nothing is kept from here on. */
  complete(peers: readonly PeerReport[], now: number): PeerStatus[] {
    const present = new Set(peers.map(({ publicKey }) => publicKey));
    for (const known of [this.#unanswered, this.#moves]) {
      for (const peer of known.keys()) if (!present.has(peer)) known.delete(peer);
    }
    return peers.map(peer => ({
      ...peer,
      unanswered: this.#unanswered.get(peer.publicKey) ?? 0,
      moves: this.#moves.get(peer.publicKey)?.filter(at => now - at < RECENT_MS).length ?? 0,
    }));
  }

  /** Fields of a status. */
  get forks() {
    const { fork, drill } = this.#times;
    return {
      lastForkAt: this.#at.fork,
      lastDrillAt: this.#at.drill,
      epochs: this.#epochs,
      recoveries: { fork: fork.histogram, drill: drill.histogram },
    };
  }

  get lastTripwire(): TripwireStatus | null {
    return this.#lastTripwire;
  }
}

/** What a gateway itself knows; the rest its device does. */
export type GatewayParts = GatewayStats & Pick<GatewayStatus, 'known'>;

export interface StatusParts {
  readonly report: LoopReport;
  readonly vmgenid: Pick<VmGenId, 'sources'>;
  readonly tally: EventTally;
  readonly version: string;
  readonly uptimeMs: number;
  /** Milliseconds since 1970. */
  readonly wallClock: number;
  readonly privileges: Privileges | null;
  /** Of the process. */
  readonly openssl: OpenSslSeeding | null;
  /** Where WebSocket peers may connect, and what their connections dropped. */
  readonly webSockets: readonly string[];
  readonly gateway: GatewayParts | undefined;
  readonly relayCounters: readonly Readonly<TransportCounters>[];
  /** Of a clone. */
  readonly enrolment: EnrolmentStatus | null;
}

export function composeStatus({ report, vmgenid, tally, gateway, ...parts }: StatusParts): DeviceStatus {
  const { device, udp, loop } = report;
  const { dropped } = newCounters();
  for (const counters of parts.relayCounters) {
    for (const [reason, count] of Object.entries(counters.dropped)) dropped[reason as 'closed'] += count;
  }
  dropped.notConnected += loop.noSocket;
  dropped.queueFull += loop.noRelayRoom;
  if (udp) {
    dropped.noFamily += udp.noFamily;
    dropped.badLength += udp.badLength;
    dropped.queueFull += udp.queueFull;
    dropped.sendFailed += udp.sendFailed;
    dropped.malformed += udp.malformed;
  }
  const status: Omit<DeviceStatus, 'hints'> = {
    interface: report.name,
    version: parts.version,
    uptimeMs: parts.uptimeMs,
    publicKey: report.publicKey,
    mtu: report.mtu,
    linkState: report.linkState,
    listenPort: report.listenPort,
    webSockets: parts.webSockets,
    protection: report.protection,
    clockBehindMs: report.clockBehindMs,
    keyMemory: report.keyMemory,
    privileges: parts.privileges,
    sources: vmgenid.sources,
    forkPolicy: report.settings.forkPolicy,
    strict: report.settings.strict,
    holdBackMs: report.settings.holdBackMs,
    epoch: device.epoch,
    forks: device.forks,
    drills: device.drills,
    wipedKeypairs: device.wipedKeypairs,
    staleKeypairs: report.staleKeypairs,
    openssl: parts.openssl,
    recovery: device.recovery ? { ...device.recovery, lastBackMs: device.recovery.lastBackMs ?? null } : null,
    ...tally.forks,
    discardedAtRelease: device.discardedAtRelease,
    handshakes: { completed: device.handshakesCompleted },
    drops: device.drops,
    transportDrops: dropped,
    lastUdpError: report.lastUdpError ?? null,
    interfaceDrops: { unsplittable: loop.unsplittable, undeliverable: loop.undeliverable },
    nonceHeadroom: report.nonceHeadroom,
    clonedPeers: device.clonedPeers,
    lastTripwire: tally.lastTripwire,
    suite: report.suite,
    offloads: report.offloads,
    waitingForFreshness: device.waitingForFreshness,
    held: device.held,
    gateway: gateway ? gatewayStatus(gateway, device) : null,
    enrolment: parts.enrolment,
    peers: tally.complete(report.peers, parts.wallClock),
  };
  return { ...status, hints: hintsFor(status) };
}

function gatewayStatus(gateway: GatewayParts, { admission }: DeviceStats): GatewayStatus {
  const {
    present = 0,
    provisional = 0,
    awaited = 0,
    admitted = 0,
    expired = 0,
    evicted = 0,
  } = admission ?? {};
  return { ...gateway, present, provisional, awaited, admitted, unproven: expired, evicted };
}
