// A whole Node process healed after a real fork: what it draws from OpenSSL, what still repeats, and its clock.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Drawn } from './guest/programs/openssl.js';
import { type MachineOptions, VmLab } from './harness/lab.js';
import type { Machine } from './harness/machine.js';

let lab: VmLab;
const machines: Machine[] = [];

beforeAll(async () => {
  lab = await VmLab.open();
});
afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.close();
});
afterAll(() => lab?.close());

/** What two clones draw; `pauseMs` lies between snapshot and restore. */
async function clones(options: MachineOptions, heal: boolean, pauseMs = 0): Promise<Drawn[]> {
  const machine = await lab.machine(options);
  machines.push(machine);
  // It is a clone of the state that is kept, and its clock has stayed behind already.
  await machine.agent.shell('date -s "@$(cat /sys/class/rtc/rtc0/since_epoch)"');
  await machine.agent.start('openssl');
  expect(await machine.agent.call('openssl', 'open', { heal })).toBe(
    heal ? 'healed' : 'switched off by an option',
  );
  const snapshot = await lab.snapshot(machine);
  if (pauseMs > 0) await sleep(pauseMs);
  const restored = await snapshot.restore(2);
  machines.push(...restored);
  return Promise.all(restored.map(clone => clone.agent.call<Drawn>('openssl', 'drawn')));
}

/** Of each kind of draw: the share that both clones made. */
function repeated([left, right]: Drawn[]): Record<string, number> {
  return Object.fromEntries(
    Object.entries(left.draws).map(([name, drawn]) => {
      const other = new Set(right.draws[name]);
      return [name, drawn.filter(value => other.has(value)).length / drawn.length];
    }),
  );
}

/** Math.random alone draws on nothing that can be reached. */
const HEALED = {
  randomBytes: 0,
  getRandomValues: 0,
  randomUUID: 0,
  randomInt: 0,
  x25519: 0,
  mathRandom: 1,
  tls: 0,
  'randomBytes in a Worker': 0,
  'randomUUID in a Worker': 0,
  'randomInt in a Worker': 0,
};
const NOT_HEALED = Object.fromEntries(Object.keys(HEALED).map(name => [name, 1]));

describe.each([
  ['whose kernel reseeds after a fork', {}],
  [
    'whose kernel never does',
    { cpu: 'max,-rdrand,-rdseed', kernelOptions: 'initcall_blacklist=vmgenid_plaform_driver_init' },
  ],
] satisfies [string, MachineOptions][])('clones of a machine %s', (_name, options) => {
  it('draw nothing alike from OpenSSL when it is healed, in Workers and TLS neither', async () => {
    expect(repeated(await clones(options, true))).toEqual(HEALED);
  });

  it('control: draw all of it alike when it is not', async () => {
    expect(repeated(await clones(options, false))).toEqual(NOT_HEALED);
  });
});

it('a clone whose clock stayed behind has the time of the hardware clock', async () => {
  const drawn = await clones({}, true, 6_000);
  for (const { clock } of drawn) {
    expect(clock.rtcMs).toBeGreaterThan(clock.systemMs + 2_000);
    expect(Math.abs(clock.wallMs - (clock.rtcMs ?? 0))).toBeLessThan(3_000);
  }
});
