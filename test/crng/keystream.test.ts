import { describe, expect, test } from 'vitest';
import { nobleKeystream } from 'wireonce/crng';
import { keystreamOf } from 'wireonce/protocol';
import { suites } from '../support/suites.js';
import { hex, machine } from './machine.js';

/** Small draws over many blocks, and large ones around the cipher's blocks. */
const LENGTHS = [...Array.from({ length: 100 }, (_, i) => i), 257, 320, 5_000, 1 << 18, 16];

describe.each(suites.map(suite => [suite.name, suite] as const))('by the suite %s', (_, suite) => {
  test('numbers are those that the generator makes by itself', async () => {
    const ours = await machine({ crng: { keystream: keystreamOf(suite) } });
    const reference = await machine();
    for (const length of LENGTHS)
      expect(hex(ours.crng.bytes(length))).toBe(hex(reference.crng.bytes(length)));
  });

  test('a key is forgotten as soon as it was used, also where sealing fails', () => {
    let forgotten = 0;
    const failing = { ...suite, forget: () => void forgotten++ };
    const key = new Uint8Array(32).fill(1);
    keystreamOf(failing)(key, new Uint8Array(80));
    expect(forgotten).toBe(1);
    // No room for a tag.
    expect(() => keystreamOf(failing)(key, new Uint8Array(15))).toThrow();
    expect(forgotten).toBe(2);
  });
});

test('a cipher that fails lets nothing out, neither zeros nor what was made before, until it works again', async () => {
  const state = { broken: false };
  const failing = await machine({
    crng: {
      keystream: (key, out) => {
        if (state.broken) throw new Error('no cipher today');
        nobleKeystream(key, out);
      },
    },
  });
  const whole = await machine();
  const draw = ({ crng }: typeof whole, length: number) => hex(crng.bytes(length));
  // Leaves 24 bytes in the block: too few for the next draw, enough for the one after it.
  for (let i = 0; i < 4; i++) expect(draw(failing, 242)).toBe(draw(whole, 242));
  state.broken = true;
  for (const length of [32, 4, 16, 1_000]) expect(() => draw(failing, length)).toThrow('no cipher today');
  state.broken = false;
  for (const length of [32, 4, 16, 1_000]) expect(draw(failing, length)).toBe(draw(whole, length));
});
