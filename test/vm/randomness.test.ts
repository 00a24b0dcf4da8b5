// Random numbers in real clones, from the first instruction after the restore: OpenSSL's, and ours.

import { expect, it } from 'vitest';
import type { Draw } from './guest/programs/randomness.js';
import { useLab } from './support.js';

const test = useLab();
const PROGRAM = 'randomness';
/** A clone draws at least so many more before it is asked. */
const DRAWN_AFTER = 40;
const KINDS = ['crng', 'randomBytes', 'randomUuid', 'keyPair'] as const;

/** How many of the draws that two clones made after the restore are the same in both, of how many. */
async function repeated(heal: boolean) {
  const machine = await test.lab.machine();
  await machine.agent.start(PROGRAM);
  expect(await machine.agent.call(PROGRAM, 'begin', { heal })).toBe('immediate');
  const atLeast = await machine.agent.call<number>(PROGRAM, 'drawn');
  const snapshot = await test.lab.snapshot(machine);
  const clones = await snapshot.restore(2);
  const [left, right] = await Promise.all(
    clones.map(async ({ agent }) => {
      while ((await agent.call<number>(PROGRAM, 'drawn')) < atLeast + DRAWN_AFTER);
      return agent.call<Draw[]>(PROGRAM, 'remembered');
    }),
  );
  await Promise.all([machine, ...clones].map(one => one.close()));
  const pairs = left.flatMap(draw => {
    const twin = right.find(({ number }) => number === draw.number);
    return twin && twin.mark !== draw.mark ? [[draw, twin] as const] : [];
  });
  const same = (kind: (typeof KINDS)[number]) => pairs.filter(([a, b]) => a[kind] === b[kind]).length;
  return { pairs: pairs.length, ...Object.fromEntries(KINDS.map(kind => [kind, same(kind)])) } as Record<
    'pairs' | (typeof KINDS)[number],
    number
  >;
}

it("OpenSSL's repeat in clones, draw after draw, and ours never do", async () => {
  const { pairs, ...same } = await repeated(false);
  expect(pairs).toBeGreaterThan(10);
  expect(same.crng).toBe(0);
  expect(same.randomBytes).toBe(pairs);
  expect(same.randomUuid).toBe(pairs);
  expect(same.keyPair).toBe(pairs);
});

it("healed, OpenSSL's differ too", async () => {
  const { pairs, ...same } = await repeated(true);
  expect(pairs).toBeGreaterThan(10);
  expect(same).toEqual({ crng: 0, randomBytes: 0, randomUuid: 0, keyPair: 0 });
});
