// What the tests in virtual machines share: one lab per file, and forks at named instants.

import { afterAll, beforeAll } from 'vitest';
import { SimulationRandom } from '../support/simulation-random.js';
import { INSTANTS } from './harness/instants.js';
import { VmLab } from './harness/lab.js';
import { type ForkOptions, type ForkResult, Trial } from './harness/trial.js';
import type { Subject } from './subjects/subject.js';

/** The instants are the same in every run; the instruction at which a snapshot falls is not. */
const SEED = 20_261_124;

export interface TestLab {
  readonly lab: VmLab;
  /** A trial that ends with the test file at the latest. */
  trial(subject: Subject): Promise<Trial>;
  /** One fork at each of these instants, of one machine. */
  forks(
    subject: Subject,
    instants: readonly string[],
    /** `until`: the first fork that shows a nonce or an ephemeral key twice is the last. */
    options?: ForkOptions & { until?: 'harm' },
  ): Promise<ForkResult[]>;
}

/** Call at the top of a test file. */
export function useLab(): TestLab {
  const random = new SimulationRandom(SEED);
  let lab: VmLab | undefined;
  beforeAll(async () => {
    lab = await VmLab.open();
  });
  afterAll(() => lab?.close());
  const opened = () => {
    if (!lab) throw new Error('the lab is open only while tests run');
    return lab;
  };
  const trial = (subject: Subject) => Trial.start(opened(), subject);
  return {
    get lab() {
      return opened();
    },
    trial,
    async forks(subject, instants, options = {}) {
      const machine = await trial(subject);
      try {
        const results: ForkResult[] = [];
        for (const name of instants) {
          if (options.until === 'harm' && results.some(isHarmed)) break;
          results.push(await machine.fork(at => INSTANTS[name](at, () => random.next()), options));
        }
        return results;
      } finally {
        await machine.close();
      }
    },
  };
}

export const reused = (results: readonly ForkResult[]): number =>
  results.reduce((total, result) => total + result.reused, 0);

export const isHarmed = (result: ForkResult): boolean => result.reused > 0 || result.repeatedEphemerals > 0;

export const haveReturned = ({ clones }: ForkResult): boolean =>
  clones.every(({ recoveredMs }) => recoveredMs !== undefined);
