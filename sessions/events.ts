// What a device reports about itself. Events carry public keys and numbers, never secrets.

import type { Endpoint } from './ports.js';

/**
 * What a device does when its machine was forked. `wipe`: everything derived since the start is erased, and peers with
 * waiting traffic are called anew. `expire-sending`: as Linux, receiving survives. `hold`: wipe, then silence until a
 * new private key is set.
 */
export type ForkPolicy = 'wipe' | 'expire-sending' | 'hold';

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

/** What `onEvent` of a device hears. */
export type DeviceEvent =
  | {
      readonly type: 'vmFork';
      readonly epoch: number;
      readonly policy: ForkPolicy;
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
    }
  | { readonly type: 'handshakeGivenUp'; readonly peer: Uint8Array }
  /** A handshake waits for randomness that no sibling of this clone shares. Said once per wait. */
  | { readonly type: 'waitingForFreshness'; readonly peer: Uint8Array }
  | PeerCloned
  | { readonly type: 'roamed'; readonly peer: Uint8Array; readonly endpoint: Endpoint }
  | { readonly type: 'cookieReceived'; readonly peer: Uint8Array }
  | { readonly type: 'keysErased'; readonly peer: Uint8Array };
