import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { RingReader, RingWriter, ringMemory } from '../../../../tunnel/daemon/device-thread/datagram-ring.js';

const BYTES = 1_024;
/** What a record takes beside its datagram. */
const RECORD = 32;

function newRing(bytes = BYTES) {
  const memory = ringMemory(bytes);
  const wake = vi.fn();
  const onRoom = vi.fn();
  return {
    memory,
    wake,
    onRoom,
    writer: new RingWriter(memory, wake),
    reader: new RingReader(memory, onRoom),
  };
}

const text = (reader: RingReader) => Buffer.from(reader.datagram()).toString();

/** All that is in it, and its room given back. */
function drain(reader: RingReader): string[] {
  const got: string[] = [];
  while (reader.next()) got.push(text(reader));
  reader.release();
  return got;
}

describe('a ring of datagrams', () => {
  test('hands on what was put in, with number and address', () => {
    const { writer, reader } = newRing();
    const ip = Uint8Array.of(192, 0, 2, 1);
    expect(writer.push(Buffer.from('one'), 7, ip, 65_535)).toBe(true);
    expect(writer.push(Buffer.from('two'), 0xffff_ffff)).toBe(true);
    expect(reader.next()).toBe(true);
    expect([text(reader), reader.number, [...reader.ip()], reader.port]).toEqual(['one', 7, [...ip], 65_535]);
    expect(reader.next()).toBe(true);
    expect([text(reader), reader.number, reader.ip().length, reader.port]).toEqual([
      'two',
      0xffff_ffff,
      0,
      0,
    ]);
    expect(reader.next()).toBe(false);
  });

  test('is as a plain queue, bounded in bytes, whatever is done in which order', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            {
              weight: 4,
              arbitrary: fc.record({ push: fc.nat(400), limit: fc.constantFrom(BYTES, BYTES / 4) }),
            },
            { weight: 3, arbitrary: fc.constant('next' as const) },
            fc.constantFrom('release' as const, 'line' as const, 'skip' as const),
          ),
          { maxLength: 200 },
        ),
        // Positions are counted modulo 2^32: begin a few steps before that.
        fc.constantFrom(0, 2 ** 32 - BYTES),
        (steps, start) => {
          const memory = ringMemory(BYTES);
          for (const word of [0, 16]) new Int32Array(memory)[word] = start;
          const writer = new RingWriter(memory, () => {});
          const reader = new RingReader(memory, () => {});
          let queue: { number: number; length: number }[] = [];
          let count = 0;
          for (const step of steps) {
            if (step === 'next') {
              const expected = queue.shift();
              expect(reader.next()).toBe(expected !== undefined);
              if (!expected) continue;
              expect({ number: reader.number, length: reader.length }).toEqual(expected);
              expect(reader.datagram().every(byte => byte === (expected.number & 255))).toBe(true);
            } else if (step === 'release') reader.release();
            else if (step === 'line') {
              writer.drawLine();
              queue = [];
            } else if (step === 'skip') {
              reader.skip();
              queue = [];
            } else {
              const number = ++count;
              const before = writer.used;
              const pushed = writer.push(
                new Uint8Array(step.push).fill(number),
                number,
                undefined,
                0,
                step.limit,
              );
              if (pushed) queue.push({ number, length: step.push });
              else expect(before + 2 * (RECORD + step.push + 8)).toBeGreaterThan(step.limit);
              expect(writer.used).toBeLessThanOrEqual(Math.max(before, step.limit));
            }
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test('what was read stays as it is until it is released', () => {
    const { writer, reader } = newRing();
    for (let i = 0; i < 3; i++) writer.push(new Uint8Array(200).fill(i), i);
    reader.next();
    const first = reader.datagram();
    while (writer.push(new Uint8Array(200).fill(9), 9));
    expect(first.every(byte => byte === 0)).toBe(true);
    reader.release();
    while (writer.push(new Uint8Array(200).fill(9), 9));
    expect(first.some(byte => byte === 9)).toBe(true);
  });

  test('wakes the reader when it may have found nothing, and only then', () => {
    const { writer, reader, wake } = newRing();
    for (let i = 0; i < 3; i++) writer.push(new Uint8Array(1), i);
    expect(wake).toHaveBeenCalledTimes(1);
    // Read but not released: the reader looks once more before it sleeps.
    while (reader.next());
    writer.push(new Uint8Array(1), 3);
    expect(wake).toHaveBeenCalledTimes(1);
    reader.release();
    expect(reader.isEmpty).toBe(false);
    drain(reader);
    writer.push(new Uint8Array(1), 4);
    expect(wake).toHaveBeenCalledTimes(2);
  });

  test('tells a writer that waits when it is nearly empty, once', () => {
    const { writer, reader, onRoom } = newRing();
    expect(writer.wantRoom()).toBe(false);
    while (writer.push(new Uint8Array(100), 1));
    expect(writer.wantRoom()).toBe(true);
    reader.next();
    reader.release();
    expect(onRoom).not.toHaveBeenCalled();
    drain(reader);
    expect(onRoom).toHaveBeenCalledTimes(1);
    writer.push(new Uint8Array(100), 1);
    drain(reader);
    expect(onRoom).toHaveBeenCalledTimes(1);
  });

  test('what the writer has drawn a line under is not read, what comes after it is', () => {
    const { writer, reader } = newRing();
    writer.push(Buffer.from('old'), 1);
    // The control: without a line it is read.
    expect(drain(reader)).toEqual(['old']);
    writer.push(Buffer.from('old'), 1);
    writer.drawLine();
    writer.push(Buffer.from('new'), 1);
    expect(drain(reader)).toEqual(['new']);
    // A line that was passed long ago means nothing.
    writer.drawLine();
    expect(drain(reader)).toEqual([]);
    for (let i = 0; i < 100; i++) {
      writer.push(Buffer.from(`${i}`), 1);
      expect(drain(reader)).toEqual([`${i}`]);
    }
  });
});
