// The hook over vsock, in a real guest: who may call is told by the context ID, and a clone answers as its parent did.
// The hypervisor here has no vsock of its own, so the caller comes by the guest's loopback, as context ID 1.

import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { VmLab } from './harness/lab.js';
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

const FOR_PROGRAMS = 7_001;
const FOR_THE_HOST = 7_002;

const call = (machine: Machine, port: number, path: string) =>
  machine.agent.call<string>('vsock', 'call', { port, path });

it('answers whom it is for, hangs up on others, and goes on in clones', async () => {
  const machine = await lab.machine();
  machines.push(machine);
  await machine.agent.start('vsock');
  for (const hook of [`vsock:1:${FOR_PROGRAMS}`, `vsock:${FOR_THE_HOST}`]) {
    expect(await machine.agent.call('vsock', 'listen', hook)).toBe('listens');
  }
  expect(await call(machine, FOR_PROGRAMS, '/fork')).toMatch(
    /^HTTP\/1.1 200 .*"epoch":1,"forkEpoch":1,"parted":true,"ready":true/s,
  );
  // A program of the guest is not the host.
  expect(await call(machine, FOR_THE_HOST, '/fork')).toBe('');

  const snapshot = await lab.snapshot(machine);
  const clones = await snapshot.restore(2);
  machines.push(...clones);
  for (const clone of clones) {
    expect(await call(clone, FOR_PROGRAMS, '/fork?wait=60s&after=1')).toMatch(
      /^HTTP\/1.1 200 .*"epoch":2,"forkEpoch":2,"parted":true,"ready":true/s,
    );
    expect(await call(clone, FOR_THE_HOST, '/fork')).toBe('');
  }
});
