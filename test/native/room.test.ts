import { expect, it } from 'vitest';
import { Room } from '../../native/room.js';

const BASE = 0x1000;
/** A system in which all memory begins at BASE. */
const system = { addressOf: (bytes: Uint8Array) => BASE + bytes.byteOffset };
const memory = new Uint8Array(new ArrayBuffer(64)).map((_, i) => i);

it('a part of a room lies where its bytes lie, and so does a part of that', () => {
  const room = Room.over(memory, system);
  expect([room.address, room.bytes]).toEqual([BASE, memory]);
  for (const [start, length] of [
    [0, 64],
    [7, 9],
    [64, 0],
  ]) {
    const part = room.part(start, length);
    expect(part.address).toBe(system.addressOf(part.bytes));
    expect(part.bytes).toEqual(memory.subarray(start, start + length));
  }
  expect(room.part(8, 32).part(4, 2)).toMatchObject({ address: BASE + 12, bytes: memory.subarray(12, 14) });
});

it.each([
  [-1, 2],
  [0, 65],
  [65, 0],
  [8, -1],
])('there is no part of 64 bytes from %d on, %d long', (start, length) => {
  expect(() => Room.over(memory, system).part(start, length)).toThrow(RangeError);
});
