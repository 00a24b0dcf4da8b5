// Bursts of ChaCha20-Poly1305 jobs: written into the library's own ring, and run by one call.
// Promises: a key is copied when its job is added, and the copy erased when the burst has run, before anything else can
// happen; no two users' jobs mix. Nothing is allocated for a message.
// Read on: library.ts (the layouts); batches.ts (its users); docs/performance.md (what it brings).

import type { Koffi } from '../../../native/koffi.js';
import { NativeMemory } from '../../../native/native-memory.js';
import { BATCH_CAPACITY } from '../../batches.js';
import { ProtocolError } from '../../errors.js';
import { KEY_BYTES, TAG_BYTES } from '../../suite.js';
import {
  CIPHER_CHACHA20_POLY1305,
  DIRECTION_DECRYPT,
  DIRECTION_ENCRYPT,
  HASH_CHACHA20_POLY1305,
  type IpsecMb,
  JOB,
  JOB_USED_BYTES,
  MGR_ALIGNMENT,
  MGR_ERROR,
  ORDER_CIPHER_HASH,
  ORDER_HASH_CIPHER,
} from './library.js';

const WORD = 4;
const HIGH = 2 ** 32;
const POINTER_BYTES = 8;
const NONCE_BYTES = 12;
/** Room for a nonce: its first four bytes stay zero. */
const NONCE_WORDS = 4;
/** Jobs in a ring, and at a time when all of them are made ready (IMB_MAX_JOBS, IMB_MAX_BURST_SIZE). */
const RING = 256;
const RING_BURST = 128;

/** Whose jobs are in the engine. */
export interface Owner {
  /** Has them run, if there are any. Does not throw: the user hears of a failure, not who came upon it. */
  run(): void;
}

/** One direction. Its users take turns: see `claim`. */
export class Engine {
  readonly #koffi: Koffi;
  readonly #library: IpsecMb;
  readonly #manager: NativeMemory;
  readonly #getNext: (...values: number[]) => number;
  readonly #submit: (...values: number[]) => number;
  /** Pointers to the jobs that come next, as the library has told them. */
  readonly #pointers: NativeMemory;
  readonly #managerLow: number;
  readonly #keys: NativeMemory;
  readonly #nonces: NativeMemory;
  /** Of what is opened: the tags that the messages should have. */
  readonly #tags: NativeMemory;
  #owner: Owner | undefined;
  #size = 0;

