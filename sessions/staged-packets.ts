// Packets that wait for a keypair: one short queue per peer.
// Promises: first in, first out; at most 128, the oldest dropped first; a copy of its own of each packet, zeroed as soon
// as it is done with; no memory for a peer that has nothing staged.
// Read on: WireGuard paper 6.4; Linux drivers/net/wireguard/device.c wg_xmit(), MAX_STAGED_PACKETS.

import { copySecret } from '../native/secret-bytes.js';

/** Packets staged per peer. Linux messages.h MAX_STAGED_PACKETS. */
export const MAX_STAGED_PACKETS = 128;

export class StagedPackets {
  #packets: Uint8Array[] | undefined;
  #draining = false;
  /** How many at the head the drain that is under way has yet to take. */
  #due = 0;

  get length(): number {
    return this.#packets?.length ?? 0;
  }

  /** Copies `packet` to the end of the queue. True when the oldest was dropped to make room. */
  stage(packet: Uint8Array): boolean {
    this.#packets ??= [];
    const full = this.#packets.length >= MAX_STAGED_PACKETS;
    if (full) {
      this.#packets.shift()?.fill(0);
      if (this.#due > 0) this.#due--;
    }
    // Not `slice`: that of a Node Buffer shares its memory.
    this.#packets.push(copySecret(packet));
    return full;
  }

  /**
   * Takes out, oldest first, the packets that are staged now, and hands each to `callback`; its bytes are zeroed when
   * that returns. The callback may call anything here: what it stages waits for the next drain, `clear` ends this one,
   * a drain inside a drain does nothing. If it throws, its packet is gone and those behind it stay staged.
   */
  drain(callback: (packet: Uint8Array) => void): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#due = this.length;
    try {
      while (this.#due > 0) {
        this.#due--;
        const packet = this.#packets?.shift() as Uint8Array;
        try {
          callback(packet);
        } finally {
          packet.fill(0);
        }
      }
    } finally {
      this.#draining = false;
      this.#due = 0;
      if (this.length === 0) this.#packets = undefined;
    }
  }

  /** Drops everything and zeroes it: it is plaintext. */
  clear(): void {
    for (const packet of this.#packets ?? []) packet.fill(0);
    this.#packets = undefined;
    this.#due = 0;
  }
}
