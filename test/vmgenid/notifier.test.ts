// The notifier chain: order, coming and going, failures that stop nobody.

import { describe, expect, it } from 'vitest';
import { NotifierChain, type SubscriberFailure } from '../../vmgenid/notifier.js';

const FORK = { epoch: 2, source: 'test' };

function chain() {
  const failures: SubscriberFailure[] = [];
  return { failures, chain: new NotifierChain(failure => failures.push(failure)) };
}

describe('notifier chain', () => {
  it('runs phases in order, higher priorities first, equals in the order of registration', () => {
    const { chain: c } = chain();
    const told: string[] = [];
    const tell = (name: string) => () => void told.push(name);
    c.register('application', tell('a-max'), { priority: Number.POSITIVE_INFINITY });
    c.register('sessions', tell('s0'));
    c.register('sessions', tell('s0-later'));
    c.register('sessions', tell('s9'), { priority: 9 });
    c.register('randomness', tell('r-min'), { priority: Number.NEGATIVE_INFINITY });
    c.register('randomness', tell('r0'));
    c.register('sessions', tell('s-1'), { priority: -1 });
    c.notify(FORK);
    expect(told).toEqual(['r0', 'r-min', 's9', 's0', 's0-later', 's-1', 'a-max']);
  });

  it('a subscriber registered during a notification hears of the next fork, not of this one', () => {
    const { chain: c } = chain();
    const told: number[] = [];
    let registered = false;
    c.register('randomness', () => {
      if (!registered) c.register('sessions', fork => void told.push(fork.epoch));
      registered = true;
    });
    c.notify(FORK);
    expect(told).toEqual([]);
    c.notify({ ...FORK, epoch: 3 });
    expect(told).toEqual([3]);
  });

  it('one removed during a notification is not called any more; one that removes itself skips nobody', () => {
    const { chain: c } = chain();
    const told: string[] = [];
    const leaveSelf = c.register('sessions', () => {
      told.push('self');
      leaveSelf();
      leaveOther();
    });
    const leaveOther = c.register('sessions', () => void told.push('removed'));
    c.register('sessions', () => void told.push('last'));
    c.notify(FORK);
    expect(told).toEqual(['self', 'last']);
    leaveSelf();
    expect(c.size).toBe(1);
  });

  it('reports throwing and rejecting subscribers by name and phase, and goes on', async () => {
    const { chain: c, failures } = chain();
    const told: string[] = [];
    const boom = new Error('boom');
    c.register('randomness', () => {
      throw boom;
    });
    c.register('sessions', async () => Promise.reject(boom), { name: 'rejecting' });
    // A promise of another library: awaited all the same.
    const foreign = Object.create(
      {},
      { then: { value: (_ok: unknown, bad: (error: Error) => void) => bad(boom) } },
    );
    c.register('sessions', () => foreign as Promise<void>, { name: 'foreign' });
    c.register('application', () => void told.push('reached'));
    c.notify(FORK);
    expect(told).toEqual(['reached']);
    await c.settled();
    expect(failures).toHaveLength(3);
    expect(failures).toEqual(
      expect.arrayContaining([
        { subscriber: 'anonymous', phase: 'randomness', error: boom },
        { subscriber: 'rejecting', phase: 'sessions', error: boom },
        { subscriber: 'foreign', phase: 'sessions', error: boom },
      ]),
    );
  });

  it('settled waits for the asynchronous part of every notification so far', async () => {
    const { chain: c } = chain();
    const gates: (() => void)[] = [];
    c.register('sessions', () => new Promise<void>(resolve => gates.push(resolve)));
    c.notify(FORK);
    c.notify({ ...FORK, epoch: 3 });
    let settled = false;
    const wait = c.settled().then(() => {
      settled = true;
    });
    gates[1]();
    await new Promise(setImmediate);
    expect(settled).toBe(false);
    gates[0]();
    await wait;
    expect(settled).toBe(true);
  });

  it('refuses an order nobody meant: an unknown phase, a priority that is not a number', () => {
    const { chain: c } = chain();
    const refused = expect.objectContaining({ code: 'ERR_SUBSCRIBER' });
    expect(() => c.register('session' as 'sessions', () => {})).toThrow(refused);
    expect(() => c.register('sessions', () => {}, { priority: Number.NaN })).toThrow(refused);
    expect(c.size).toBe(0);
  });
});