  /** Throws `ERR_IPSEC_MB` where the library does not do what it says. */
  constructor(koffi: Koffi, library: IpsecMb, isSealing: boolean) {
    this.#koffi = koffi;
    this.#library = library;
    this.#manager = new NativeMemory(koffi, library.managerBytes, MGR_ALIGNMENT);
    library.init(this.#manager.address);
    const { getNext, submit } = library.bursts(this.#manager.view);
    this.#getNext = getNext;
    this.#submit = submit;
    this.#managerLow = this.#manager.address % HIGH;
    this.#pointers = new NativeMemory(koffi, RING_BURST * POINTER_BYTES);
    this.#keys = new NativeMemory(koffi, BATCH_CAPACITY * KEY_BYTES);
    this.#nonces = new NativeMemory(koffi, BATCH_CAPACITY * NONCE_WORDS * WORD);
    this.#tags = new NativeMemory(koffi, BATCH_CAPACITY * TAG_BYTES);
    this.#prepareRing(isSealing);
  }

  get isFull(): boolean {
    return this.#size === BATCH_CAPACITY;
  }

  /** The engine is `owner`'s from here on, and empty unless it was so before: what others have in it is run first. */
  claim(owner: Owner): void {
    if (this.#owner === owner) return;
    this.#owner?.run();
    this.#owner = owner;
  }

  /** Runs what is in it, whoever's it is: then no key is in it. */
  settle(): void {
    this.#owner?.run();
  }

  /**
   * Adds a job, which must not find the engine full: `length` bytes at an address, in place. The tag is written to
   * `tagAddress`; 0: to `tags` at the job's place, to be compared.
   */
  add(
    key: Uint8Array,
    low: number,
    high: number,
    address: number,
    length: number,
    tagAddress: number,
    aadAddress: number,
    aadLength: number,
  ): void {
    const place = this.#size++;
    this.#keys.bytes.set(key, place * KEY_BYTES);
    const nonce = place * NONCE_WORDS;
    this.#nonces.u32[nonce + 1] = low;
    this.#nonces.u32[nonce + 2] = high;
    const keyAddress = this.#keys.address + place * KEY_BYTES;
    const job = this.#jobAt(place);
    const manager = this.#manager;
    manager.setU64(job + JOB.encryptionKey, keyAddress);
    manager.setU64(job + JOB.decryptionKey, keyAddress);
    manager.setU64(job + JOB.source, address);
    manager.setU64(job + JOB.destination, address);
    manager.setU64(job + JOB.cipherLength, length);
    manager.setU64(job + JOB.hashLength, length);
    manager.setU64(job + JOB.nonce, this.#nonces.address + nonce * WORD);
    manager.setU64(job + JOB.tag, tagAddress === 0 ? this.#tags.address + place * TAG_BYTES : tagAddress);
    manager.setU64(job + JOB.aad, aadAddress);
    manager.setU64(job + JOB.aadLength, aadLength);
  }

  /** Tags of the last burst, four words at each place. */
  get tags(): Uint32Array {
    return this.#tags.u32;
  }

  /** Runs all jobs and erases their keys. Throws `ERR_IPSEC_MB`: then some may not have been done. */
  run(): void {
    const count = this.#size;
    const done = this.#submit(this.#manager.address, count, this.#pointers.address);
    this.#keys.bytes.fill(0, 0, count * KEY_BYTES);
    this.#size = 0;
    const refusal = done === count ? undefined : this.#refusal();
    // Then too: the library has written over a pointer, to tell which job it did not like.
    this.#fetch(BATCH_CAPACITY);
    if (refusal) throw refusal;
  }

  /** Where in the manager a job begins. */
  #jobAt(place: number): number {
    return (this.#pointers.u32[2 * place] - this.#managerLow) >>> 0;
  }

  /** Asks for the jobs that come next. All earlier ones are done, so there is room. */
  #fetch(count: number): void {
    if (this.#getNext(this.#manager.address, count, this.#pointers.address) !== count) throw this.#refusal();
  }

  // What is the same in all jobs is written once into each place of the ring. To go all the way round, jobs are run: over
  // bytes that mean nothing, under a key of zeros.
  #prepareRing(isSealing: boolean): void {
    const manager = this.#manager;
    const scratch = new NativeMemory(this.#koffi, KEY_BYTES + NONCE_BYTES + TAG_BYTES);
    for (let round = 0; round < RING / RING_BURST; round++) {
      this.#fetch(RING_BURST);
      for (let place = 0; place < RING_BURST; place++) {
        const job = this.#jobAt(place);
        manager.bytes.fill(0, job, job + JOB_USED_BYTES);
        manager.setU64(job + JOB.keyLength, KEY_BYTES);
        manager.setU64(job + JOB.nonceLength, NONCE_BYTES);
        manager.setU64(job + JOB.tagLength, TAG_BYTES);
        manager.view.setUint32(job + JOB.cipherMode, CIPHER_CHACHA20_POLY1305, true);
        manager.view.setUint32(job + JOB.hashAlgorithm, HASH_CHACHA20_POLY1305, true);
        manager.view.setUint32(job + JOB.direction, isSealing ? DIRECTION_ENCRYPT : DIRECTION_DECRYPT, true);
        manager.view.setUint32(job + JOB.order, isSealing ? ORDER_CIPHER_HASH : ORDER_HASH_CIPHER, true);
        this.#library.setSession?.(manager.address, manager.address + job);
        for (const field of [JOB.encryptionKey, JOB.decryptionKey, JOB.source, JOB.destination] as const)
          manager.setU64(job + field, scratch.address);
        manager.setU64(job + JOB.nonce, scratch.address + KEY_BYTES);
        manager.setU64(job + JOB.tag, scratch.address + KEY_BYTES + NONCE_BYTES);
      }
      if (this.#submit(this.#manager.address, RING_BURST, this.#pointers.address) !== RING_BURST)
        throw this.#refusal();
    }
    this.#fetch(BATCH_CAPACITY);
  }

  #refusal(): ProtocolError {
    const error = this.#manager.view.getInt32(MGR_ERROR, true);
    return new ProtocolError('ERR_IPSEC_MB', `libipsec-mb refused jobs: ${this.#library.describe(error)}`);
  }
}
