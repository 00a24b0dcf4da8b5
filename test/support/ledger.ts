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
  readonly #packets = new Map<string, Set<string>>();

  /**
   * A suite that computes with `suite` and records every seal; in batches it does so as late as it may. `onSealed` hears of
   * each, in hexadecimal.
   */
  recording(suite: Suite, onSealed?: (sealed: string, key: string, plain: Uint8Array) => void): Suite {
    const note = (key: Uint8Array, nonce: string, plain: Uint8Array, aad: Uint8Array, sealed: Uint8Array) => {
      const [sealedHex, keyHex] = [hex(sealed), hex(key)];
      this.#sealed.set(sealedHex, { key: keyHex, nonce, content: `${hex(plain)}|${hex(aad)}` });
      onSealed?.(sealedHex, keyHex, plain);
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

  /** Under how many keys and nonces a packet has left, without its padding. */
  sent(packet: Uint8Array): number {
    return this.#packets.get(hex(packet))?.size ?? 0;
  }

  /** What a recorded seal has made this of, in hexadecimal. */
  plaintextOf(sealed: Uint8Array): string | undefined {
    const content = this.#sealed.get(hex(sealed))?.content;
    return content?.slice(0, content.indexOf('|'));
  }

  /** Call with every datagram that leaves a machine. */
  leaves(datagram: Uint8Array): void {
    const type = datagram[0] as 1 | 2 | 3 | 4;
    this.left[type]++;
    for (const part of sealedParts(datagram)) this.#checkNonce(part);
    if (type === 1) this.#checkEphemeral(datagram, INITIATION.ephemeral, INITIATION.mac1);
    if (type === 2) this.#checkEphemeral(datagram, RESPONSE.ephemeral, RESPONSE.mac1);
  }

  #checkNonce(part: Uint8Array): void {
    const sealed = this.#sealed.get(hex(part));
    if (!sealed) throw new Error('a datagram left that no recorded seal has made');
    const where = `${sealed.key}/${sealed.nonce}`;
    this.#noteSent(sealed.content, where);
    const before = this.#contents.get(where);
    if (before === undefined) this.#contents.set(where, sealed.content);
    else if (before !== sealed.content) this.reuses.push({ kind: 'nonce', where });
  }

  #noteSent(content: string, where: string): void {
    const packet = unpadded(Buffer.from(content.slice(0, content.indexOf('|')), 'hex'));
    const name = hex(packet);
    const known = this.#packets.get(name);
    if (known) known.add(where);
    else this.#packets.set(name, new Set([where]));
  }

  #checkEphemeral(message: Uint8Array, at: number, end: number): void {
    const ephemeral = hex(message.subarray(at, at + 32));
    const transcript = hex(message.subarray(0, end));
    const before = this.#transcripts.get(ephemeral);
    if (before === undefined) this.#transcripts.set(ephemeral, transcript);
    else if (before !== transcript) this.reuses.push({ kind: 'ephemeral', where: ephemeral });
  }
}

/** What of a datagram a seal has made. */
export function sealedParts(datagram: Uint8Array): Uint8Array[] {
  switch (datagram[0]) {
    case 1:
      return [
        datagram.subarray(INITIATION.static, INITIATION.timestamp),
        datagram.subarray(INITIATION.timestamp, INITIATION.mac1),
      ];
    case 2:
      return [datagram.subarray(RESPONSE.empty, RESPONSE.mac1)];
    case 3:
      return [datagram.subarray(COOKIE.cookie)];
    default:
      return [datagram.subarray(TRANSPORT.packet)];
  }
}

/** An IP packet without what was put behind it. */
export function unpadded(plain: Uint8Array): Uint8Array {
  const view = new DataView(plain.buffer, plain.byteOffset, plain.length);
  if (plain.length < 20) return plain;
  return plain.subarray(0, plain[0] >> 4 === 4 ? view.getUint16(2) : 40 + view.getUint16(4));
}
