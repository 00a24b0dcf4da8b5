import { beforeEach, expect, test } from 'vitest';
import { type Keystream, nobleKeystream } from 'wireonce/crng';
import { NO_EPOCH } from 'wireonce/vmgenid';
import { RepeatingEntropy, hex, machine as build } from './machine.js';

// The arrays that the generator hands to the cipher are its own key and block: hold them, and look into them later.
const held = { keys: new Set<Uint8Array>(), outputs: new Set<Uint8Array>(), used: [] as string[] };
const keystream: Keystream = (key, out) => {
  held.keys.add(key);
  held.outputs.add(out);
  held.used.push(hex(key));
  nobleKeystream(key, out);
};
const machine = () => build({ crng: { keystream } });

beforeEach(() => {
  held.keys.clear();
  held.outputs.clear();
  held.used.length = 0;
});

const allZero = (bytes: Uint8Array) => bytes.every(byte => byte === 0);

/** Everything the generator still holds, as text. */
function memory(): string[] {
  return [...held.keys, ...held.outputs].map(hex);
}

test('what was handed out is found nowhere in the memory of the generator', async () => {
  const { crng } = await machine();
  const drawn = [16, 4, 32, 300, 256, 8, 200, 200, 5000, 16].map(length => crng.bytes(length));
  expect(held.outputs.size).toBeGreaterThan(1);
  for (const bytes of drawn) {
    for (const text of memory()) {
      for (let at = 0; at + 4 <= bytes.length; at += 4)
        expect(text).not.toContain(hex(bytes.slice(at, at + 4)));
    }
  }
});

test('neither is what was made and not handed out, since nobody could vouch for the generation', async () => {
  const { crng, guard } = await machine();
  crng.uint32();
  const [block] = held.outputs;
  const unused = (from: number, to: number) => !block.subarray(from, to).includes(0);
  expect(unused(36, 52)).toBe(true);
  const start = guard.checks;
  guard.answer = (epoch, check) => (check > start + 1 ? NO_EPOCH : epoch);
  expect(() => crng.bytes(16)).toThrow();
  expect(allZero(block.subarray(0, 52))).toBe(true);
  expect(unused(52, 68)).toBe(true);
});

test('neither is a word', async () => {
  const { crng } = await machine();
  const word = new Uint8Array(4);
  for (let i = 0; i < 20; i++) {
    new DataView(word.buffer).setUint32(0, crng.uint32(), true);
    for (const text of memory()) expect(text).not.toContain(hex(word));
  }
});

test('the end of the keystream, which the cipher keeps a copy of, is never handed out', async () => {
  const { crng } = await machine();
  crng.uint32();
  const [block] = held.outputs;
  expect(allZero(block.subarray(block.length - 96))).toBe(false);
  expect(allZero(block.subarray(block.length - 64))).toBe(true);
});

test('a key is gone from memory as soon as it was used, for a block or for a large draw', async () => {
  const { crng } = await machine();
  for (let i = 0; i < 40; i++) crng.bytes(32);
  crng.bytes(5000);
  expect(new Set(held.used).size).toBe(3);
  for (const key of held.used) for (const text of memory()) expect(text).not.toContain(key);
});

test('what the kernel gave is gone from memory when it was mixed in, and when reading it fails', async () => {
  const given: Uint8Array[] = [];
  const entropy = new RepeatingEntropy(7);
  const read = entropy.read.bind(entropy);
  entropy.read = into => {
    given.push(into);
    read(into);
    if (given.length === 2) throw new Error('half of it');
  };
  const { crng, clock } = await build({ entropy });
  clock.ms += 1_000;
  expect(() => crng.uint32()).toThrow('half of it');
  expect(given.map(allZero)).toEqual([true, true]);
});

test('close leaves nothing', async () => {
  const { crng } = await machine();
  crng.bytes(40);
  crng.bytes(400);
  crng.close();
  expect([...held.keys].every(allZero)).toBe(true);
  expect([...held.outputs].every(allZero)).toBe(true);
});

test('a fork leaves nothing of the old block or key', async () => {
  const { crng, source, vmgenid, entropy } = await machine();
  crng.bytes(40);
  const [block] = held.outputs;
  const [key] = held.keys;
  const before = hex(key);
  expect(allZero(block)).toBe(false);
  source.fork(new Uint8Array(16).fill(1));
  entropy.broken = true;
  vmgenid.check();
  expect(allZero(block)).toBe(true);
  entropy.broken = false;
  crng.isFresh();
  expect(hex(key)).not.toBe(before);
});
