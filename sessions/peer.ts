// One peer: its identity, its keypairs, the handshake in flight, its timers and its traffic.
// Promises: all its session secrets lie in one block of the session slab, all its lasting ones in one of the identity slab.
// Read on: Linux drivers/net/wireguard/peer.h.

import {
  HANDSHAKE_STATE_BYTES,
  type ConsumedInitiation,
  type RemoteIdentity,
  type SentInitiation,
} from '../protocol/handshake.js';
import type { Keypair } from '../protocol/keypair.js';
import { KEY_BYTES, MAC_BYTES } from '../protocol/suite.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import type { AllowedIp } from './allowed-ips.js';
import { KEYPAIRS_BYTES, Keypairs } from './keypairs.js';
import { type PeerRecords, PeerTimes } from './peer-times.js';
import type { Endpoint } from './ports.js';
import { StagedPackets } from './staged-packets.js';

/** Bytes of session secrets per peer: keypairs, a handshake in flight, a cookie. Erased by a fork. */
export const PEER_SESSION_BYTES = KEYPAIRS_BYTES + HANDSHAKE_STATE_BYTES + MAC_BYTES;
/** Bytes of lasting secrets per peer: preshared key, static shared secret. */
export const PEER_IDENTITY_BYTES = 2 * KEY_BYTES;

/** What an index in our table stands for: a keypair, or (none yet) the initiation that was sent. */
export interface IndexEntry {
  readonly peer: Peer;
  keypair: Keypair | undefined;
}

/** The handshake that we started. */
export interface InFlight {
  readonly state: SentInitiation;
  readonly index: number;
  /** In which it was started. */
  epoch: number;
}

/** An initiation that waits for our response: until the turn's end, or until there is fresh randomness. */
export interface WaitingInitiation {
  readonly state: ConsumedInitiation;
  readonly epoch: number;
}

/** What an admitted peer was promised. */
export interface PeerAdmission {
  readonly allowedIps: readonly AllowedIp[];
  /** Seconds. */
  readonly persistentKeepalive: number;
}

export class Peer extends PeerTimes implements RemoteIdentity {
  // First what a fork changes: fields lie in memory in the order in which they are declared.
  readonly keypairs: Keypairs;
  readonly staged = new StagedPackets();
  /** The handshake that we started, if one is in flight. */
  inFlight: InFlight | undefined;
  waitingInitiation: WaitingInitiation | undefined;
  handshakeAttempts = 0;
  sentLastMinuteHandshake = false;
  needsAnotherKeepalive = false;
  /** The epoch in which it was last called for a fork: see `Recovery`, which keeps it. */
  calledIn = NO_EPOCH;
  /** What is wished for: see `Wishes`, which keeps it. */
  wishes = 0;
  /** Where the deadline queue keeps this peer. */
  deadlineSlot = -1;

  /** Hexadecimal public key: the name under which maps know it. */
  readonly id: string;
  readonly publicKey: Uint8Array;
  readonly presharedKey: Uint8Array;
  readonly staticShared: Uint8Array;
  readonly sessionBlock: Uint8Array;
  readonly identityBlock: Uint8Array;
  /** False until `staticShared` is computed, and for good when the peer's key is a low-order point. */
  usable = false;
  /** Answered by a gateway that does not know yet who it is. */
  isProvisional = false;
  /** Of a peer that was admitted, and not configured. */
  admission: PeerAdmission | undefined;

  endpoint: Endpoint | undefined;

  /** Wall-clock milliseconds of our last TAI64N timestamp: the next is later, whatever the clock says. */
  lastSentTimestampMs = 0;
  /** Since the fork for which it was called: see `Recovery`. */
  backAfterMs: number | undefined;
  // The handshakes the peer started.
  readonly latestTimestamp = new Uint8Array(12);

  // Cookie protection: the cookie we were given, and the mac1 of our last handshake message.
  readonly cookie: Uint8Array;
  cookieEpoch = 0;
  readonly lastMac1 = new Uint8Array(MAC_BYTES);
  lastMac1Epoch = 0;
  mac1Key: Uint8Array;
  cookieKey: Uint8Array;

  constructor(
    id: string,
    publicKey: Uint8Array,
    sessionBlock: Uint8Array,
    identityBlock: Uint8Array,
    macKeys: { readonly mac1Key: Uint8Array; readonly cookieKey: Uint8Array },
    records: PeerRecords,
    onDropped: (keypair: Keypair) => void,
  ) {
    super(records);
    this.id = id;
    this.publicKey = new Uint8Array(publicKey);
    this.sessionBlock = sessionBlock;
    this.identityBlock = identityBlock;
    this.presharedKey = identityBlock.subarray(0, KEY_BYTES);
    this.staticShared = identityBlock.subarray(KEY_BYTES, 2 * KEY_BYTES);
    this.keypairs = new Keypairs(sessionBlock.subarray(0, KEYPAIRS_BYTES), onDropped);
    this.cookie = sessionBlock.subarray(KEYPAIRS_BYTES + HANDSHAKE_STATE_BYTES, PEER_SESSION_BYTES);
    this.mac1Key = macKeys.mac1Key;
    this.cookieKey = macKeys.cookieKey;
  }

  /** Where the state of a sent initiation lives. */
  get handshakeStorage(): Uint8Array {
    return this.sessionBlock.subarray(KEYPAIRS_BYTES, KEYPAIRS_BYTES + HANDSHAKE_STATE_BYTES);
  }

  override stopSessionTimers(): void {
    super.stopSessionTimers();
    this.needsAnotherKeepalive = false;
  }
}
