// Two machines, of which one is forked; time stands still between two steps.

import type { Suite } from '../protocol/suite.js';
import { VM_GEN_ID_BYTES } from '../vmgenid/generation.js';
import { MemorySource } from '../vmgenid/sources/memory.js';
import { Pair, innerPacket } from './machine.js';

/** Above REKEY_TIMEOUT. Milliseconds. */
const STEP_MS = 6_000;
const PACKET_BYTES = 1_420;

export class ForkedPair {
  readonly #source = new MemorySource();
  readonly #pair: Pair;
  readonly #packet = innerPacket(PACKET_BYTES);
  #nowMs = 0;
  #forks = 0;

  constructor(suite: Suite) {
    const clock = { now: () => this.#nowMs, wallClock: () => 1_700_000_000_000 + this.#nowMs };
    this.#pair = new Pair(suite, { clock }, { source: this.#source });
  }

  /** A packet from the left to the right. Throws when it does not arrive. */
  send(): void {
    const { delivered } = this.#pair;
    this.#pair.left.device.sendPacket(this.#packet);
    this.#pair.pump();
    if (this.#pair.delivered === delivered) throw new Error('the packet did not arrive');
  }

  /** From the changed generation to a packet under new keys: the next look finds it, which is a daemon's before its next packet. */
  fork(): void {
    const id = new Uint8Array(VM_GEN_ID_BYTES);
    new DataView(id.buffer).setUint32(0, ++this.#forks);
    this.#source.fork(id);
    this.send();
  }

  handshake(): void {
    this.#pair.handshake();
  }

  /** So much time passes that the next handshake may begin. */
  step(): void {
    this.#nowMs += STEP_MS;
  }

  close(): Promise<void> {
    return this.#pair.close();
  }
}
