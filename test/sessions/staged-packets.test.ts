import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { MAX_STAGED_PACKETS, StagedPackets } from '../../sessions/staged-packets.js';

const numbered = (n: number) => Uint8Array.of(n >> 8, n & 0xff);
const numberOf = (packet: Uint8Array) => (packet[0] << 8) | packet[1];

function drained(staged: StagedPackets): number[] {
  const numbers: number[] = [];
  staged.drain(packet => numbers.push(numberOf(packet)));
  return numbers;
}

describe('StagedPackets', () => {
  test('gives packets back in order, once', () => {
    const staged = new StagedPackets();
    for (let i = 0; i < 5; i++) expect(staged.stage(numbered(i))).toBe(false);
    expect(staged.length).toBe(5);
    expect(drained(staged)).toEqual([0, 1, 2, 3, 4]);
    expect(staged.length).toBe(0);
    expect(drained(staged)).toEqual([]);
  });

  test('keeps the newest 128 and says when an older one was dropped', () => {
    const staged = new StagedPackets();
    for (let i = 0; i < 300; i++) expect(staged.stage(numbered(i))).toBe(i >= MAX_STAGED_PACKETS);
    expect(staged.length).toBe(MAX_STAGED_PACKETS);
    expect(drained(staged)).toEqual(Array.from({ length: 128 }, (_, i) => 172 + i));
  });

  test.each([
    ['an array', (bytes: Uint8Array) => bytes],
    ['a view', (bytes: Uint8Array) => new Uint8Array([9, ...bytes, 9]).subarray(1, 3)],
    ['a Node buffer, whose slice shares memory', (bytes: Uint8Array) => Buffer.from(bytes)],
    [
      'shared memory',
      (bytes: Uint8Array) => {
        const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
        shared.set(bytes);
        return shared;
      },
    ],
  ])('copies: the caller may reuse %s', (_, make) => {
    const staged = new StagedPackets();
    const packet = make(numbered(0x1234));
    staged.stage(packet);
    packet.fill(0xff);
    staged.drain(own => {
      expect(numberOf(own)).toBe(0x1234);
      expect(own.buffer).toBeInstanceOf(ArrayBuffer);
    });
    expect(packet[0]).toBe(0xff);
  });

  test('plaintext is zeroed when it is handed out, pushed out or cleared', () => {
    // The only way to see the inner copies: every array that is filled with zeros, by what it held until then.
    const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;
    const fill = typedArray.fill;
    const zeroed: number[] = [];
    const spy = vi.spyOn(typedArray, 'fill').mockImplementation(function (this: Uint8Array, ...parameters) {
      if (parameters[0] === 0) zeroed.push(numberOf(this));
      return fill.apply(this, parameters);
    });
    try {
      const staged = new StagedPackets();
      for (let i = 1; i <= MAX_STAGED_PACKETS + 2; i++) staged.stage(numbered(i));
      expect(zeroed.splice(0)).toEqual([1, 2]);
      let first: Uint8Array | undefined;
      staged.drain(packet => {
        first = packet;
        expect(numberOf(packet)).toBe(3);
        staged.clear();
        expect(staged.length).toBe(0);
      });
      // Those that were waiting, then the one that was being handed out.
      expect(zeroed).toEqual([...Array.from({ length: MAX_STAGED_PACKETS - 1 }, (_, i) => i + 4), 3]);
      expect(first && numberOf(first)).toBe(0);
      expect(drained(staged)).toEqual([]);
    } finally {
      spy.mockRestore();
    }
  });

  test('a callback that stages every packet again ends, keeps the order and loses none', () => {
    const staged = new StagedPackets();
    for (let i = 0; i < MAX_STAGED_PACKETS; i++) staged.stage(numbered(i));
    let calls = 0;
    staged.drain(packet => {
      calls++;
      expect(staged.stage(packet)).toBe(false);
    });
    expect(calls).toBe(MAX_STAGED_PACKETS);
    expect(drained(staged)).toEqual(Array.from({ length: MAX_STAGED_PACKETS }, (_, i) => i));
  });

  test('a callback that stages more than fits drops the oldest, and never gets what it staged', () => {
    const staged = new StagedPackets();
    for (let i = 0; i < MAX_STAGED_PACKETS; i++) staged.stage(numbered(i));
    const got: number[] = [];
    staged.drain(packet => {
      got.push(numberOf(packet));
      for (let i = 0; i < 4; i++) staged.stage(numbered(1000 + 4 * numberOf(packet) + i));
    });
    expect(got.every(n => n < 1000)).toBe(true);
    expect(got).toEqual([...got].sort((x, y) => x - y));
    expect(staged.length).toBeLessThanOrEqual(MAX_STAGED_PACKETS);
    expect(drained(staged).every(n => n >= 1000)).toBe(true);
  });

  test('a drain inside a drain does nothing: order holds and nothing is handed out twice', () => {
    const staged = new StagedPackets();
    for (let i = 0; i < 4; i++) staged.stage(numbered(i));
    const got: number[] = [];
    staged.drain(packet => {
      got.push(numberOf(packet));
      if (got.length === 1) staged.stage(numbered(99));
      staged.drain(inner => got.push(500 + numberOf(inner)));
    });
    expect(got).toEqual([0, 1, 2, 3]);
    expect(drained(staged)).toEqual([99]);
  });

  test('what is staged after a clear inside a drain waits for the next', () => {
    const staged = new StagedPackets();
    for (let i = 0; i < 4; i++) staged.stage(numbered(i));
    const got: number[] = [];
    staged.drain(packet => {
      got.push(numberOf(packet));
      staged.clear();
      staged.stage(numbered(99));
    });
    expect(got).toEqual([0]);
    expect(drained(staged)).toEqual([99]);
  });

  test('when the callback throws, its packet is zeroed and the rest stays staged', () => {
    const staged = new StagedPackets();
    for (let i = 1; i <= 3; i++) staged.stage(numbered(i));
    let thrown: Uint8Array | undefined;
    expect(() =>
      staged.drain(packet => {
        thrown = packet;
        throw new Error('no way out');
      }),
    ).toThrow('no way out');
    expect(thrown && numberOf(thrown)).toBe(0);
    expect(drained(staged)).toEqual([2, 3]);
  });

  test('behaves as a bounded list under any script', () => {
    const step = fc.oneof(
      {
        weight: 12,
        arbitrary: fc.record({ op: fc.constant('stage' as const), count: fc.integer({ min: 1, max: 60 }) }),
      },
      { weight: 2, arbitrary: fc.constant({ op: 'drain' as const }) },
      { weight: 1, arbitrary: fc.constant({ op: 'clear' as const }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), script => {
        const staged = new StagedPackets();
        let model: number[] = [];
        let next = 0;
        for (const command of script) {
          if (command.op === 'stage') {
            for (let i = 0; i < command.count; i++) {
              model.push(next);
              expect(staged.stage(numbered(next++))).toBe(model.length > MAX_STAGED_PACKETS);
              model = model.slice(-MAX_STAGED_PACKETS);
            }
          } else {
            if (command.op === 'drain') expect(drained(staged)).toEqual(model);
            else staged.clear();
            model = [];
          }
          expect(staged.length).toBe(model.length);
        }
      }),
    );
  });
});
