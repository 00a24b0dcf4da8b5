// Real clones of real machines: what the WireGuards that there are send after a fork, and what this one sends.
// More forks of each are in `npm run prove`; its figures are in docs/proof.md.

import { describe, expect, it } from 'vitest';
import { PAYLOAD_TEXT } from './guest/payloads.js';
import { INSTANTS } from './harness/instants.js';
import { kernelWireguard, wireguardGo, wireonce } from './subjects/wg-interface.js';
import { haveReturned, reused, useLab } from './support.js';

const test = useLab();
const immediate = wireonce('wireonce (immediate)');

describe('clones of wireonce with the generation-ID page', () => {
  it('use no key and nonce twice, and return by new handshakes, wherever the snapshot falls', async () => {
    const results = await test.forks(immediate, Object.keys(INSTANTS));
    expect(results.map(result => result.reused)).toEqual(results.map(() => 0));
    expect(results.every(haveReturned)).toBe(true);
  });

  it('do so when three are made of one', async () => {
    const [result] = await test.forks(immediate, ['steady traffic'], { clones: 3 });
    expect(result.clones).toHaveLength(3);
    expect(result.reused).toBe(0);
    expect(haveReturned(result)).toBe(true);
  });

  it('cannot know of a restore under an unchanged generation: their peer notices, by its tripwire', async () => {
    const trial = await test.trial(immediate);
    const { generationId } = trial.machine;
    const unchanged = await trial.fork(at => INSTANTS['steady traffic'](at, () => 0.5), {
      generationId,
      enough: 2_000,
      showPair: true,
    });
    await trial.close();
    expect(unchanged.reused).toBeGreaterThan(0);
    expect(unchanged.tripped).toBe(true);
  });
});

describe('clones of others', () => {
  it("of the kernel's WireGuard return by new handshakes", async () => {
    const results = await test.forks(kernelWireguard, ['steady traffic', 'single packets']);
    expect(results.every(haveReturned)).toBe(true);
  });

  it('of wireguard-go use nonces twice, and XOR gives the plaintext away', async () => {
    const [result] = await test.forks(wireguardGo, ['steady traffic'], { enough: 2_000 });
    expect(result.reused).toBeGreaterThan(0);
    expect(result.recovered).toMatch(PAYLOAD_TEXT);
  });
});

describe('a guest that is not on the fast path', () => {
  it('is not forked at all: it would prove less than it says', async () => {
    const slow = wireonce('wireonce (openssl)', { settings: { SUITE: 'openssl' } });
    await expect(test.trial(slow)).rejects.toThrow('not on the fast path, libipsec-mb missing');
  });
});

describe('control: clones of wireonce without any source', () => {
  it('use nonces twice', async () => {
    const blind = wireonce('wireonce (none)', {
      settings: { ACPI: 'off', BPF: 'off', KMSG: 'off', VMCLOCK: 'off' },
    });
    expect(reused(await test.forks(blind, ['steady traffic'], { enough: 2_000 }))).toBeGreaterThan(0);
  });
});
