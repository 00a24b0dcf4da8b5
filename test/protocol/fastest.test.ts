import { afterEach, expect, it, vi } from 'vitest';
import { openerOf, sealerOf } from '../../protocol/batches.js';
import type { Sealer, Suite } from '../../protocol/suite.js';
import { composeFastest, fastestSuite, suiteNamed } from '../../protocol/suites/fastest.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { nativeMustLoad, nativeSuites } from '../support/suites.js';

afterEach(() => {
  vi.doUnmock('sodium-native');
  vi.doUnmock('../../native/koffi.js');
  vi.resetModules();
});

/** The reference under another name, on a clock that says what each operation costs. */
function fake(name: string, costs: Partial<Record<keyof Suite, number>>, clock: { ms: number }): Suite {
  const operations = Object.entries(nobleSuite).filter(([, value]) => typeof value === 'function');
  const counted = operations.map(([operation, act]: [string, (...input: unknown[]) => unknown]) => [
    operation,
    (...input: unknown[]) => {
      clock.ms += costs[operation as keyof Suite] ?? 1;
      return act(...input);
    },
  ]);
  return { ...(Object.fromEntries(counted) as Suite), name };
}

it('each kind of operation comes from the suite that was measured to be its fastest', () => {
  const clock = { ms: 0 };
  const left = fake('openssl', { seal: 2, publicKey: 9, mac: 3 }, clock);
  const right = fake('sodium', { seal: 3, publicKey: 5, mac: 4 }, clock);
  const suite = composeFastest([right, left], () => clock.ms);
  expect(suite.name).toBe('openssl+sodium');
  expect([suite.seal, suite.open, suite.hash, suite.mac, suite.hmac]).toEqual([
    left.seal,
    left.open,
    left.hash,
    left.mac,
    left.hmac,
  ]);
  expect([suite.publicKey, suite.sharedSecret, suite.sealX, suite.openX]).toEqual([
    right.publicKey,
    right.sharedSecret,
    right.sealX,
    right.openX,
  ]);
});

it('a suite that is best at everything is taken whole, by its own name', () => {
  const clock = { ms: 0 };
  const slow = fake('openssl', { seal: 2, publicKey: 2, mac: 2 }, clock);
  const quick = fake('sodium', {}, clock);
  expect(composeFastest([slow, quick], () => clock.ms)).toBe(quick);
});

it('what was composed forgets in all its parts', () => {
  const clock = { ms: 0 };
  const parts = [fake('openssl', {}, clock), fake('sodium', {}, clock)];
  const forgets = parts.map(part => vi.spyOn(part, 'forget'));
  composeFastest(parts).forget();
  expect(forgets.map(spy => spy.mock.calls.length)).toEqual([1, 1]);
});

it('the suite that seals brings its batches, and a suite that has the cipher alone is asked for nothing else', () => {
  const clock = { ms: 0 };
  const sealer: Sealer = { seal: () => {}, settle: () => {} };
  const opener = openerOf(nobleSuite);
  const cipher = { ...fake('ipsec-mb', {}, clock), sealer: () => sealer, opener: () => opener };
  const all = fake('openssl', {}, clock);
  const suite = composeFastest([all, cipher]);
  expect(suite.name).toBe('ipsec-mb+openssl');
  expect(sealerOf(suite)).toBe(sealer);
  expect(openerOf(suite)).toBe(opener);
  expect([suite.seal, suite.hash, suite.publicKey, suite.sealX]).toEqual([
    cipher.seal,
    all.hash,
    all.publicKey,
    all.sealX,
  ]);
});

it('without a clock the rank decides, and one native suite is taken as it is', () => {
  const clock = { ms: 0 };
  const [openssl, sodium] = [fake('openssl', {}, clock), fake('sodium', {}, clock)];
  expect(composeFastest([openssl, sodium]).name).toBe('openssl+sodium');
  expect(composeFastest([sodium])).toBe(sodium);
  expect(composeFastest([])).toBe(nobleSuite);
});

it.runIf(nativeMustLoad)(
  'the fastest suite is native where binaries are shipped, measured or not',
  async () => {
    const byRank = nativeSuites.some(({ name }) => name === 'ipsec-mb')
      ? 'ipsec-mb+sodium+openssl'
      : 'openssl+sodium';
    expect((await fastestSuite()).name).toBe(byRank);
    const measured = await fastestSuite({ now: () => performance.now() });
    expect(measured.name).toMatch(/^(ipsec-mb|openssl|sodium|\+)+$/);
    expect(await fastestSuite({ now: () => performance.now() })).toBe(measured);
  },
);

it('where no native library loads, the reference suite is the fastest', async () => {
  vi.doMock('sodium-native', () => {
    throw new Error('no binary for this platform');
  });
  vi.doMock('../../native/koffi.js', () => ({ loadKoffi: () => ({ reason: 'not installed' }) }));
  vi.resetModules();
  const fresh = await import('../../protocol/suites/fastest.js');
  expect((await fresh.fastestSuite()).name).toBe('noble');
  expect((await fresh.suiteNamed('noble')).name).toBe('noble');
  await expect(fresh.suiteNamed('openssl')).rejects.toThrow(
    expect.objectContaining({ code: 'ERR_SUITE', message: expect.stringContaining('does not load here') }),
  );
});

it('a suite can be asked for by its name, and a name that there is not is refused', async () => {
  expect(await suiteNamed('noble')).toBe(nobleSuite);
  expect((await suiteNamed('fastest')).name).toBe((await fastestSuite()).name);
  await expect(suiteNamed('rot13')).rejects.toThrow(
    expect.objectContaining({ code: 'ERR_SUITE', message: expect.stringContaining('noble') }),
  );
});
