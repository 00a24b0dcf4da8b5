// Real clones of one machine come to keys and addresses of their own, and are let in by a gateway that was told of none.
// More of them are in `npm run prove`; its figures are in docs/proof.md.

import { expect, it } from 'vitest';
import { EnrolmentTrial, type EnrolmentForkOptions } from './harness/enrolment-trial.js';
import { identityOf } from './harness/identity.js';
import { enrolling, keeping } from './subjects/enrollee.js';
import { useLab } from './support.js';

const test = useLab();
const CLONES = 3;

async function forked(subject: typeof enrolling, ...forks: Omit<EnrolmentForkOptions, 'clones'>[]) {
  const trial = await EnrolmentTrial.start(test.lab, subject);
  try {
    const results = [];
    for (const options of forks) results.push(await trial.fork({ clones: CLONES, ...options }));
    return results;
  } finally {
    await trial.close();
  }
}

it('each has its own key and address, and none speaks under its parent’s, who goes on', async () => {
  const results = await forked(
    enrolling,
    { copied: 'pinging', moment: 0.3, observeMs: 90_000 },
    { copied: 'enrolling', moment: 0.2, observeMs: 90_000 },
  );
  for (const result of results) {
    expect(result).toMatchObject({
      admitted: CLONES,
      keys: CLONES,
      addresses: CLONES,
      pinged: CLONES,
      underParentKey: 0,
      reused: 0,
      repeatedEphemerals: 0,
      originalGoesOn: true,
    });
  }
});

it('control: by policy wipe all come under one key, over which they fight', async () => {
  const [result] = await forked(keeping(identityOf('a machine that keeps its key')), {
    copied: 'pinging',
    moment: 0.3,
    observeMs: 15_000,
  });
  expect(result.keys).toBe(1);
  expect(result.admitted).toBe(0);
  expect(result.underParentKey).toBeGreaterThan(0);
  // They are no danger to each other's sessions, though.
  expect(result.reused).toBe(0);
});
