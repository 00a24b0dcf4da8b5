import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SessionError } from '../../sessions/errors.js';
import {
  COLLECT_AFTER_MS,
  MAX_SOURCES,
  PACKETS_BURSTABLE,
  PACKETS_PER_SECOND,
  RateLimiter,
} from '../../sessions/rate-limiter.js';

const v4 = (...bytes: number[]) => Uint8Array.from(bytes);
const v6 = (...groups: number[]) =>
  Uint8Array.from(
    Array.from({ length: 8 }, (_, i) => groups[i] ?? 0).flatMap(group => [group >> 8, group & 0xff]),
  );
const numbered = (n: number) => v4(10, n >> 16, (n >> 8) & 0xff, n & 0xff);
const allowed = (limiter: RateLimiter, ip: Uint8Array, now: number, times: number) =>
  Array.from({ length: times }, () => limiter.allow(ip, now)).filter(Boolean).length;

describe('RateLimiter', () => {
  // The steps of the kernel's own self-test: a burst, then one message every 50 ms, then a rest.
  test('allows a burst of 5, then one every 50 ms, and a burst again after 250 ms of rest', () => {
    const limiter = new RateLimiter();
    const source = v4(192, 0, 2, 1);
    expect(allowed(limiter, source, 1000, 9)).toBe(5);
    expect(limiter.allow(source, 1049)).toBe(false);
    expect(limiter.allow(source, 1050)).toBe(true);
    expect(limiter.allow(source, 1050)).toBe(false);
    expect(limiter.allow(source, 1100)).toBe(true);
    expect(limiter.allow(source, 1149)).toBe(false);
    expect(allowed(limiter, source, 1349, 9)).toBe(4);
    expect(allowed(limiter, source, 1599, 9)).toBe(5);
  });

  test('refused messages cost nothing, so a source that hammers still gets its 20 a second', () => {
    const limiter = new RateLimiter();
    const source = v4(192, 0, 2, 1);
    let passed = 0;
    for (let now = 0; now < 10_000; now++) if (limiter.allow(source, now)) passed++;
    expect(passed).toBe(PACKETS_BURSTABLE + 10 * PACKETS_PER_SECOND - 1);
  });

  test('never lets more than burst + rate x time through in any interval, collected or not', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 200 }), waits => {
        const limiter = new RateLimiter();
        const never = new RateLimiter();
        const source = v4(192, 0, 2, 1);
        const passed: number[] = [];
        let now = 0;
        for (const wait of waits) {
          // Short waits are the interesting ones.
          now += wait < 200 ? wait / 10 : wait;
          const answer = limiter.allow(source, now);
          if (answer) passed.push(now);
          limiter.collect(now);
          expect(never.allow(source, now)).toBe(answer);
        }
        for (const [i, from] of passed.entries()) {
          for (let j = i; j < passed.length; j++) {
            const time = passed[j] - from;
            expect(j - i + 1).toBeLessThanOrEqual(
              PACKETS_BURSTABLE + (time * PACKETS_PER_SECOND) / 1000 + 1e-6,
            );
          }
        }
      }),
    );
  });

  test('IPv4 sources are apart by address, IPv6 sources by /64', () => {
    const limiter = new RateLimiter();
    expect(allowed(limiter, v4(192, 0, 2, 1), 0, 9)).toBe(5);
    expect(allowed(limiter, v4(192, 0, 2, 2), 0, 9)).toBe(5);
    expect(allowed(limiter, v6(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1), 0, 9)).toBe(5);
    expect(allowed(limiter, v6(0x2001, 0xdb8, 0, 1, 0xffff, 0, 0, 2), 0, 9)).toBe(0);
    expect(allowed(limiter, v6(0x2001, 0xdb8, 0, 2), 0, 9)).toBe(5);
    // The first four bytes of this one are those of the first IPv4 source.
    expect(allowed(limiter, v6(0xc000, 0x0201), 0, 9)).toBe(5);
    expect(limiter.size).toBe(5);
  });

  test('an IPv4 address mapped into IPv6 counts as itself, not as the one /64 of them all', () => {
    const limiter = new RateLimiter();
    expect(allowed(limiter, v6(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201), 0, 9)).toBe(5);
    expect(allowed(limiter, v4(192, 0, 2, 1), 0, 9)).toBe(0);
    expect(allowed(limiter, v6(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0202), 0, 9)).toBe(5);
  });

  test('collects what was silent for more than a second, by itself too', () => {
    const limiter = new RateLimiter();
    limiter.allow(numbered(1), 0);
    limiter.allow(numbered(2), 500);
    limiter.collect(COLLECT_AFTER_MS);
    expect(limiter.size).toBe(2);
    limiter.collect(COLLECT_AFTER_MS + 1);
    expect(limiter.size).toBe(1);
    limiter.allow(numbered(3), 2 * COLLECT_AFTER_MS + 1);
    expect(limiter.size).toBe(1);
    limiter.clear();
    expect(limiter.size).toBe(0);
    expect(allowed(limiter, numbered(3), 2 * COLLECT_AFTER_MS + 1, 9)).toBe(5);
  });

  test('a full table refuses new sources, serves the known ones, and recovers', () => {
    const limiter = new RateLimiter();
    for (let i = 0; i < MAX_SOURCES; i++) limiter.allow(numbered(i), 0);
    expect(limiter.size).toBe(MAX_SOURCES);
    expect(limiter.allow(v4(192, 0, 2, 1), 1)).toBe(false);
    expect(limiter.allow(v6(0x2001, 0xdb8), 1)).toBe(false);
    expect(limiter.size).toBe(MAX_SOURCES);
    expect(limiter.allow(numbered(5), 1)).toBe(true);
    expect(limiter.allow(v4(192, 0, 2, 1), 1_500)).toBe(true);
    expect(limiter.size).toBe(1);
  });

  test('a clock that goes back earns nothing', () => {
    const limiter = new RateLimiter();
    expect(allowed(limiter, numbered(1), 1_000, 9)).toBe(5);
    expect(limiter.allow(numbered(1), 500)).toBe(false);
    expect(limiter.allow(numbered(1), 549)).toBe(false);
    expect(limiter.allow(numbered(1), 550)).toBe(true);
  });

  test('what is no IP address is refused with ERR_ADDRESS', () => {
    expect(() => new RateLimiter().allow(new Uint8Array(5), 0)).toThrow(SessionError);
    expect(() => new RateLimiter().allow(new Uint8Array(0), 0)).toThrow(
      expect.objectContaining({ code: 'ERR_ADDRESS' }),
    );
  });
});
