// A store that lasts as long as its process: for tests, and for a gateway whose peers come anew each time.
// Promises: as every store (../store.ts), but that nothing is kept when the process ends.

import type { AllowedIp } from '../../sessions/allowed-ips.js';
import type { PeerChange, PeerRecord, PeerStore } from '../store.js';
import { AddressTakenError } from '../errors.js';
import { ownRange, ownRecord, rangeId, requireKey, standing, storeClosed } from './record.js';

/** A store that is gone with its process. */
export class MemoryPeerStore implements PeerStore {
  readonly #peers = new Map<string, PeerRecord>();
  readonly #owners = new Map<string, Uint8Array>();
  #standing = 0;
  #closed = false;

  get(publicKey: Uint8Array): PeerRecord | undefined {
    this.#requireOpen();
    requireKey(publicKey);
    const known = this.#peers.get(idOf(publicKey));
    return known && ownRecord(publicKey, known);
  }

  ownerOf(range: AllowedIp): Uint8Array | undefined {
    this.#requireOpen();
    return this.#owners.get(rangeId(ownRange(range)))?.slice();
  }

  async update(publicKey: Uint8Array, change: PeerChange): Promise<PeerRecord | undefined> {
    const known = this.get(publicKey);
    const wanted = change(known);
    if (wanted === known) return known;
    const kept = wanted && ownRecord(publicKey, wanted);
    const id = idOf(publicKey);
    for (const range of kept?.allowedIps ?? []) {
      const owner = this.#owners.get(rangeId(range));
      if (owner && idOf(owner) !== id) throw new AddressTakenError(range, owner);
    }
    for (const range of known?.allowedIps ?? []) this.#owners.delete(rangeId(range));
    for (const range of kept?.allowedIps ?? []) this.#owners.set(rangeId(range), new Uint8Array(publicKey));
    this.#standing += standing(kept) - standing(known);
    if (kept) this.#peers.set(id, kept);
    else this.#peers.delete(id);
    return kept && ownRecord(publicKey, kept);
  }

  async *list(): AsyncGenerator<PeerRecord> {
    for (const record of this.#peers.values()) {
      this.#requireOpen();
      yield ownRecord(record.publicKey, record);
    }
  }

  count(): number {
    this.#requireOpen();
    return this.#standing;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #requireOpen(): void {
    if (this.#closed) throw storeClosed();
  }
}

const idOf = (publicKey: Uint8Array) => publicKey.join('.');
