// Real clones of real machines: what the WireGuards that there are send after a fork, and what this one sends.
// More forks, at more instants, are in `npm run prove`; its figures are in docs/proof.md.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SimulationRandom } from '../../tunnel/wire.js';
import { PAYLOAD_TEXT } from './guest/payloads.js';
import { INSTANTS } from './harness/instants.js';
import { VmLab } from './harness/lab.js';
import { type ForkOptions, type ForkResult, Trial } from './harness/trial.js';
import type { Subject } from './subjects/subject.js';
import { kernelWireguard, wireguardGo, wireonce } from './subjects/wg-interface.js';

const NO_SOURCE = { ACPI: 'off', KMSG: 'off', VMCLOCK: 'off' };

const random = new SimulationRandom(20_261_124);
let lab: VmLab;
let trial: Trial | undefined;

beforeAll(async () => {
  lab = await VmLab.open();
});
afterEach(async () => {
  await trial?.close();
  trial = undefined;
});
afterAll(() => lab?.close());

/** One fork at each of these instants. */
async function forks(subject: Subject, instants: string[], options: ForkOptions = {}): Promise<ForkResult[]> {
  trial = await Trial.start(lab, subject);
  const results: ForkResult[] = [];
  for (const name of instants) {
    results.push(await trial.fork(subject => INSTANTS[name](subject, random), options));
  }
  return results;
}

const sum = (results: ForkResult[]) => results.reduce((total, { reused }) => total + reused, 0);
const haveReturned = ({ clones }: ForkResult) => clones.every(({ recoveredMs }) => recoveredMs !== undefined);

describe('clones of wireonce with the generation-ID page', () => {
  const subject = wireonce('wireonce (immediate)');

  it('use no key and nonce twice, and return by new handshakes, wherever the snapshot falls', async () => {
    const results = await forks(subject, Object.keys(INSTANTS));
    expect(results.map(({ reused }) => reused)).toEqual(results.map(() => 0));
    expect(results.every(haveReturned)).toBe(true);
  });

  it('do so when three are made of one', async () => {
    const [result] = await forks(subject, ['steady traffic'], { clones: 3 });
    expect(result.clones).toHaveLength(3);
    expect(result.reused).toBe(0);
    expect(haveReturned(result)).toBe(true);
  });

  it('cannot know of a restore under an unchanged generation: there nonces are used twice', async () => {
    trial = await Trial.start(lab, subject);
    const result = await trial.fork(at => INSTANTS['steady traffic'](at, random), {
      generationId: trial.machine.generationId,
      enough: 2_000,
    });
    expect(result.reused).toBeGreaterThan(0);
  });
});

describe('clones of others', () => {
  it("of the kernel's WireGuard return by new handshakes", async () => {
    expect((await forks(kernelWireguard, ['steady traffic', 'single packets'])).every(haveReturned)).toBe(
      true,
    );
  });

  it('of wireguard-go use nonces twice, and XOR gives the plaintext away', async () => {
    const [result] = await forks(wireguardGo, ['steady traffic'], { enough: 2_000 });
    expect(result.reused).toBeGreaterThan(0);
    expect(result.recovered).toMatch(PAYLOAD_TEXT);
  });
});

describe('controls: clones of wireonce without', () => {
  it('any source use nonces twice', async () => {
    const blind = wireonce('wireonce (none)', { settings: NO_SOURCE });
    expect(sum(await forks(blind, ['steady traffic'], { enough: 2_000 }))).toBeGreaterThan(0);
  });
});
