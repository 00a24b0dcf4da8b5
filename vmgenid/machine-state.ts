// What all threads of a process know about the machine, in one record: its epoch, the readings of its sources, evidence.
// Promises: the record becomes another by one compare-and-set of what it was, or not at all. So an epoch and what is known
// about it are seen together, each reading counts once, and no thread waits for one that is held up or has ended.
// Read on: driver.ts (each thread's driver is a view of it); docs/architecture.md "Two threads, one state".

import { sharedMemory } from '../native/shared-memory.js';
import { VmGenIdError } from './errors.js';
import {
  FIRST_EPOCH,
  GENERATION_WORDS,
  VM_GEN_ID_BYTES,
  generationBytes,
  generationWords,
} from './generation.js';
import type { Announcement } from './source.js';

/** The state as it goes to another thread, by `postMessage` or `workerData`. */
export interface SharedState {
  /** Of the sources, in the order in which they have their places. */
  readonly names: readonly string[];
  /** Over a SharedArrayBuffer where there is such a thing: else this thread alone can use it. */
  readonly words: Int32Array;
}

/** So many drivers at a time. */
const SEATS = 32;
/** Where each writes, by turns: never over the record that holds now. */
const SLOTS = 2 * SEATS;
const SLOT = SLOTS - 1;

// The head says which slot holds the record, and in the bits above counts the changes: none of its values comes twice.
const HEAD = 0;
const VOUCHED = 1;
const SEATS_AT = 2;
const SLOTS_AT = SEATS_AT + SEATS;

const EPOCH = 0;
const SERIAL = 1;
const SOURCE = 2;
const EVIDENCE = 3;
const FORK = 4;
const ID = 5;
const READINGS = ID + GENERATION_WORDS;
/** Whether there is one, and its words. */
const READING_WORDS = 1 + GENERATION_WORDS;

/** Bits of EVIDENCE. */
const HAS_ID = 1;
const HAS_SEED = 2;
const RESEEDED = 4;

/** One record. What was learnt in it is about the last fork, and about no other. */
export class MachineRecord {
  readonly words: Uint32Array;

  constructor(sources: number) {
    this.words = new Uint32Array(recordWords(sources));
  }

  get epoch(): number {
    return this.words[EPOCH];
  }

  /** Grows with every fork and every piece of evidence. */
  get serial(): number {
    return this.words[SERIAL];
  }

  /** The place of the source that showed the fork first. */
  get source(): number {
    return this.words[SOURCE];
  }

  /** The first that was learnt about it. */
  get vmGenId(): Uint8Array | undefined {
    return (this.words[EVIDENCE] & HAS_ID) === 0 ? undefined : generationBytes(this.words.subarray(ID));
  }

  get kernelReseeded(): boolean {
    return (this.words[EVIDENCE] & RESEEDED) !== 0;
  }

  /** The epoch that the last fork began; FIRST_EPOCH before the first. Drills have begun those after it. */
  get forkEpoch(): number {
    return this.words[FORK];
  }

  /** Whether any of it parts this clone from its siblings. */
  get parts(): boolean {
    return this.words[EVIDENCE] !== 0;
  }

  /** A fork. What was learnt about the one before says nothing about this one. */
  raise(source: number): void {
    this.words[EPOCH]++;
    this.words[SERIAL]++;
    this.words[SOURCE] = source;
    this.words[FORK] = this.words[EPOCH];
    this.words[EVIDENCE] = 0;
  }

  /** A drill. There has been no fork: what is known about the last one holds. */
  drill(): void {
    this.words[EPOCH]++;
  }

  /** Evidence. A seed itself is no word, and stays with whoever was given it. */
  learn({ vmGenId, seed, kernelReseeded }: Announcement): void {
    this.words[SERIAL]++;
    if (vmGenId?.length === VM_GEN_ID_BYTES && (this.words[EVIDENCE] & HAS_ID) === 0) {
      generationWords(vmGenId, this.words.subarray(ID));
      this.words[EVIDENCE] |= HAS_ID;
    }
    if (seed) this.words[EVIDENCE] |= HAS_SEED;
    if (kernelReseeded) this.words[EVIDENCE] |= RESEEDED;
  }

