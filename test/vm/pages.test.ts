// Pages that QEMU has no device for: vmclock, under kernels with a driver and without, and what a device tree names, on an
// emulated arm64 machine. The harness writes them before the first instruction of a clone, as their hypervisors do.

import { describe, expect, it } from 'vitest';
import { ARM64 } from './harness/boards.js';
import { INSTANTS } from './harness/instants.js';
import type { Trial } from './harness/trial.js';
import { library } from './subjects/library.js';
import { wireonceVmclock } from './subjects/wg-interface.js';
import { haveReturned, reused, useLab } from './support.js';

const test = useLab();

describe('clones that only a vmclock page tells', () => {
  const subject = wireonceVmclock('no driver');

  it('use no key and nonce twice and return, parted by a generator of the host', async () => {
    const results = await test.forks(subject, ['mid-burst']);
    expect(reused(results)).toBe(0);
    expect(results.every(haveReturned)).toBe(true);
  });

  it('control: where its counter is not raised they use nonces twice', async () => {
    const trial = await test.trial(subject);
    const { generationId } = trial.machine;
    const unchanged = await trial.fork(at => INSTANTS['steady traffic'](at, () => 0.5), {
      generationId,
      enough: 2_000,
    });
    await trial.close();
    expect(unchanged.reused).toBeGreaterThan(0);
  });
});

describe('clones of an arm64 machine whose device tree names the page of its generation ID', () => {
  const hardware = { board: ARM64 };
  const subject = library('wireonce, library (device tree)', {
    hardware,
    sources: { devicetree: true, vmclock: false, kmsg: false },
  });

  it('use no key and nonce twice and return; control: under an unchanged ID they do', async () => {
    const trial = await test.trial(subject);
    const { generationId } = trial.machine;
    const moment = (at: Trial) => INSTANTS['steady traffic'](at, () => 0.5);
    const changed = await trial.fork(moment);
    const unchanged = await trial.fork(moment, { generationId, enough: 500 });
    await trial.close();
    expect([changed.reused, haveReturned(changed)]).toEqual([0, true]);
    expect(unchanged.reused).toBeGreaterThan(0);
  });

  it("see the vmclock page by the kernel's own driver, whose device wakes who waits for it", async () => {
    const machine = await test.lab.machine(hardware);
    const look = (of: typeof machine, wait: boolean) =>
      of.agent.call<{ isTold: boolean; counter: number }>('notice', 'look', { wait });
    await machine.agent.start('notice');
    expect(await machine.agent.call('notice', 'open')).toBe(true);
    const { counter } = await look(machine, false);
    expect(await look(machine, false)).toEqual({ isTold: false, counter });
    const snapshot = await test.lab.snapshot(machine);
    const [clone] = await snapshot.restore(1);
    await clone.notify();
    expect(await look(clone, true)).toEqual({ isTold: true, counter: counter + 1 });
    expect(await look(clone, false)).toEqual({ isTold: false, counter: counter + 1 });
    await Promise.all([machine.close(), clone.close()]);
  });
});
