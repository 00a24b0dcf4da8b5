// What the kernel drops of a flood, and what it never drops. By counts of a fair draw: the bounds are ten deviations wide.

import { describe, expect, it } from 'vitest';
import {
  InitiationFilter,
  MAX_INITIATIONS_PER_SECOND,
  WINDOW_MS,
} from '../../../../tunnel/linux/net/initiation-filter.js';
import type { LinuxUdpSocket } from '../../../../tunnel/linux/net/udp.js';
import { libc, socket, to } from '../sockets.js';

const INITIATION = 1;
const RESPONSE = 2;
const COOKIE = 3;
const DATA = 4;
const LENGTHS = [0, 148, 92, 64, 32];
const CHUNK = 100;
const COUNT = 2_000;

function message(type: number, mac2 = 0): Uint8Array {
  const bytes = new Uint8Array(LENGTHS[type]).fill(7);
  bytes.set([type, 0, 0, 0]);
  if (type === INITIATION) bytes.fill(mac2, 132);
  return bytes;
}

describe.each(['127.0.0.1', '::1'])('a filter of initiations, over %s', address => {
  const start = () => {
    const [from, into] = [socket({ offloads: false }), socket()];
    const fd = address === '::1' ? into.fd6 : into.fd4;
    const filter = new InitiationFilter(libc, [into.fd4, into.fd6]);
    filter.adjust(0);
    return { from, into, fd, filter };
  };

  /** As many as arrive of so many. */
  const arrived = (from: LinuxUdpSocket, into: LinuxUdpSocket, fd: number, bytes: Uint8Array): number => {
    const before = into.counters.received;
    for (let sent = 0; sent < COUNT; sent += CHUNK) {
      for (let i = 0; i < CHUNK; i++) from.queue(bytes, to(address, into.port));
      expect(from.flush()).toBe(0);
      while (into.receive(fd, () => {}) > 0);
    }
    return into.counters.received - before;
  };

  /** Has the filter count so many times as many as it lets through. */
  const flood = (filter: InitiationFilter, times: number, from = INITIATION) => {
    const initiations = (times * MAX_INITIATIONS_PER_SECOND * WINDOW_MS) / 1e3;
    for (let i = 0; i < initiations; i++) filter.note(message(from));
  };

  it('is none as long as there is no flood', () => {
    const { from, into, fd, filter } = start();
    flood(filter, 1);
    flood(filter, 100, DATA);
    filter.adjust(WINDOW_MS);
    expect(filter.share).toBe(1);
    expect(filter.deadline).toBe(Number.POSITIVE_INFINITY);
    expect(arrived(from, into, fd, message(INITIATION))).toBe(COUNT);
  });

  it('lets a part of the initiations through, and all that is none or has a mac2', () => {
    const { from, into, fd, filter } = start();
    flood(filter, 10);
    filter.adjust(WINDOW_MS);
    expect(filter.share).toBeCloseTo(0.1);
    const passed = arrived(from, into, fd, message(INITIATION));
    expect(passed).toBeGreaterThan(60);
    expect(passed).toBeLessThan(340);
    for (const bytes of [RESPONSE, COOKIE, DATA].map(type => message(type))) {
      expect(arrived(from, into, fd, bytes)).toBe(COUNT);
    }
    expect(arrived(from, into, fd, message(INITIATION, 9))).toBe(COUNT);
  });

  it('follows the flood: what has passed is a part of what was sent', () => {
    const { filter } = start();
    flood(filter, 10);
    filter.adjust(WINDOW_MS);
    flood(filter, 1);
    filter.adjust(2 * WINDOW_MS);
    expect(filter.share).toBeCloseTo(0.1);
    flood(filter, 0.5);
    filter.adjust(3 * WINDOW_MS);
    expect(filter.share).toBeCloseTo(0.2);
  });

  it('ends with the flood, and says when it wants to be looked after for that', () => {
    const { from, into, fd, filter } = start();
    flood(filter, 10);
    filter.adjust(WINDOW_MS);
    expect(filter.deadline).toBe(2 * WINDOW_MS);
    expect(filter.isWorth).toBe(true);
    filter.adjust(filter.deadline);
    expect(filter.share).toBe(1);
    expect(filter.isWorth).toBe(false);
    expect(arrived(from, into, fd, message(INITIATION))).toBe(COUNT);
  });

  it('where the flood has a mac2 too, spares it no more, and data as ever', () => {
    const { from, into, fd, filter } = start();
    flood(filter, 10);
    filter.adjust(WINDOW_MS);
    flood(filter, 10);
    filter.adjust(2 * WINDOW_MS);
    expect(arrived(from, into, fd, message(INITIATION, 9))).toBeLessThan(COUNT / 4);
    expect(arrived(from, into, fd, message(DATA))).toBe(COUNT);
  });
});
