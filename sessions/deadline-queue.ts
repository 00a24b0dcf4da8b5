// The deadline queue: which of many peers has a timer due next. An indexed binary min-heap.
// Promises: one entry per item; the earliest deadline in O(1); moves in O(log n); putting a timer off costs O(1).
// Read on: Linux drivers/net/wireguard/timers.c, whose five timers per peer share one entry here.

import { SessionError } from './errors.js';

/** What the queue keeps in each item. An item is in one queue at most. */
export interface Deadlined {
  /** Where the heap has the item; -1 when it is in none. Only the queue writes it. */
  deadlineSlot: number;
  /** The deadline under which it is kept; Infinity when it is in none. Only the queue writes it. */
  scheduledFor: number;
}

export class DeadlineQueue<T extends Deadlined> {
  readonly #heap: T[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /**
   * Sees to it that the item is popped at `at` or before: keeps the earlier of this and the deadline it has, in O(1)
   * when that is the old one. A timer that is put off may thus pop too early; whoever pops looks at what is really due
   * and schedules the rest again. Infinity schedules nothing. Throws `SessionError` (`ERR_OPTION`) for NaN.
   */
  schedule(item: T, at: number): void {
    if (at >= item.scheduledFor) return;
    this.reschedule(item, at);
  }

  /** Sets the item's deadline to exactly `at`, be it earlier or later; Infinity removes it. Throws as `schedule`. */
  reschedule(item: T, at: number): void {
    if (Number.isNaN(at))
      throw new SessionError('ERR_OPTION', 'a deadline is a number of milliseconds, not NaN');
    if (at === Number.POSITIVE_INFINITY) {
      this.remove(item);
      return;
    }
    const known = item.deadlineSlot;
    const slot = known >= 0 && this.#heap[known] === item ? known : this.#heap.length;
    item.scheduledFor = at;
    this.#settle(item, slot);
  }

  /** The earliest deadline, in the milliseconds it was given in; Infinity when there is none. */
  nextDeadline(): number {
    return this.#heap[0]?.scheduledFor ?? Number.POSITIVE_INFINITY;
  }

  /** Takes out the item with the earliest deadline if that is `now` or before; else `undefined`. */
  popDue(now: number): T | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.scheduledFor > now) return undefined;
    this.remove(first);
    return first;
  }

  /** Takes the item out. False when it is not in this queue. */
  remove(item: T): boolean {
    const slot = item.deadlineSlot;
    if (this.#heap[slot] !== item) return false;
    const last = this.#heap.pop() as T;
    if (last !== item) this.#settle(last, slot);
    release(item);
    return true;
  }

  clear(): void {
    for (const item of this.#heap) release(item);
    this.#heap.length = 0;
  }

  /**
   * Empties the queue without a look at its items, for who ends the deadlines of all of them otherwise: `scheduledFor` of
   * each must be Infinity before it is given a deadline again. An old slot does no harm.
   */
  abandon(): void {
    this.#heap.length = 0;
  }

  /** Puts an item where its deadline belongs, beginning at a free slot or its own. */
  #settle(item: T, start: number): void {
    const slot = this.#up(item, start);
    this.#place(item, slot === start ? this.#down(item, start) : slot);
  }

  /** Moves later parents down until `item` may stand at the slot that is returned. */
  #up(item: T, start: number): number {
    let slot = start;
    while (slot > 0) {
      const above = (slot - 1) >> 1;
      const parent = this.#heap[above];
      if (parent.scheduledFor <= item.scheduledFor) break;
      this.#place(parent, slot);
      slot = above;
    }
    return slot;
  }

  /** Moves earlier children up until `item` may stand at the slot that is returned. */
  #down(item: T, start: number): number {
    let slot = start;
    for (;;) {
      let below = 2 * slot + 1;
      const left = this.#heap[below];
      if (left === undefined) return slot;
      const right = this.#heap[below + 1];
      if (right !== undefined && right.scheduledFor < left.scheduledFor) below++;
      const child = this.#heap[below];
      if (child.scheduledFor >= item.scheduledFor) return slot;
      this.#place(child, slot);
      slot = below;
    }
  }

  #place(item: T, slot: number): void {
    this.#heap[slot] = item;
    item.deadlineSlot = slot;
  }
}

/** Makes an item one that is in no queue. */
function release(item: Deadlined): void {
  item.deadlineSlot = -1;
  item.scheduledFor = Number.POSITIVE_INFINITY;
}
