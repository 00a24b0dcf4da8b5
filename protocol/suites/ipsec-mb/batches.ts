// Sealers and openers over an engine: they check what they are given, and judge what has come of it.
// Promises: a message that was not sealed is zeroed, and its own user's next `settle` throws; tags are compared in constant
// time, and what is not authentic is told so. Buffers are kept alive until their burst has run.
// Read on: ../../suite.ts (Sealer, Opener); engine.ts.

import { type Memory, addressOf, bytesOf } from '../../../native/room.js';
import { BATCH_CAPACITY } from '../../batches.js';
import { readU32 } from '../../messages.js';
import { type Opener, type Sealer, TAG_BYTES } from '../../suite.js';
import type { ArrayAddresses, MemoryAddresses } from '../addresses.js';
import { expectCounter, expectKey, expectRange, expectTag } from '../lengths.js';
import type { Engine, Owner } from './engine.js';

const NO_AAD = new Uint8Array(0);
const TAG_WORDS = TAG_BYTES / 4;

/** Where arrays lie: buffers that are used again and again, and whatever else. */
export interface Addresses {
  readonly buffers: ArrayAddresses;
  readonly memory: MemoryAddresses;
}

/** Messages in the engine, by their place. */
class Batch {
  readonly buffers: Uint8Array[] = Array.from({ length: BATCH_CAPACITY }, () => NO_AAD);
  readonly offsets = new Uint32Array(BATCH_CAPACITY);
  readonly lengths = new Uint32Array(BATCH_CAPACITY);
  /** The last one is kept alive: there is at most one message that has any, sealed or opened by itself. */
  aad: Uint8Array = NO_AAD;
  size = 0;
  /** Why messages since the last `settle` were not done. Whoever made them run may be somebody else, or just be erasing. */
  failure: Error | undefined;

  put(buffer: Uint8Array, offset: number, length: number): void {
    const place = this.size++;
    this.buffers[place] = buffer;
    this.offsets[place] = offset;
    this.lengths[place] = length;
  }

  /** Tells of a failure, once. */
  throwFailure(): void {
    const { failure } = this;
    this.failure = undefined;
    if (failure) throw failure;
  }
}

export class BurstSealer implements Sealer, Owner {
  readonly #engine: Engine;
  readonly #addresses: Addresses;
  readonly #batch = new Batch();

  constructor(engine: Engine, addresses: Addresses) {
    this.#engine = engine;
    this.#addresses = addresses;
  }

  seal(
    key: Uint8Array,
    low: number,
    high: number,
    memory: Memory,
    offset: number,
    length: number,
    aad: Uint8Array = NO_AAD,
  ): void {
    const buffer = bytesOf(memory);
    expectKey(key);
    expectRange(buffer, offset, length, TAG_BYTES);
    expectCounter(low, high);
    const engine = this.#engine;
    engine.claim(this);
    if (engine.isFull) this.run();
    const at = (addressOf(memory) || this.#addresses.buffers.of(buffer)) + offset;
    const batch = this.#batch;
    batch.put(buffer, offset, length);
    batch.aad = aad;
    const aadAt = aad.length === 0 ? 0 : this.#addresses.memory.of(aad);
    engine.add(key, low, high, at, length, at + length, aadAt, aad.length);
  }

  settle(): void {
    this.run();
    this.#batch.throwFailure();
  }

  run(): void {
    const batch = this.#batch;
    if (batch.size === 0) return;
    try {
      this.#engine.run();
    } catch (error) {
      zero(batch);
      batch.failure ??= error as Error;
    }
    batch.size = 0;
  }
}

/** What lies there may be plaintext still, or have no tag. */
function zero({ buffers, offsets, lengths, size }: Batch): void {
  for (let i = 0; i < size; i++) buffers[i].fill(0, offsets[i], offsets[i] + lengths[i] + TAG_BYTES);
}

export class BurstOpener implements Opener, Owner {
  readonly capacity = BATCH_CAPACITY;
  readonly #engine: Engine;
  readonly #addresses: Addresses;
  readonly #batch = new Batch();
  readonly #opened = new Uint8Array(BATCH_CAPACITY);
  /** Messages since the last `settle`. Those in front of the batch were run when somebody else needed the engine. */
  #count = 0;
  #isSettled = false;

  constructor(engine: Engine, addresses: Addresses) {
    this.#engine = engine;
    this.#addresses = addresses;
  }

  open(
    key: Uint8Array,
    low: number,
    high: number,
    memory: Memory,
    offset: number,
    length: number,
    aad: Uint8Array = NO_AAD,
  ): number {
    const buffer = bytesOf(memory);
    expectKey(key);
    expectTag(length);
    expectRange(buffer, offset, length, 0);
    expectCounter(low, high);
    const engine = this.#engine;
    engine.claim(this);
    if (this.#isSettled) {
      this.#isSettled = false;
      this.#count = 0;
    }
    const at = (addressOf(memory) || this.#addresses.memory.of(buffer)) + offset;
    const batch = this.#batch;
    const plain = length - TAG_BYTES;
    const aadAt = aad.length === 0 ? 0 : this.#addresses.memory.of(aad);
    batch.put(buffer, offset, plain);
    batch.aad = aad;
    engine.add(key, low, high, at, plain, 0, aadAt, aad.length);
    return this.#count++;
  }

  settle(): void {
    this.run();
    this.#isSettled = true;
    this.#batch.throwFailure();
  }

  run(): void {
    const { size, buffers, offsets, lengths } = this.#batch;
    if (size === 0) return;
    this.#batch.size = 0;
    const opened = this.#opened;
    const first = this.#count - size;
    opened.fill(0, first, this.#count);
    try {
      this.#engine.run();
    } catch (error) {
      this.#batch.failure ??= error as Error;
      return;
    }
    const { tags } = this.#engine;
    for (let i = 0; i < size; i++) {
      opened[first + i] = Number(equalTags(tags, i * TAG_WORDS, buffers[i], offsets[i] + lengths[i]));
    }
  }

  isOpened(place: number): boolean {
    return this.#opened[place] === 1;
  }
}

/** In a time that does not tell where they differ. Word by word takes a third of the time that bytes take. */
function equalTags(words: Uint32Array, first: number, bytes: Uint8Array, at: number): boolean {
  let difference = 0;
  for (let i = 0; i < TAG_WORDS; i++) difference |= words[first + i] ^ readU32(bytes, at + 4 * i);
  return difference === 0;
}
