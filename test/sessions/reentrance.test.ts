// Whoever is told of something may call the device again, from the middle of what it does.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { deferring } from '../support/deferring.js';
import { type Datagram, Pair, heard, sealed } from '../support/pair.js';
import { nativeSuites } from '../support/suites.js';

const SUITES = [
  ['one by one', nobleSuite],
  ['in batches', deferring(nobleSuite)],
  ...nativeSuites.map(suite => [`by ${suite.name}`, suite] as const),
] as const;
const POLICIES = ['wipe', 'expire-sending', 'hold'] as const;

const sum = (drops: Readonly<Record<string, number>>) => Object.values(drops).reduce((a, b) => a + b);

describe.each(SUITES)('opening %s', (_, suite) => {
  describe.each(POLICIES)('a datagram that brings a fork to notice, policy %s', forkPolicy => {
    it.each(['receives another', 'gathers another', 'ends a batch'] as const)(
      'is answered for, though who is told of the fork %s',
      action => {
        const act = (second: Datagram) => {
          const { device } = pair.b;
          if (action === 'receives another') device.receiveDatagram(second.bytes.slice(), second.from);
          else if (action === 'gathers another') device.gatherDatagram(second.bytes.slice(), second.from);
          else {
            device.cork();
            device.uncork();
          }
        };
        const pair: Pair = new Pair({
          suite,
          b: { device: { forkPolicy, onEvent: ({ type }) => type === 'vmFork' && act(second) } },
        }).connect();
        const [first, second] = sealed(pair, '1', '2');
        pair.b.source.fork(new Uint8Array(16).fill(9));
        const answer = pair.b.device.receiveDatagram(first.bytes.slice(), first.from);
        const drop = { wipe: 'unknownIndex', 'expire-sending': undefined, hold: 'held' }[forkPolicy];
        expect(answer).toEqual(drop === undefined ? 'data' : { drop });
      },
    );
  });

  // What is in hand has been authenticated, so that a listener is only ever called by the peer or by a fork.
  it('delivers once what was handed in, or counts it, whatever listeners do', () => {
    const action = fc.constantFrom(
      ...(['receive', 'gather', 'batch', 'cork', 'uncork', 'forge', 'timers'] as const),
      ...(['wipe', 'fork', 'remove', 'key', 'no key', 'close', 'throw'] as const),
      ...Array.from({ length: 10 }, () => 'nothing' as const),
    );
    let delivered = 0;
    let refused = 0;
    const play = (
      script: readonly (typeof action extends fc.Arbitrary<infer T> ? T : never)[],
      corks: readonly boolean[],
      forkPolicy: (typeof POLICIES)[number],
    ) => {
      const todo = [...script];
      let isLive = false;
      let hasClosed = false;
      let depth = 0;
      let generation = 9;
      let handedIn = 0;
      const take = (): Datagram | undefined => {
        const next = queue.shift();
        if (next) handedIn++;
        return next;
      };
      const gather = (flip = 0) => {
        const next = take();
        if (!next) return;
        const bytes = next.bytes.slice();
        bytes[20] ^= flip;
        pair.b.device.gatherDatagram(bytes, next.from);
      };
      const receive = () => {
        const next = take();
        if (next) expect(pair.b.device.receiveDatagram(next.bytes.slice(), next.from)).toBeDefined();
      };
      const actions: Record<(typeof script)[number], () => unknown> = {
        receive,
        gather,
        batch: () => {
          pair.b.device.cork();
          try {
            for (let i = 0; i < 3; i++) gather();
          } finally {
            pair.b.device.uncork();
          }
        },
        cork: () => pair.b.device.cork(),
        uncork: () => pair.b.device.uncork(),
        forge: () => gather(1),
        timers: () => pair.b.device.runTimers(),
        wipe: () => pair.b.device.wipe(),
        fork: () => pair.b.source.fork(new Uint8Array(16).fill(++generation)),
        remove: () => pair.b.device.removePeer(pair.a.publicKey),
        key: () => pair.b.device.setPrivateKey(new Uint8Array(32).fill(7)),
        'no key': () => pair.b.device.setPrivateKey(),
        close: () => {
          hasClosed = true;
          pair.b.device.close();
        },
        throw: () => {
          throw new Error('not today');
        },
        nothing: () => {},
      };
      const act = () => {
        if (!isLive || depth > 5) return;
        depth++;
        try {
          actions[todo.shift() ?? 'nothing']();
        } finally {
          depth--;
        }
      };
      const pair: Pair = new Pair({
        suite,
        b: { device: { forkPolicy, onEvent: act }, onPacket: act },
      }).connect();
      const names = Array.from({ length: 80 }, (__, i) => `${i}`);
      const queue = sealed(pair, ...names);
      pair.b.received.length = 0;
      const dropsBefore = sum(pair.b.drops);
      isLive = true;
      const despite = (run: () => void) => {
        try {
          run();
        } catch (error) {
          if ((error as Error).message !== 'not today') throw error;
        }
      };
      let isCorked = false;
      for (const cork of corks) {
        despite(() => {
          if (cork && !isCorked) pair.b.device.cork();
          if (!cork && isCorked) pair.b.device.uncork();
        });
        isCorked = cork;
        despite(gather);
      }
      // As many as listeners may have left.
      for (let i = 0; i <= script.length + 1; i++) despite(() => pair.b.device.uncork());
      isLive = false;
      expect(new Set(heard(pair)).size).toBe(pair.b.received.length);
      expect(names).toEqual(expect.arrayContaining(heard(pair)));
      const { drops, discardedAtRelease } = pair.b.device.stats();
      const dropped = sum(drops) - discardedAtRelease - dropsBefore;
      // Each was sent once, and is what its sender sealed: what would be said of one that was judged by another's tag.
      expect(drops).toMatchObject({
        malformed: 0,
        disallowedSource: 0,
        replayedCounter: 0,
        reusedCounter: 0,
      });
      // A device that was closed hands out nothing more; one whose listener threw goes on.
      if (!hasClosed) expect(pair.b.received.length + dropped).toBe(handedIn);
      delivered += pair.b.received.length;
      refused += dropped;
    };
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 40 }),
        fc.array(fc.boolean(), { maxLength: 80 }),
        fc.constantFrom(...POLICIES),
        play,
      ),
      { numRuns: 150 },
    );
    expect(Math.min(delivered, refused)).toBeGreaterThan(100);
  });
});
