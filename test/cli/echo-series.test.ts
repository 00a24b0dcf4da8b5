// What counts as an answer to an echo request, and what ping makes of the times.

import { describe, expect, test } from 'vitest';
import { EchoSeries } from '../../cli/echo-series.js';
import { type Echo, parseIcmp } from '../../cli/icmp.js';
import { milliseconds, statisticsLines } from '../../cli/ping-text.js';
import type { Randomness } from '../../crng/randomness.js';
import { address, replyTo } from '../support/echo-peer.js';

let next = 0;
const randomness: Randomness = {
  fill: into => into.forEach((_, i) => (into[i] = next++ & 0xff)),
  uint32: () => next++,
  below: bound => next++ % bound,
  isFresh: () => true,
};

function series() {
  const [source, destination] = [address('10.0.0.2'), address('10.0.0.1')];
  return new EchoSeries({ source, destination, size: 8, randomness });
}

const request = (packet: Uint8Array) => parseIcmp(packet) as Echo;

describe('EchoSeries', () => {
  test('times are those of the first answers', () => {
    const echoes = series();
    const sent = [0, 100, 200, 300].map(now => request(echoes.next(now).packet));
    expect(sent.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    expect(new Set(sent.map(({ id }) => id)).size).toBe(1);
    expect(new Set(sent.map(({ payload }) => payload.join())).size).toBe(4);
    expect(echoes.receive(replyTo(sent[0]), 1)).toMatchObject({ type: 'reply', timeMs: 1, duplicate: false });
    expect(echoes.receive(replyTo(sent[2]), 203)).toMatchObject({ sequence: 3, timeMs: 3 });
    expect(echoes.receive(replyTo(sent[0]), 250)).toMatchObject({ duplicate: true });
    expect(echoes.receive(replyTo(sent[1]), 105)).toMatchObject({ sequence: 2, timeMs: 5 });
    expect(echoes).toMatchObject({ transmitted: 4, received: 3, duplicates: 1, pending: 1, lossPercent: 25 });
    const { min, avg, max, mdev } = echoes.roundTrips as NonNullable<typeof echoes.roundTrips>;
    expect([min, avg, max]).toEqual([1, 3, 5]);
    expect(mdev).toBeCloseTo(Math.sqrt(8 / 3), 9);
    expect(statisticsLines('10.0.0.1', echoes, 301.4)).toEqual([
      '',
      '--- 10.0.0.1 ping statistics ---',
      '4 packets transmitted, 3 received, +1 duplicates, 25% packet loss, time 301ms',
      'rtt min/avg/max/mdev = 1.000/3.000/5.000/1.633 ms',
    ]);
  });

  test('what is not an answer to one of our requests is none', () => {
    const echoes = series();
    const { packet } = echoes.next(0);
    const sent = request(packet);
    expect(echoes.receive(packet, 1)).toBeUndefined();
    expect(echoes.receive(replyTo(sent, { id: sent.id ^ 1 }), 1)).toBeUndefined();
    expect(echoes.receive(replyTo(sent, { sequence: 2 }), 1)).toBeUndefined();
    expect(echoes.receive(replyTo(sent, { destination: address('10.0.0.9') }), 1)).toBeUndefined();
    expect(echoes.receive(replyTo(sent, { payload: new Uint8Array(8).fill(0xee) }), 1)).toMatchObject({
      type: 'mismatch',
    });
    expect(echoes).toMatchObject({ received: 0, mismatches: 1, pending: 1, roundTrips: undefined });
  });

  test('the sequence number goes round after 65,535', () => {
    const echoes = series();
    for (let n = 1; n <= 65_536; n++) echoes.next(n);
    const { sequence, packet } = echoes.next(65_537);
    expect(sequence).toBe(1);
    expect(echoes.receive(replyTo(request(packet)), 65_540)).toMatchObject({ timeMs: 3 });
  });

  test('a generator that has to wait counts nothing as sent', () => {
    const [source, destination] = [address('10.0.0.2'), address('10.0.0.1')];
    const refusing = {
      ...randomness,
      fill: () => {
        throw new Error('not fresh');
      },
    };
    const echoes = new EchoSeries({ source, destination, size: 8, randomness: refusing });
    expect(() => echoes.next(0)).toThrow('not fresh');
    expect(echoes).toMatchObject({ transmitted: 0, pending: 0, lossPercent: 0 });
  });

  test.each([
    [0.0421, '0.042'],
    [1.2345, '1.23'],
    [12.345, '12.3'],
    [123.45, '123'],
  ])('%d ms is written as %s', (ms, text) => {
    expect(milliseconds(ms)).toBe(text);
  });
});
