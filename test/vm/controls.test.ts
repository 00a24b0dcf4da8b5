// Each safety is taken out by a replaced module in the guest, and real clones show the harm.

import { describe, expect, it } from 'vitest';
import { library } from './subjects/library.js';
import { wireonce } from './subjects/wg-interface.js';
import { isHarmed, reused, useLab } from './support.js';

const test = useLab();

describe('the check after sealing', () => {
  // A snapshot falls into a batch that is being sealed, or between two: seldom in vain so many times in a row.
  const instants = Array<string>(16).fill('mid-burst');

  it('leaves no key and nonce to be used twice where batches are cut by the snapshot', async () => {
    expect(reused(await test.forks(library('wireonce, library'), instants.slice(0, 4)))).toBe(0);
  });

  it('control: made before sealing, it lets the rest of a batch be sealed twice', async () => {
    const before = library('checks before sealing', {
      replaced: { 'sessions/release': 'check-before-sealing' },
    });
    expect(reused(await test.forks(before, instants, { until: 'harm' }))).toBeGreaterThan(0);
  });
});

/*
 * A kernel without its vmgenid driver never reseeds after a fork, and without a generator in the processor nothing else
 * parts its random numbers: the first milliseconds after any restore, frozen.
 */
describe('the freshness barrier, where the kernel repeats itself in all clones', () => {
  const hardware = {
    cpu: 'max,-rdrand,-rdseed',
    kernelOptions: 'initcall_blacklist=vmgenid_plaform_driver_init',
  };
  const oneInitiation = ['one initiation to all'];
  const counter = { 'vmgenid/sources/acpi': 'id-as-counter' };

  it('opens by the unique ID: both clones answer, with ephemerals of their own', async () => {
    const [result] = await test.forks(wireonce('wireonce, frozen kernel', { hardware }), oneInitiation);
    expect(result).toMatchObject({ reused: 0, repeatedEphemerals: 0 });
  });

  it('stays closed where only a fork is known and nothing parts the clones', async () => {
    const subject = wireonce('wireonce, frozen kernel, counter', { hardware, replaced: counter });
    const [result] = await test.forks(subject, oneInitiation, { observeMs: 8_000 });
    expect(result).toMatchObject({ reused: 0, repeatedEphemerals: 0 });
    expect(result.clones.map(clone => clone.recoveredMs)).toEqual([undefined, undefined]);
  });

  it('control: without it both clones draw one ephemeral key, for handshakes of their own', async () => {
    const replaced = { ...counter, 'crng/freshness': 'no-barrier' };
    const subject = wireonce('wireonce, frozen kernel, no barrier', { hardware, replaced });
    // The clones draw the same bytes, and each in its own order: what parts them is luck, and not every time.
    const attempts = Array<string>(16).fill('one initiation to all');
    expect((await test.forks(subject, attempts, { until: 'harm' })).some(isHarmed)).toBe(true);
  });
});
