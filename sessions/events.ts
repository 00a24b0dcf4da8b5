// What a device reports about itself. Events carry public keys and numbers, never secrets.

import type { AllowedIp } from './allowed-ips.js';
import type { Endpoint } from './ports.js';

/**
 * What a device does when its machine was forked. `wipe`: everything derived since the start is erased, and peers with
 * waiting traffic are called anew. `expire-sending`: as Linux, receiving survives. `hold`: wipe, then silence until a
 * new private key is set. `enrol`: as `hold`, with the private key erased; the device draws another for itself, and speaks
 * again when that is enrolled (`Device.completeEnrolment`).
 */
export type ForkPolicy = 'wipe' | 'expire-sending' | 'hold' | 'enrol';

/** Whether nothing that was to be sent before a fork may be sent after it. */
export function isSilencedByFork(policy: ForkPolicy): boolean {
  return policy === 'hold' || policy === 'enrol';
}

/** A peer used one counter of a session for two messages: its machine was cloned, or set back to a snapshot. */
export interface PeerCloned {
  readonly type: 'peerCloned';
  readonly peer: Uint8Array;
  readonly counter: bigint;
  /** Where the second message came from. */
  readonly from: Endpoint;
  /** Where the peer was believed to be. */
  readonly knownEndpoint: Endpoint | undefined;
  readonly wipedKeypairs: number;
}

/** An admitted peer, which has its inner addresses from now on. */
export interface PeerAdmitted {
  readonly type: 'peerAdmitted';
  readonly peer: Uint8Array;
  readonly allowedIps: readonly AllowedIp[];
  /** TAI64N of the initiation by which it came, 12 bytes. */
  readonly timestamp: Uint8Array;
}

/** An admitted peer is gone from memory, since all its keys have expired; it is asked about anew when it calls. */
export interface PeerEvicted {
  readonly type: 'peerEvicted';
  readonly peer: Uint8Array;
  /** Wall-clock milliseconds; 0 before the first. */
  readonly lastHandshakeAt: number;
  /** TAI64N of its last initiation, 12 bytes: to be given back by `Admission.admit`. */
  readonly timestamp: Uint8Array;
}

/** What `onEvent` of a device hears. */
export type DeviceEvent =
  | {
      readonly type: 'vmFork';
      readonly epoch: number;
      /** What was done: a drill leaves an identity as it is, and is answered by `wipe` where the policy would take it. */
      readonly policy: ForkPolicy;
      /** There was no fork: see `VmGenId.drill`. */
      readonly isDrill?: true;
      /** Keypairs that can no longer send. */
      readonly wipedKeypairs: number;
      /** Handshakes in flight that were ended. */
      readonly wipedHandshakes: number;
    }
  | { readonly type: 'handshakeInitiated'; readonly peer: Uint8Array; readonly attempt: number }
  | {
      readonly type: 'handshakeComplete';
      readonly peer: Uint8Array;
      readonly role: 'initiator' | 'responder';
      /** When that brings back a peer that was called for a fork: milliseconds since the device saw the fork. */
      readonly afterForkMs?: number | undefined;
    }
  | { readonly type: 'handshakeGivenUp'; readonly peer: Uint8Array }
  /** A handshake waits for randomness that no sibling of this clone shares. Said once per wait. */
  | { readonly type: 'waitingForFreshness'; readonly peer: Uint8Array }
  | PeerCloned
  | { readonly type: 'roamed'; readonly peer: Uint8Array; readonly endpoint: Endpoint }
  | { readonly type: 'cookieReceived'; readonly peer: Uint8Array }
  | { readonly type: 'keysErased'; readonly peer: Uint8Array }
  /** This device has drawn a private key for itself, and stays silent until `completeEnrolment` is called with it. */
  | { readonly type: 'identityDrawn'; readonly publicKey: Uint8Array; readonly epoch: number }
  /** A peer that a gateway was not configured with has proven itself, by data under its preshared key. */
  | PeerAdmitted
  /** One that was answered has not proven itself in time, or has called again, or gave way to others. */
  | { readonly type: 'admissionExpired'; readonly peer: Uint8Array }
  | PeerEvicted;
