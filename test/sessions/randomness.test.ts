// A generator that fails: no handshake is made of nothing, and all goes on when it works again.

import { expect, it } from 'vitest';
import type { Randomness } from '../../crng/randomness.js';
import { Pair, payloadOf } from '../support/pair.js';

function failing(seed: number) {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state;
  };
  const fail = (at: typeof generator.broken) => {
    if (generator.broken === at) throw new Error('no entropy today');
  };
  const generator: Randomness & { broken: 'fill' | 'uint32' | undefined } = {
    broken: undefined,
    fill: into => {
      fail('fill');
      for (let i = 0; i < into.length; i++) into[i] = next() >>> 24;
    },
    uint32: () => {
      fail('uint32');
      return next();
    },
    below: bound => next() % bound,
    isFresh: () => true,
  };
  return generator;
}

it.each(['fill', 'uint32'] as const)('an initiator waits for its generator: %s fails', broken => {
  const crng = failing(1);
  const pair = new Pair({ a: { device: { crng } } });
  crng.broken = broken;
  expect(pair.send(pair.a, 'later')).toBe('waitingForFreshness');
  pair.advance(100);
  expect(pair.a.types).toEqual([]);
  crng.broken = undefined;
  pair.advance(10);
  expect(pair.a.types).toEqual([1]);
  pair.settle();
  expect(pair.b.received.map(payloadOf)).toEqual(['later']);
});

it.each(['fill', 'uint32'] as const)(
  'a responder keeps the initiation until its generator works: %s fails',
  broken => {
    const crng = failing(2);
    const pair = new Pair({ b: { device: { crng } } });
    pair.send(pair.a, 'patience');
    crng.broken = broken;
    expect(pair.b.receive(pair.a.take()[0])).toBe('handshake');
    pair.advance(100);
    expect(pair.b.types).toEqual([]);
    crng.broken = undefined;
    pair.advance(10);
    expect(pair.b.types).toEqual([2]);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['patience']);
  },
);

it('under load nobody gets a cookie of zeros', () => {
  const crng = failing(3);
  const pair = new Pair({ b: { device: { crng, underLoadThreshold: 0 } } });
  pair.send(pair.a);
  const [initiation] = pair.a.take();
  crng.broken = 'fill';
  expect(pair.b.receive(initiation)).toEqual({ drop: 'underLoad' });
  expect(pair.b.types).toEqual([]);
  crng.broken = undefined;
  expect(pair.b.receive(initiation)).toEqual({ drop: 'underLoad' });
  expect(pair.b.types).toEqual([3]);
  // The secret is there, but not the nonce.
  pair.b.take();
  crng.broken = 'fill';
  expect(pair.b.receive(initiation)).toEqual({ drop: 'underLoad' });
  expect(pair.b.types).toEqual([]);
});
