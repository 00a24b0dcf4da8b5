// Noise IKpsk2 as WireGuard uses it. Each state is a type that offers only its lawful moves.
// Promises: no state is spent by a message that does not authenticate; a state that made its move is wiped and
// refuses another; low-order points are refused. Randomness and time are the caller's: they come as arguments.
// Read on: WireGuard paper 5.4.2, 5.4.3; Noise specification 7.5 (IK), 9 (psk2).

/*
 *   initiator                                         responder
 *   createInitiation() ---- -> e, es, s, ss, {t} ---> receiveInitiation()     who says it is?
 *     SentInitiation                                    ReceivedInitiation.verify(peer)
 *                                                         ConsumedInitiation
 *   .consumeResponse() <--- <- e, ee, se, psk, {} ----      .createResponse()
 *     TransportKeys                                           TransportKeys
 */

import { secretBytes } from '../native/secret-bytes.js';
import { HANDSHAKE_INITIATION, HANDSHAKE_RESPONSE } from './constants.js';
import { ProtocolError } from './errors.js';
import { INITIATION, RESPONSE, readU32, writeU32 } from './messages.js';
import { KEY_BYTES, type Suite, TAG_BYTES } from './suite.js';
import { SYMMETRIC_STATE_BYTES, SymmetricState } from './symmetric-state.js';
import { TAI64N_BYTES } from './tai64n.js';

/** Bytes that a handshake in flight needs: a symmetric state and an ephemeral key (private, or the peer's public). */
export const HANDSHAKE_STATE_BYTES = SYMMETRIC_STATE_BYTES + KEY_BYTES;

const EMPTY = new Uint8Array(0);

/** A shared secret, between its derivation and the end of the function that mixes it in. */
const shared = secretBytes(KEY_BYTES);

/** Our own long-term key pair, 32 bytes each. */
export interface LocalIdentity {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** A peer's long-term key, what we share with it by static Diffie-Hellman, and the preshared key (zeros: none). */
export interface RemoteIdentity {
  readonly publicKey: Uint8Array;
  readonly staticShared: Uint8Array;
  readonly presharedKey: Uint8Array;
}

/** Where the two transport keys (32 bytes each) are to be written. */
export interface TransportKeys {
  readonly send: Uint8Array;
  readonly receive: Uint8Array;
}

/** What an initiation is made of. WireGuard paper 5.4.2. */
export interface InitiationInput {
  /** 32 fresh random bytes; copied into the state. */
  readonly ephemeralPrivate: Uint8Array;
  readonly senderIndex: number;
  /** TAI64N, 12 bytes. */
  readonly timestamp: Uint8Array;
}

/** What a response is made of, beside the initiation. WireGuard paper 5.4.3. */
export interface ResponseInput {
  readonly ephemeralPrivate: Uint8Array;
  readonly senderIndex: number;
}

/**
 * Writes an initiation into `out` (148 bytes, both macs left zero) and returns the state that waits for the response,
 * kept in `storage` (128 bytes). `undefined` when the peer's public key is a low-order point.
 */
export function createInitiation(
  suite: Suite,
  local: LocalIdentity,
  remote: RemoteIdentity,
  input: InitiationInput,
  out: Uint8Array,
  storage: Uint8Array = secretBytes(HANDSHAKE_STATE_BYTES),
): SentInitiation | undefined {
  const state = new SymmetricState(suite, storage.subarray(0, SYMMETRIC_STATE_BYTES));
  const ephemeral = storage.subarray(SYMMETRIC_STATE_BYTES, HANDSHAKE_STATE_BYTES);
  const ephemeralPublic = out.subarray(INITIATION.ephemeral, INITIATION.ephemeral + KEY_BYTES);
  let done = false;
  out.fill(0);
  try {
    // -> e, es, s, ss, {t}
    state.initialize(remote.publicKey);
    /* e */
    ephemeral.set(input.ephemeralPrivate);
    suite.publicKey(ephemeral, ephemeralPublic);
    state.mixChainingKey(ephemeralPublic);
    state.mixHash(ephemeralPublic);
    /* es */
    if (!suite.sharedSecret(ephemeral, remote.publicKey, shared)) return undefined;
    state.mixKey(shared);
    /* s */
    state.encryptAndHash(local.publicKey, out, INITIATION.static);
    /* ss */
    state.mixKey(remote.staticShared);
    /* {t} */
    state.encryptAndHash(input.timestamp, out, INITIATION.timestamp);

    writeU32(out, 0, HANDSHAKE_INITIATION);
    writeU32(out, INITIATION.sender, input.senderIndex);
    done = true;
    return new SentInitiation(suite, state, ephemeral);
  } finally {
    shared.fill(0);
    if (!done) storage.fill(0);
    suite.forget();
  }
}

/** An initiation was sent. Its one move: consume the response. */
export class SentInitiation {
  readonly #suite: Suite;
  readonly #state: SymmetricState;
  readonly #ephemeral: Uint8Array;
  #spent = false;

