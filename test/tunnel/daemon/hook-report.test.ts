// What a daemon reports to the host at its hook: each part missing by its name until it is there, in the same epoch.

import { describe, expect, it } from 'vitest';
import type { OpenSslProbe } from '../../../crng/openssl.js';
import { hookReporter } from '../../../tunnel/daemon/hook-report.js';
import type { RecoveryReport } from '../../../tunnel/linux/device-loop.js';

const there: RecoveryReport = {
  epoch: 3,
  isVouched: true,
  isParted: true,
  isHeld: false,
  publicKey: 'key',
  called: 2,
  back: 2,
};
const healed = (epoch: number, parted: boolean): OpenSslProbe => ({
  healing: { seeding: { epoch, parted }, heal: () => {}, close: () => {} },
});

const report = (change: Partial<RecoveryReport> = {}, openssl = healed(3, true)) =>
  hookReporter(() => ({ recovery: async () => ({ ...there, ...change }), openssl }))();

describe('a daemon at its hook', () => {
  it('has all when device, OpenSSL and peers are of one epoch', async () => {
    expect(await report()).toEqual({
      epoch: 3,
      parted: true,
      says: { opensslHealed: true, publicKey: 'key', peers: { called: 2, back: 2 } },
      missing: [],
    });
  });

  it('with no peers in conversation, and without a private key, lacks nothing', async () => {
    expect((await report({ publicKey: null, called: 0, back: 0 })).missing).toEqual([]);
  });

  it.each([
    ['peers', { back: 1 }, healed(3, true)],
    ['publicKey', { isHeld: true }, healed(3, true)],
    ['generation', { isVouched: false }, healed(3, true)],
    ['opensslHealed', {}, healed(2, true)],
    ['opensslHealed', {}, healed(3, false)],
  ])('lacks %s', async (name, change, openssl) => {
    expect((await report(change, openssl)).missing).toEqual([name]);
  });

  it('names no key that may not speak yet', async () => {
    expect((await report({ isHeld: true })).says).toMatchObject({ publicKey: null });
  });

  it('says that OpenSSL is not healed where it cannot be, and has nobody wait for that', async () => {
    const { says, missing } = await report({}, { reason: 'no koffi' });
    expect([says['opensslHealed'], missing]).toEqual([null, []]);
  });

  it('has nothing to say before it has started', async () => {
    await expect(hookReporter(() => undefined)()).rejects.toThrow('has not started');
  });
});
