// The stories with a time of their own: a word that comes late, a fork at every look, a crowd of clones.

import { describe, expect, it } from 'vitest';
import { type CrowdState, runCrowd } from '../../demo/crowd.js';
import { runDelayed } from '../../demo/delayed.js';
import { STEPS, forkAtEveryRead } from '../../demo/every-read.js';
import { remembering } from '../../demo/remembering.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { nobleSuite } from '../../protocol/suites/noble.js';

const suite = await fastestSuite();

describe('a word that comes late', () => {
  it('leaves a window as long as it takes, and one packet of each clone in it for every ten milliseconds', () => {
    for (const delayMs of [0, 50, 100]) {
      const { collisions, discarded } = runDelayed(suite, { delayMs, holdBackMs: 0 });
      expect([delayMs, collisions, discarded]).toEqual([delayMs, delayMs / 10, 0]);
    }
  });

  it('does no harm where datagrams are held back longer, at the price of what was held', () => {
    const { collisions, discarded, packets } = runDelayed(suite, { delayMs: 100, holdBackMs: 120 });
    expect(collisions).toBe(0);
    expect(discarded).toBeGreaterThan(10);
    expect(packets.filter(({ key }) => key > 1).length).toBeGreaterThan(5);
    for (const { sealedAt, leftAt } of packets) expect(leftAt - sealedAt).toBe(120);
  });

  it('is answered by both clones at once, and their peer takes the second call for a replay of the first', () => {
    const { packets } = runDelayed(suite, { delayMs: 100, holdBackMs: 0 });
    const keysOf = (clone: 0 | 1) =>
      new Set(packets.flatMap(each => (each.clone === clone ? [each.key] : [])));
    expect([keysOf(0), keysOf(1)]).toEqual([new Set([1, 2]), new Set([1])]);
  });

  it('control: held back for less than the delay, the rest of the window is open', () => {
    const { collisions, packets } = runDelayed(suite, { delayMs: 100, holdBackMs: 60 });
    expect(collisions).toBeGreaterThan(0);
    expect(packets.filter(({ collides }) => collides).length).toBe(2 * collisions);
  });
});

it('a fork at every look does no harm, and does it nearly everywhere to whoever looks away (control)', () => {
  const { reads, forks } = forkAtEveryRead(suite);
  const all = [...forks];
  expect(all.map(({ read }) => read)).toEqual(Array.from({ length: reads }, (_, read) => read));
  expect(reads).toBeGreaterThan(40);
  expect(new Set(all.map(({ step }) => step)).size).toBe(STEPS.length);
  expect(all.filter(({ guarded }) => guarded.collisions > 0)).toEqual([]);
  expect(all.every(({ guarded }) => guarded.handshakes >= 2 && guarded.datagrams > 2)).toBe(true);
  expect(all.some(({ guarded }) => guarded.discarded > 4)).toBe(true);
  // Before there is a session there is nothing to use twice.
  const harmed = all.filter(({ heedless }) => heedless.collisions > 0);
  expect(harmed.length).toBeGreaterThan(reads / 2);
});

describe('a crowd of clones', () => {
  const last = (clones: number, enrols: boolean) => {
    let state: CrowdState | undefined;
    let states = 0;
    for (state of runCrowd(suite, { clones, enrols })) states++;
    expect(states).toBe(clones + 1);
    return state;
  };

  it('that enrols has as many keys and addresses, and each is reached', () => {
    const everybody = Array.from({ length: 12 }, (_, i) => i);
    const state = last(12, true);
    expect(state).toMatchObject({ called: 12, keys: 12, addresses: 12, reached: everybody });
    expect(state).toMatchObject({ underParentKey: 0, isOver: true });
  });

  it('control: with the key of its parent it fights, and the last that called is reached alone', () => {
    expect(last(12, false)).toMatchObject({ keys: 1, addresses: 1, reached: [11], underParentKey: 12 });
  });
});

it('a suite that remembers computes the same, once', () => {
  let computed = 0;
  const quick = remembering({
    ...nobleSuite,
    sharedSecret: (...given) => {
      computed++;
      return nobleSuite.sharedSecret(...given);
    },
  });
  const [mine, theirs] = [new Uint8Array(32).fill(3), new Uint8Array(32).fill(9)];
  const [first, again, plain] = [0, 1, 2].map(() => new Uint8Array(32));
  expect([quick.sharedSecret(mine, theirs, first), quick.sharedSecret(mine, theirs, again)]).toEqual([
    true,
    true,
  ]);
  nobleSuite.sharedSecret(mine, theirs, plain);
  expect([first, again, computed]).toEqual([plain, plain, 1]);
  expect(quick.sharedSecret(mine, new Uint8Array(32), again)).toBe(false);
  expect(again).toEqual(new Uint8Array(32));
});
