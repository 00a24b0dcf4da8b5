// What every way to carry datagrams looks like to the driver of a device.
// Promises: sending never blocks, never throws and never queues without bound; what is dropped is counted by reason.
// Read on: sessions/ports.ts (Sink, Endpoint); loop/udp.ts, websocket/index.ts.

import type { Endpoint } from '../sessions/ports.js';
import type { TunnelError } from './errors.js';

/**
 * Why a datagram did not go on. `notOurs`: the endpoint belongs to another transport. `noFamily`: no socket for this
 * address family. `badLength`: empty, or longer than the transport carries. `notConnected`: no open connection.
 * `queueFull`: the connection, or the other thread, does not keep up. `unproven`: a connection from which nothing was
 * authenticated sends more than strangers may. `held`: the device is, after a fork. `noRandomness`: no frame mask can
 * be drawn after a fork. `sendFailed`: the system refused it. `malformed`: what came in is no datagram. `closed`: the
 * transport is.
 */
export const TRANSPORT_DROPS = [
  'notOurs',
  'noFamily',
  'badLength',
  'notConnected',
  'queueFull',
  'unproven',
  'held',
  'noRandomness',
  'sendFailed',
  'malformed',
  'closed',
] as const;
/** One of `TRANSPORT_DROPS`. */
export type TransportDrop = (typeof TRANSPORT_DROPS)[number];

/** What a transport has counted. */
export interface TransportCounters {
  /** Datagrams handed to the system. */
  sent: number;
  /** Datagrams handed to `onDatagram`. */
  received: number;
  readonly dropped: Record<TransportDrop, number>;
}

export function newCounters(): TransportCounters {
  const dropped = Object.fromEntries(TRANSPORT_DROPS.map(reason => [reason, 0]));
  return { sent: 0, received: 0, dropped: dropped as Record<TransportDrop, number> };
}

/** A way to carry datagrams. */
export interface Transport {
  readonly kind: 'udp' | 'websocket';
  readonly counters: Readonly<TransportCounters>;
  /** Where it listens, as `address:port`. Empty for one that only dials. */
  readonly localAddresses: readonly string[];
  /** Called for each datagram. The bytes belong to the receiver, who may change them. Must not throw. */
  onDatagram: (datagram: Uint8Array, from: Endpoint) => void;
  /** Hears what the system reports. The transport goes on. Must not throw. */
  onError: (error: TunnelError) => void;
  /**
   * Whether the device is on hold after a fork: so long nothing is dialled, and nothing that waits is sent. For a transport
   * that dials or keeps anything. Must not throw.
   */
  isHeld?: () => boolean;
  /**
   * Called when there is a connection to an endpoint again, of a transport that makes any: whoever answers there now may
   * know nothing of what was agreed before. Must not throw.
   */
  onReopened?: (to: Endpoint) => void;
  /** Whether `send` would know what to do with this endpoint. */
  owns(to: Endpoint): boolean;
  /**
   * Fire and forget: copies the datagram and returns. False when it was dropped at once (see `counters.dropped`);
   * true says only that it went on its way.
   */
  send(datagram: Uint8Array, to: Endpoint): boolean;
  /**
   * Call when the machine was forked. Cuts every connection, since its TLS keys were cloned, and dials anew those
   * that were dialled. Nothing to do for UDP. `reason` is for whoever watches.
   */
  dropAll(reason: string): void;
  /** Gives back every descriptor. May be called twice. */
  close(): Promise<void>;
}
