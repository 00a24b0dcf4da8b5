import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Peer } from '../../sessions/peer.js';
import { Wish, Wishes } from '../../sessions/wishes.js';

const peer = (): Peer => ({ wishes: 0 }) as Peer;

describe('wishes', () => {
  it('are taken in the order of their peers, several for one peer together', () => {
    const wishes = new Wishes();
    const [a, b] = [peer(), peer()];
    wishes.add(a, Wish.flush);
    wishes.add(b, Wish.handshake);
    wishes.add(a, Wish.respond);
    expect(wishes.take()).toBe(a);
    expect(a.wishes).toBe(Wish.flush | Wish.respond);
    expect([wishes.take(), wishes.take(), wishes.isEmpty]).toEqual([b, undefined, true]);
  });

  it('that nobody waits for come after all others, and move up when somebody does', () => {
    const wishes = new Wishes();
    const [a, b, c, d] = [peer(), peer(), peer(), peer()];
    for (const each of [a, b, c]) wishes.addLater(each, Wish.handshake);
    wishes.add(c, Wish.flush);
    wishes.add(d, Wish.flush);
    wishes.addLater(d, Wish.handshake);
    expect([1, 2, 3, 4, 5].map(() => wishes.take())).toEqual([c, d, a, b, undefined]);
    expect([c.wishes, d.wishes]).toEqual([Wish.handshake | Wish.flush, Wish.handshake | Wish.flush]);
    wishes.addLater(a, Wish.handshake);
    expect(wishes.isEmpty).toBe(false);
    wishes.forget(a);
    wishes.addLater(b, Wish.handshake);
    wishes.clear();
    expect([wishes.isEmpty, wishes.take(), a.wishes, b.wishes]).toEqual([true, undefined, 0, 0]);
  });

  it('that nobody waits for come, however many others are wished for meanwhile', () => {
    const wishes = new Wishes();
    const later = Array.from({ length: 5 }, peer);
    for (const each of later) wishes.addLater(each, Wish.handshake);
    const taken: (Peer | undefined)[] = [];
    for (let n = 0; n < 100; n++) {
      wishes.add(peer(), Wish.retry);
      wishes.add(peer(), Wish.retry);
      taken.push(wishes.take());
    }
    expect(taken.filter(each => each && later.includes(each))).toEqual(later);
    // And not before those that are waited for: of the first eight one.
    expect(taken.slice(0, 8).filter(each => each && later.includes(each))).toHaveLength(1);
    expect(taken[0]).not.toBe(later[0]);
    // One in eight as long as there are any.
    const places = later.map(each => taken.indexOf(each));
    expect(places.slice(1).map((place, n) => place - places[n])).toEqual([8, 8, 8, 8]);
  });

  it('are what a plain list of them would be, whatever is added, taken, taken back and cleared', () => {
    const step = fc.oneof(
      fc.record({ add: fc.nat(4), wish: fc.constantFrom(...Object.values(Wish)) }),
      fc.record({ forget: fc.nat(4) }),
      fc.constantFrom('take' as const, 'clear' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const wishes = new Wishes();
        const peers = Array.from({ length: 5 }, peer);
        let model: number[] = [];
        const wished = new Map<number, number>();
        for (const each of steps) {
          if (each === 'take') {
            const taken = wishes.take();
            const expected = model.shift();
            expect(taken).toBe(expected === undefined ? undefined : peers[expected]);
            if (taken && expected !== undefined) {
              expect(taken.wishes).toBe(wished.get(expected));
              taken.wishes = 0;
            }
          } else if (each === 'clear') {
            wishes.clear();
            model = [];
          } else if ('forget' in each) {
            wishes.forget(peers[each.forget]);
            model = model.filter(i => i !== each.forget);
          } else {
            wishes.add(peers[each.add], each.wish);
            if (!model.includes(each.add)) {
              model.push(each.add);
              wished.set(each.add, 0);
            }
            wished.set(each.add, (wished.get(each.add) ?? 0) | each.wish);
          }
          expect(wishes.isEmpty).toBe(model.length === 0);
          peers.forEach((it, i) => expect(it.wishes !== 0).toBe(model.includes(i)));
        }
      }),
    );
  });
});
