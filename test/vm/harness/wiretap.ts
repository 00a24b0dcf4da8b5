// What an eavesdropper on all cables sees of one identity, and where it finds two plaintexts under one key and nonce.
// Promises: knows no keys. A session is named by the ephemeral key of the cloned side and by the receiver's index:
// clones that answer one initiation with ephemerals of their own have two sessions, though they share that index.
// Read on: WireGuard paper 5.4 (what of a message can be read by anybody).

import { HANDSHAKE_INITIATION, HANDSHAKE_RESPONSE, TRANSPORT_DATA } from '../../../protocol/constants.js';
import { INITIATION, RESPONSE, TRANSPORT, messageType, readU32 } from '../../../protocol/messages.js';
import type { LinkDatagram } from './link.js';

export interface DataDatagram {
  readonly session: string;
  readonly counter: bigint;
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Two different datagrams under one key and nonce. */
export interface NonceReuse {
  readonly session: string;
  readonly counter: bigint;
  readonly first: Uint8Array;
  readonly second: Uint8Array;
}

const EPHEMERAL_BYTES = 32;

export class Wiretap {
  /** What the guest has sent under session keys, in order. */
  readonly data: DataDatagram[] = [];
  /** The ephemeral keys that the guest has drawn, by the message that showed them. */
  readonly ephemerals: { readonly kind: 'initiation' | 'response'; readonly key: string }[] = [];
  /** The guest's ephemeral, by the index that its peer has chosen for the session. */
  readonly #sessions: Map<number, string>;
  /** The guest's ephemeral, by the index that it chose itself in an initiation. */
  readonly #initiations: Map<number, string>;
  /** All ephemerals of the guest. */
  readonly #begun: Set<string>;

  /** A clone's tap goes on from that of the machine it was made of. */
  constructor(origin?: Wiretap) {
    this.#sessions = new Map(origin ? origin.#sessions : []);
    this.#initiations = new Map(origin ? origin.#initiations : []);
    this.#begun = new Set(origin ? origin.#begun : []);
  }

  /** Reads what has passed over a cable. */
  read(log: readonly LinkDatagram[]): this {
    for (const datagram of log) {
      if (datagram.from === 'guest') this.#fromGuest(datagram);
      else this.#fromHost(datagram.payload);
    }
    return this;
  }

  /** Whether a session was there, or its handshake under way, in what has been read so far. */
  knows(session: string): boolean {
    return this.#begun.has(session.slice(0, session.indexOf('/')));
  }

  #fromGuest({ payload, at }: LinkDatagram): void {
    switch (messageType(payload)) {
      case HANDSHAKE_INITIATION: {
        const key = hexAt(payload, INITIATION.ephemeral);
        this.#initiations.set(readU32(payload, INITIATION.sender), key);
        this.#begun.add(key);
        this.ephemerals.push({ kind: 'initiation', key });
        break;
      }
      case HANDSHAKE_RESPONSE: {
        const key = hexAt(payload, RESPONSE.ephemeral);
        this.#sessions.set(readU32(payload, RESPONSE.receiver), key);
        this.#begun.add(key);
        this.ephemerals.push({ kind: 'response', key });
        break;
      }
      case TRANSPORT_DATA: {
        const index = readU32(payload, TRANSPORT.receiver);
        const session = `${this.#sessions.get(index) ?? 'unknown'}/${index}`;
        const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
        const counter = view.getBigUint64(TRANSPORT.counter, true);
        this.data.push({ session, counter, at, bytes: payload });
        break;
      }
    }
  }

  #fromHost(payload: Uint8Array): void {
    if (messageType(payload) !== HANDSHAKE_RESPONSE) return;
    const ephemeral = this.#initiations.get(readU32(payload, RESPONSE.receiver));
    if (ephemeral) this.#sessions.set(readU32(payload, RESPONSE.sender), ephemeral);
  }
}

/** Every key and nonce under which more than one datagram was seen, each once, and the first two of them. */
export function findReuse(taps: readonly Wiretap[]): NonceReuse[] {
  const seen = new Map<string, Uint8Array>();
  const reuses = new Map<string, NonceReuse>();
  for (const { session, counter, bytes } of taps.flatMap(tap => tap.data)) {
    const name = `${session}/${counter}`;
    const first = seen.get(name);
    if (!first) seen.set(name, bytes);
    else if (!reuses.has(name) && Buffer.compare(first, bytes) !== 0) {
      reuses.set(name, { session, counter, first, second: bytes });
    }
  }
  return [...reuses.values()];
}

/** Ephemeral keys that more than one machine has used, in messages that are not the same handshake message. */
export function findRepeatedEphemerals(taps: readonly Wiretap[]): string[] {
  const seen = new Map<string, number>();
  for (const tap of taps) {
    for (const key of new Set(tap.ephemerals.map(({ key }) => key))) seen.set(key, (seen.get(key) ?? 0) + 1);
  }
  return [...seen].filter(([, times]) => times > 1).map(([key]) => key);
}

/** The plaintext of the second datagram, from both ciphertexts and the first one's plaintext: the keystream cancels out. */
export function recoverPlaintext({ first, second }: NonceReuse, known: Uint8Array): Uint8Array {
  return known.map((byte, i) => byte ^ first[TRANSPORT.packet + i] ^ second[TRANSPORT.packet + i]);
}

function hexAt(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.subarray(at, at + EPHEMERAL_BYTES)).toString('hex');
}
