import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DeadlineQueue } from '../../sessions/deadline-queue.js';

interface Item {
  readonly id: number;
  deadlineSlot: number;
  scheduledFor: number;
}

const NEVER = Number.POSITIVE_INFINITY;
const item = (id: number): Item => ({ id, deadlineSlot: -1, scheduledFor: NEVER });
const items = (count: number) => Array.from({ length: count }, (_, id) => item(id));

describe('DeadlineQueue', () => {
  test('pops what is due, earliest first, and leaves the rest', () => {
    const queue = new DeadlineQueue<Item>();
    const [a, b, c] = items(3) as [Item, Item, Item];
    queue.schedule(a, 30);
    queue.schedule(b, 10);
    queue.schedule(c, 20);
    expect([queue.size, queue.nextDeadline()]).toEqual([3, 10]);
    expect(queue.popDue(9)).toBeUndefined();
    expect(queue.popDue(20)).toBe(b);
    expect(queue.popDue(20)).toBe(c);
    expect(queue.popDue(20)).toBeUndefined();
    expect([queue.size, queue.nextDeadline()]).toEqual([1, 30]);
    expect(b).toEqual(item(1));
  });

  test('schedule keeps the earlier deadline, reschedule sets the new one', () => {
    const queue = new DeadlineQueue<Item>();
    const [a, b] = items(2) as [Item, Item];
    queue.schedule(a, 10);
    queue.schedule(b, 15);
    queue.schedule(a, 20);
    expect(a.scheduledFor).toBe(10);
    queue.schedule(a, 5);
    expect([a.scheduledFor, queue.nextDeadline()]).toEqual([5, 5]);
    queue.reschedule(a, 20);
    expect([a.scheduledFor, queue.nextDeadline(), queue.size]).toEqual([20, 15, 2]);
    queue.reschedule(a, NEVER);
    expect([a.deadlineSlot, queue.size]).toEqual([-1, 1]);
  });

  test('an empty queue has no deadline; Infinity schedules nothing', () => {
    const queue = new DeadlineQueue<Item>();
    const a = item(0);
    queue.schedule(a, NEVER);
    queue.reschedule(a, NEVER);
    expect([queue.size, queue.nextDeadline(), queue.popDue(NEVER), a.deadlineSlot]).toEqual([
      0,
      NEVER,
      undefined,
      -1,
    ]);
  });

  test('NaN is refused with ERR_OPTION and changes nothing', () => {
    const queue = new DeadlineQueue<Item>();
    const a = item(0);
    const refusal = expect.objectContaining({ code: 'ERR_OPTION' });
    expect(() => queue.schedule(a, Number.NaN)).toThrow(refusal);
    queue.schedule(a, 10);
    expect(() => queue.schedule(a, Number.NaN)).toThrow(refusal);
    expect(() => queue.reschedule(a, Number.NaN)).toThrow(refusal);
    expect([queue.size, queue.nextDeadline(), a.scheduledFor]).toEqual([1, 10, 10]);
  });

  test('an abandoned queue takes its items anew, and one that was not released harms no other', () => {
    const queue = new DeadlineQueue<Item>();
    const all = items(20);
    for (const each of all) queue.schedule(each, 100 + each.id);
    queue.abandon();
    expect([queue.size, queue.nextDeadline(), queue.popDue(NEVER)]).toEqual([0, NEVER, undefined]);
    const [stale, ...others] = all;
    for (const each of others) {
      each.scheduledFor = NEVER;
      queue.schedule(each, 50 - each.id);
    }
    // Earlier than it was: the queue looks where it believes the item to be.
    queue.schedule(stale, 1);
    const popped: Item[] = [];
    for (let next = queue.popDue(NEVER); next; next = queue.popDue(NEVER)) popped.push(next);
    expect(popped).toEqual([stale, ...others.toReversed()]);
    expect(all.map(each => each.deadlineSlot)).toEqual(all.map(() => -1));
  });

  test('remove takes out that item alone, from any place, and only from its own queue', () => {
    const queue = new DeadlineQueue<Item>();
    const other = new DeadlineQueue<Item>();
    const all = items(20);
    for (const each of all) queue.schedule(each, (each.id * 7) % 20);
    const stranger = item(99);
    other.schedule(stranger, 1);
    expect(queue.remove(stranger)).toBe(false);
    expect(queue.remove(item(100))).toBe(false);
    for (const each of all.filter(({ id }) => id % 3 === 0)) expect(queue.remove(each)).toBe(true);
    expect(queue.remove(all[0])).toBe(false);
    const left: number[] = [];
    for (let next = queue.popDue(NEVER); next; next = queue.popDue(NEVER)) left.push((next.id * 7) % 20);
    expect(left).toEqual([...left].sort((x, y) => x - y));
    expect(left).toHaveLength(13);
    expect(other.nextDeadline()).toBe(1);
  });

  test('clear lets every item go, to be scheduled anew', () => {
    const queue = new DeadlineQueue<Item>();
    const all = items(5);
    for (const each of all) queue.schedule(each, each.id);
    queue.clear();
    expect(queue.size).toBe(0);
    expect(all.every(each => each.deadlineSlot === -1 && each.scheduledFor === NEVER)).toBe(true);
    queue.schedule(all[3], 50);
    expect(queue.popDue(50)).toBe(all[3]);
  });

  test('behaves as a sorted array under any script', () => {
    const COUNT = 24;
    const id = fc.integer({ min: 0, max: COUNT - 1 });
    // Few values, so that equal deadlines occur.
    const at = fc.oneof(
      { weight: 9, arbitrary: fc.integer({ min: 0, max: 40 }) },
      { weight: 1, arbitrary: fc.constant(NEVER) },
    );
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ op: fc.constant('schedule' as const), id, at }) },
      { weight: 3, arbitrary: fc.record({ op: fc.constant('reschedule' as const), id, at }) },
      { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), id }) },
      { weight: 2, arbitrary: fc.record({ op: fc.constant('pop' as const), at }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), script => {
        const queue = new DeadlineQueue<Item>();
        const all = items(COUNT);
        const model = new Map<Item, number>();
        const earliest = () => [...model.values()].sort((x, y) => x - y)[0] ?? NEVER;
        for (const command of script) {
          if (command.op === 'pop') {
            const due = earliest();
            const popped = queue.popDue(command.at);
            if (due > command.at || model.size === 0) expect(popped).toBeUndefined();
            // Among equals any may come first.
            else expect(model.get(popped as Item)).toBe(due);
            if (popped) model.delete(popped);
          } else {
            const each = all[command.id];
            if (command.op === 'remove') {
              expect(queue.remove(each)).toBe(model.delete(each));
            } else {
              queue[command.op](each, command.at);
              const kept =
                command.op === 'schedule' ? Math.min(command.at, model.get(each) ?? NEVER) : command.at;
              if (kept === NEVER) model.delete(each);
              else model.set(each, kept);
            }
          }
          expect(queue.size).toBe(model.size);
          expect(queue.nextDeadline()).toBe(earliest());
          for (const each of all) {
            expect(each.scheduledFor).toBe(model.get(each) ?? NEVER);
            expect(each.deadlineSlot >= 0).toBe(model.has(each));
          }
        }
        const rest: number[] = [];
        for (let next = queue.popDue(NEVER); next; next = queue.popDue(NEVER))
          rest.push(model.get(next) as number);
        expect(rest).toEqual([...model.values()].sort((x, y) => x - y));
      }),
      { numRuns: 200 },
    );
  });
});
