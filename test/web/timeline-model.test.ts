// Where each datagram stands in the picture, and what is said of it.

import { expect, it } from 'vitest';
import type { Seen, Sender } from '../../demo/fork-story.js';
import {
  EMPTY,
  type Timeline,
  describe as say,
  summarise,
  withDatagram,
  withFork,
} from '../../web/demo/timeline-model.js';

const data = (from: Sender, session: number, counter: number, rest: Partial<Seen> = {}): Seen => ({
  from,
  to: undefined,
  kind: 4,
  session,
  counter: BigInt(counter),
  bytes: 80,
  reuse: undefined,
  vanished: false,
  ...rest,
});
const handshake = (from: Sender, kind: 1 | 2, to?: Sender): Seen => ({
  ...data(from, 0, 0),
  kind,
  to,
  session: undefined,
  counter: undefined,
});
const reuse = { receiverIndex: 7, counter: 2n, first: new Uint8Array(1), second: new Uint8Array(2) };
const play = (timeline: Timeline, ...seen: Seen[]) => seen.reduce(withDatagram, timeline);

const talked = play(EMPTY, handshake('machine', 1), handshake('peer', 2, 'machine'), data('machine', 7, 0));

it('an answer stands behind what it answers, and what follows behind the answer', () => {
  expect(talked.marks.map(({ lane, column }) => [lane, column])).toEqual([
    ['machine', 1],
    ['peer', 2],
    ['machine', 3],
  ]);
});

it('what clones send as their n-th after the fork stands in one column, and both are marked when they collide', () => {
  const forked = play(
    withFork(talked),
    data('clone A', 7, 1),
    data('clone A', 7, 2),
    data('clone B', 7, 1),
    data('clone B', 7, 2, { reuse }),
  );
  expect(forked.marks.slice(3).map(({ lane, column, collides }) => [lane, column, collides])).toEqual([
    ['clone A', 4, false],
    ['clone A', 5, true],
    ['clone B', 4, false],
    ['clone B', 5, true],
  ]);
  expect(forked.collisions).toBe(1);
  expect(summarise(forked)).toBe(
    'A machine was cloned: 7 datagrams under 1 key, 1 pair under one key and counter.',
  );
  expect(say(forked.marks[4])).toBe('key 1, counter 2: used twice');
});

it('keys are numbered as they appear; the attacker comes last', () => {
  const forked = play(
    withFork(talked),
    data('clone A', 8, 0),
    data('clone B', 9, 0, { vanished: true }),
    data('attacker', 8, 1),
  );
  expect(forked.marks.slice(3).map(({ key, column }) => [key, column])).toEqual([
    [2, 4],
    [3, 4],
    [2, 5],
  ]);
  expect(say(forked.marks[4])).toBe('key 3, counter 0: did not arrive');
  expect(say(forked.marks[0])).toBe('handshake initiation');
  expect(summarise(forked)).toContain('no key and counter was used twice');
  expect(summarise(talked)).toBe('A machine and its peer: 3 datagrams under 1 key.');
});
