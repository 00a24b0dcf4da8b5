// The observer outside all machines: what was ever sealed, under which key and nonce, and what of it left.
// A suite that records stands between the devices and the cipher; the ledger matches what leaves against its records.

import { COOKIE, INITIATION, RESPONSE, TRANSPORT } from '../../protocol/messages.js';
import type { Suite } from '../../protocol/suite.js';
import { deferring } from './deferring.js';

interface Sealed {
  readonly key: string;
  readonly nonce: string;
  /** Plaintext and associated data: what must not differ under one key and nonce. */
  readonly content: string;
}

export interface Reuse {
  readonly kind: 'nonce' | 'ephemeral';
  readonly where: string;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

export class Ledger {
  /** Datagrams that left, by message type. */
  readonly left = { 1: 0, 2: 0, 3: 0, 4: 0 };
  readonly reuses: Reuse[] = [];
  readonly #sealed = new Map<string, Sealed>();
  readonly #contents = new Map<string, string>();
  readonly #transcripts = new Map<string, string>();

  /** A suite that computes with `suite` and records every seal; in batches it does so as late as it may. */
  recording(suite: Suite): Suite {
    const note = (key: Uint8Array, nonce: string, plain: Uint8Array, aad: Uint8Array, sealed: Uint8Array) => {
      this.#sealed.set(hex(sealed), { key: hex(key), nonce, content: `${hex(plain)}|${hex(aad)}` });
    };
    const recorder: Pick<Suite, 'seal' | 'sealX'> = {
      seal: (key, low, high, buffer, offset, length, aad) => {
        const plain = buffer.slice(offset, offset + length);
        suite.seal(key, low, high, buffer, offset, length, aad);
        const sealed = buffer.subarray(offset, offset + length + 16);
        note(key, `${high}:${low}`, plain, aad ?? new Uint8Array(0), sealed);
      },
      sealX: (key, nonce, plaintext, aad) => {
        const sealed = suite.sealX(key, nonce, plaintext, aad);
        note(key, hex(nonce), plaintext, aad, sealed);
        return sealed;
      },
    };
    return deferring(Object.assign(Object.create(suite) as Suite, recorder));
  }

  /** Call with every datagram that leaves a machine. */
  leaves(datagram: Uint8Array): void {
    const type = datagram[0] as 1 | 2 | 3 | 4;
    this.left[type]++;
    for (const [from, to] of sealedParts(type, datagram.length))
      this.#checkNonce(datagram.subarray(from, to));
    if (type === 1) this.#checkEphemeral(datagram, INITIATION.ephemeral, INITIATION.mac1);
    if (type === 2) this.#checkEphemeral(datagram, RESPONSE.ephemeral, RESPONSE.mac1);
  }

  #checkNonce(part: Uint8Array): void {
    const sealed = this.#sealed.get(hex(part));
    if (!sealed) throw new Error('a datagram left that no recorded seal has made');
    const where = `${sealed.key}/${sealed.nonce}`;
    const before = this.#contents.get(where);
    if (before === undefined) this.#contents.set(where, sealed.content);
    else if (before !== sealed.content) this.reuses.push({ kind: 'nonce', where });
  }

  #checkEphemeral(message: Uint8Array, at: number, end: number): void {
    const ephemeral = hex(message.subarray(at, at + 32));
    const transcript = hex(message.subarray(0, end));
    const before = this.#transcripts.get(ephemeral);
    if (before === undefined) this.#transcripts.set(ephemeral, transcript);
    else if (before !== transcript) this.reuses.push({ kind: 'ephemeral', where: ephemeral });
  }
}

function sealedParts(type: number, length: number): [number, number][] {
  switch (type) {
    case 1:
      return [
        [INITIATION.static, INITIATION.timestamp],
        [INITIATION.timestamp, INITIATION.mac1],
      ];
    case 2:
      return [[RESPONSE.empty, RESPONSE.mac1]];
    case 3:
      return [[COOKIE.cookie, length]];
    default:
      return [[TRANSPORT.packet, length]];
  }
}