  constructor(suite: Suite, state: SymmetricState, ephemeral: Uint8Array) {
    this.#suite = suite;
    this.#state = state;
    this.#ephemeral = ephemeral;
  }

  /**
   * Derives the transport keys from a response (92 bytes, mac1 already checked). False when it does not authenticate:
   * the state then waits on for the true one. Throws `ERR_HANDSHAKE_SPENT` after it returned true once.
   */
  consumeResponse(
    message: Uint8Array,
    local: LocalIdentity,
    remote: RemoteIdentity,
    keys: TransportKeys,
  ): boolean {
    refuseSpent(this.#spent);
    const suite = this.#suite;
    const state = this.#state.copy();
    try {
      // <- e, ee, se, psk, {}
      /* e */
      const ephemeralPublic = message.subarray(RESPONSE.ephemeral, RESPONSE.ephemeral + KEY_BYTES);
      state.mixChainingKey(ephemeralPublic);
      state.mixHash(ephemeralPublic);
      /* ee */
      if (!suite.sharedSecret(this.#ephemeral, ephemeralPublic, shared)) return false;
      state.mixChainingKey(shared);
      /* se */
      if (!suite.sharedSecret(local.privateKey, ephemeralPublic, shared)) return false;
      state.mixChainingKey(shared);
      /* psk */
      state.mixKeyAndHash(remote.presharedKey);
      /* {} */
      if (!state.decryptAndHash(message.subarray(RESPONSE.empty, RESPONSE.empty + TAG_BYTES))) return false;

      state.split(keys.send, keys.receive);
      this.wipe();
      return true;
    } finally {
      shared.fill(0);
      state.wipe();
      suite.forget();
    }
  }

  /** Ends the state: no response will be consumed any more. */
  wipe(): void {
    this.#spent = true;
    this.#state.wipe();
    this.#ephemeral.fill(0);
  }
}

/**
 * Opens the first half of an initiation (148 bytes, mac1 already checked): who does the sender say it is?
 * `undefined` when it was not made for our key.
 */
export function receiveInitiation(
  suite: Suite,
  local: LocalIdentity,
  message: Uint8Array,
): ReceivedInitiation | undefined {
  const state = new SymmetricState(suite);
  let done = false;
  try {
    // -> e, es, s
    state.initialize(local.publicKey);
    /* e */
    const ephemeralPublic = copyOf(message, INITIATION.ephemeral, INITIATION.static);
    state.mixChainingKey(ephemeralPublic);
    state.mixHash(ephemeralPublic);
    /* es */
    if (!suite.sharedSecret(local.privateKey, ephemeralPublic, shared)) return undefined;
    state.mixKey(shared);
    /* s */
    const remoteStatic = state.decryptAndHash(message.subarray(INITIATION.static, INITIATION.timestamp));
    if (!remoteStatic) return undefined;

    done = true;
    const sealedTimestamp = copyOf(message, INITIATION.timestamp, INITIATION.mac1);
    return new ReceivedInitiation(
      suite,
      state,
      remoteStatic,
      ephemeralPublic,
      sealedTimestamp,
      readU32(message, INITIATION.sender),
    );
  } finally {
    shared.fill(0);
    if (!done) state.wipe();
    suite.forget();
  }
}

/** An initiation whose sender has named itself, but not yet proven it. Moves: verify, or discard. */
export class ReceivedInitiation {
  /** The static public key that the sender claims, 32 bytes. */
  readonly remotePublicKey: Uint8Array;
  readonly #suite: Suite;
  readonly #state: SymmetricState;
  readonly #ephemeral: Uint8Array;
  readonly #sealedTimestamp: Uint8Array;
  readonly #senderIndex: number;
  #spent = false;

  constructor(
    suite: Suite,
    state: SymmetricState,
    remotePublicKey: Uint8Array,
    ephemeral: Uint8Array,
    sealedTimestamp: Uint8Array,
    senderIndex: number,
  ) {
    this.#suite = suite;
    this.#state = state;
    this.remotePublicKey = remotePublicKey;
    this.#ephemeral = ephemeral;
    this.#sealedTimestamp = sealedTimestamp;
    this.#senderIndex = senderIndex;
  }

  /**
   * Proves the sender by its timestamp, under the secret that both static keys share. `undefined` when false.
   * Spends this state either way; the caller judges the timestamp (replay) before it goes on.
   */
  verify(
    remote: RemoteIdentity,
    storage: Uint8Array = secretBytes(HANDSHAKE_STATE_BYTES),
  ): ConsumedInitiation | undefined {
    refuseSpent(this.#spent);
    try {
      // ss, {t}
      /* ss */
      this.#state.mixKey(remote.staticShared);
      /* {t} */
      const timestamp = this.#state.decryptAndHash(this.#sealedTimestamp);
      if (timestamp?.length !== TAI64N_BYTES) return undefined;

      const kept = new SymmetricState(this.#suite, storage.subarray(0, SYMMETRIC_STATE_BYTES));
      kept.chainingKey.set(this.#state.chainingKey);
      kept.hash.set(this.#state.hash);
      const ephemeral = storage.subarray(SYMMETRIC_STATE_BYTES, HANDSHAKE_STATE_BYTES);
      ephemeral.set(this.#ephemeral);
      return new ConsumedInitiation(this.#suite, kept, ephemeral, timestamp, this.#senderIndex);
    } finally {
      this.discard();
      this.#suite.forget();
    }
  }

  /** Erases what was derived. May be called twice. */
  discard(): void {
    this.#spent = true;
    this.#state.wipe();
  }
}

/** An initiation of a proven peer. Its one move: create the response. */
export class ConsumedInitiation {
  /** TAI64N, 12 bytes: authenticated, still to be compared with the peer's last. */
  readonly timestamp: Uint8Array;
  /** The index by which the peer wants to be addressed. */
  readonly remoteIndex: number;
  readonly #suite: Suite;
  readonly #state: SymmetricState;
  readonly #ephemeral: Uint8Array;
  #spent = false;

  constructor(
    suite: Suite,
    state: SymmetricState,
    ephemeral: Uint8Array,
    timestamp: Uint8Array,
    remoteIndex: number,
  ) {
    this.#suite = suite;
    this.#state = state;
    this.#ephemeral = ephemeral;
    this.timestamp = timestamp;
    this.remoteIndex = remoteIndex;
  }

  /**
   * Writes a response into `out` (92 bytes, both macs left zero) and the transport keys into `keys`. Spends this
   * state. False, with nothing written to `keys`, when a point of the peer has low order.
   */
  createResponse(
    input: ResponseInput,
    remote: RemoteIdentity,
    out: Uint8Array,
    keys: TransportKeys,
  ): boolean {
    refuseSpent(this.#spent);
    const suite = this.#suite;
    const state = this.#state;
    const ephemeralPublic = out.subarray(RESPONSE.ephemeral, RESPONSE.ephemeral + KEY_BYTES);
    out.fill(0);
    try {
      // <- e, ee, se, psk, {}
      /* e */
      suite.publicKey(input.ephemeralPrivate, ephemeralPublic);
      state.mixChainingKey(ephemeralPublic);
      state.mixHash(ephemeralPublic);
      /* ee */
      if (!suite.sharedSecret(input.ephemeralPrivate, this.#ephemeral, shared)) return false;
      state.mixChainingKey(shared);
      /* se */
      if (!suite.sharedSecret(input.ephemeralPrivate, remote.publicKey, shared)) return false;
      state.mixChainingKey(shared);
      /* psk */
      state.mixKeyAndHash(remote.presharedKey);
      /* {} */
      state.encryptAndHash(EMPTY, out, RESPONSE.empty);

      writeU32(out, 0, HANDSHAKE_RESPONSE);
      writeU32(out, RESPONSE.sender, input.senderIndex);
      writeU32(out, RESPONSE.receiver, this.remoteIndex);
      state.split(keys.receive, keys.send);
      return true;
    } finally {
      shared.fill(0);
      this.wipe();
      suite.forget();
    }
  }

  /** Ends the state: no response will be made any more. */
  wipe(): void {
    this.#spent = true;
    this.#state.wipe();
    this.#ephemeral.fill(0);
  }
}

// Not `slice`: that of a Node Buffer, which is what sockets hand out, shares its memory.
function copyOf(bytes: Uint8Array, from: number, to: number): Uint8Array {
  return new Uint8Array(bytes.subarray(from, to));
}

function refuseSpent(spent: boolean): void {
  if (spent) throw new ProtocolError('ERR_HANDSHAKE_SPENT', 'this handshake state has already made its move');
}