  /** What the source at this place showed when it was last counted; undefined when nobody could read it yet. */
  reading(place: number): Uint32Array | undefined {
    const at = READINGS + READING_WORDS * place;
    return this.words[at] === 0 ? undefined : this.words.subarray(at + 1, at + READING_WORDS);
  }

  setReading(place: number, generation: Uint32Array): void {
    const at = READINGS + READING_WORDS * place;
    this.words[at] = 1;
    this.words.set(generation, at + 1);
  }
}

/** A state in its first epoch, with a place for each of these sources. */
export function newState(names: readonly string[]): SharedState {
  const words = new Int32Array(sharedMemory(4 * (SLOTS_AT + SLOTS * recordWords(names.length))));
  words[SLOTS_AT + EPOCH] = FIRST_EPOCH;
  words[SLOTS_AT + FORK] = FIRST_EPOCH;
  return { names, words };
}

const recordWords = (sources: number) => READINGS + READING_WORDS * sources;

/** One driver's view of the state: the record as it last looked, and the way to change it. */
export class MachineState {
  readonly shared: SharedState;
  /** As of the last `refresh` or `change`. */
  record: MachineRecord;
  /** That of the record. */
  epoch = FIRST_EPOCH;
  #draft: MachineRecord;
  readonly #words: Int32Array;
  #head = 0;
  #seat: number;

  /** A view of what `newState` made. Throws `ERR_SHARED_STATE` when all its seats are taken. */
  constructor(shared: SharedState) {
    this.shared = shared;
    this.#words = shared.words;
    this.record = new MachineRecord(shared.names.length);
    this.#draft = new MachineRecord(shared.names.length);
    this.#seat = this.#takeSeat();
    this.refresh();
  }

  /** Whether the record is what it was. One load. */
  get isCurrent(): boolean {
    return Atomics.load(this.#words, HEAD) === this.#head;
  }

  /** Takes the record as it is now. */
  refresh(): void {
    const { words } = this.record;
    let head: number;
    do {
      head = Atomics.load(this.#words, HEAD);
      const at = SLOTS_AT + (head & SLOT) * words.length;
      for (let i = 0; i < words.length; i++) words[i] = Atomics.load(this.#words, at + i);
      // Its writer writes there again only when another record holds.
    } while (Atomics.load(this.#words, HEAD) !== head);
    this.#head = head;
    this.epoch = this.record.epoch;
  }

  /**
   * Changes the record, if it is still as it was at the last look: `edit` is given a copy. Else false, and nothing has
   * happened: what the caller was about to say may be about an older fork than there has been meanwhile.
   */
  change(edit: (draft: MachineRecord) => void): boolean {
    if (this.#seat < 0) return false;
    const draft = this.#draft;
    draft.words.set(this.record.words);
    edit(draft);
    const own = 2 * this.#seat;
    const slot = (this.#head & SLOT) === own ? own + 1 : own;
    const head = ((this.#head & ~SLOT) + SLOTS) | slot;
    // Somebody may still be reading it: he will find that the head has moved on.
    const at = SLOTS_AT + slot * draft.words.length;
    for (let i = 0; i < draft.words.length; i++) Atomics.store(this.#words, at + i, draft.words[i]);
    if (Atomics.compareExchange(this.#words, HEAD, this.#head, head) !== this.#head) return false;
    this.#draft = this.record;
    this.record = draft;
    this.#head = head;
    this.epoch = draft.epoch;
    return true;
  }

  /** Whether the first driver's sources vouch for the generation, for those that have none. Set by that driver alone. */
  get isVouchedFor(): boolean {
    return Atomics.load(this.#words, VOUCHED) === 1;
  }

  set isVouchedFor(isVouchedFor: boolean) {
    Atomics.store(this.#words, VOUCHED, Number(isVouchedFor));
  }

  /** Gives its seat to another driver. From then on it changes nothing. */
  close(): void {
    if (this.#seat >= 0) Atomics.store(this.#words, SEATS_AT + this.#seat, 0);
    this.#seat = -1;
  }

  #takeSeat(): number {
    for (let seat = 0; seat < SEATS; seat++) {
      if (Atomics.compareExchange(this.#words, SEATS_AT + seat, 0, 1) === 0) return seat;
    }
    throw new VmGenIdError('ERR_SHARED_STATE', `${SEATS} drivers share this state already`);
  }
}
