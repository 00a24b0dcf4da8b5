// `npm run prove`: real machines forked under load, and what their clones send, compared.
// Promises: exits with 1 if wireonce with an immediate source used a nonce twice, if a clone that enrols used what is not its
// own, or if a control found no harm: a proof that cannot fail shows nothing; with 3 where there can be no machines. Ends its
// machines on every way out.
// Read on: contestants.ts (who), ../harness/instants.ts (when), ../harness/trial.ts (how), docs/proof.md (figures).

import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { SimulationRandom } from '../../support/simulation-random.js';
import { COPIED, EnrolmentTrial } from '../harness/enrolment-trial.js';
import { emulationFactor } from '../harness/emulation.js';
import { INSTANTS } from '../harness/instants.js';
import { VmLab } from '../harness/lab.js';
import { Trial } from '../harness/trial.js';
import { VmUnavailableError } from '../harness/unavailable.js';
import { CANDIDATES, CONTESTANTS, type Candidate, type Contestant } from './contestants.js';
import { byInstant, complaints, type EnrolmentRow, formatReport, type Report, type Row } from './report.js';

const DEFAULT_FORKS = Object.keys(INSTANTS).length;
const DEFAULT_CLONES = 8;

const USAGE = `Usage: npm run prove -- [--clones N] [--forks N] [--json [FILE]] [--only NAME]... [--seed N]

  --clones N     of each fork whose clones enrol, default ${DEFAULT_CLONES}
  --forks N      real forks of each contestant, default one at each instant
  --json [FILE]  write every fork as JSON, to FILE or to standard output; the table is then on standard error
  --only NAME    one whose name contains this; may be given more than once
  --seed N       when snapshots are taken, default drawn and printed
`;

const say = (line: string) => process.stderr.write(`${line}\n`);
process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  if (!(error instanceof VmUnavailableError)) throw error;
  say(`no virtual machines here: ${error.message}`);
  return 3;
});

async function main(given: readonly string[]): Promise<number> {
  const options = readOptions(given);
  if (typeof options === 'number') return options;
  const { clones, forks, json, only, seed } = options;
  const isChosen = ({ subject }: { subject: { name: string } }) =>
    only.length === 0 || only.some(part => subject.name.includes(part));
  say(`seed ${seed}`);
  const lab = await VmLab.open();
  const end = () => void lab.close().then(() => process.exit(130));
  process.once('SIGINT', end).once('SIGTERM', end);
  const rows: Row[] = [];
  const enrolment: EnrolmentRow[] = [];
  let emulation: number | undefined;
  const report = (): Report => ({
    seed,
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} cores of ${cpus()[0].model}, QEMU TCG, load ${loadavg()[1].toFixed(1)}`,
    emulation,
    rows,
    enrolment,
  });
  const save = () => {
    if (json && json !== '-') write(json, report());
  };
  try {
    const contestants = CONTESTANTS.filter(isChosen);
    if (contestants.length > 0) emulation = await emulationFactor(lab);
    for (const contestant of contestants) {
      const row = { name: contestant.subject.name, expected: contestant.expected, forks: [], failures: [] };
      rows.push(row);
      await prove(lab, contestant, row, forks, new SimulationRandom(seed), save);
      say(`${row.name}: ${JSON.stringify(byInstant(row))}`);
    }
    for (const candidate of CANDIDATES.filter(isChosen)) {
      const row = { name: candidate.subject.name, expected: candidate.expected, forks: [], failures: [] };
      enrolment.push(row);
      await proveEnrolment(lab, candidate, row, { forks, clones }, new SimulationRandom(seed), save);
    }
  } finally {
    await lab.close();
  }
  const finished = report();
  if (json) write(json, finished);
  if (json === '-') say(formatReport(finished));
  else process.stdout.write(formatReport(finished));
  const wrong = complaints(finished);
  for (const complaint of wrong) say(complaint);
  return wrong.length > 0 ? 1 : 0;
}

type Filled<R> = { -readonly [K in keyof R]: R[K] extends readonly (infer T)[] ? T[] : R[K] };

interface Forked {
  close(): Promise<void>;
}

/**
 * Makes forks of one machine, one by one. One in which something of the harness fails is counted, and a new machine takes over.
 */
async function forkAll<T extends Forked, R>(
  row: { readonly name: string; readonly forks: R[]; readonly failures: string[] },
  forks: number,
  start: () => Promise<T>,
  fork: (trial: T, i: number) => Promise<R>,
  describe: (i: number, result?: R) => string,
  save: () => void,
): Promise<void> {
  let trial: T | undefined;
  const begun = performance.now();
  try {
    for (let i = 0; i < forks; i++) {
      try {
        trial ??= await start();
        const result = await fork(trial, i);
        row.forks.push(result);
        const seconds = ((performance.now() - begun) / 1000 / (i + 1)).toFixed(1);
        say(`${row.name}, fork ${i + 1} of ${forks}, ${describe(i, result)} (${seconds} s a fork)`);
      } catch (error) {
        const failure = `${describe(i)}: ${(error as Error).message}`;
        row.failures.push(failure);
        say(`${row.name}, fork ${i + 1}, ${failure}`);
        await trial?.close();
        trial = undefined;
      }
      save();
    }
  } finally {
    await trial?.close();
  }
}

function prove(
  lab: VmLab,
  { subject, enough }: Contestant,
  row: Filled<Row>,
  forks: number,
  random: SimulationRandom,
  save: () => void,
): Promise<void> {
  return forkAll(
    row,
    forks,
    () => Trial.start(lab, subject),
    async (trial, i) => {
      const [instant, reach] = nth(i);
      return { instant, ...(await trial.fork(at => reach(at, () => random.next()), { enough })) };
    },
    (i, result) => (result ? `${result.instant}: ${result.reused} reused` : nth(i)[0]),
    save,
  );
}

/** Half of the forks are of a machine that has enrolled, half of one that is about to. */
function proveEnrolment(
  lab: VmLab,
  { subject, observeMs }: Candidate,
  row: Filled<EnrolmentRow>,
  { forks, clones }: { forks: number; clones: number },
  random: SimulationRandom,
  save: () => void,
): Promise<void> {
  return forkAll(
    row,
    forks,
    () => EnrolmentTrial.start(lab, subject),
    (trial, i) => trial.fork({ clones, observeMs, copied: COPIED[i % COPIED.length], moment: random.next() }),
    (i, result) => (result ? JSON.stringify(result) : COPIED[i % COPIED.length]),
    save,
  );
}

function nth(index: number) {
  const instants = Object.entries(INSTANTS);
  return instants[index % instants.length];
}

/** Each fork on a line of its own, times to tenths. */
function write(json: string, report: Report): void {
  const toTenths = (_: string, value: unknown) =>
    typeof value === 'number' ? Math.round(value * 10) / 10 : value;
  const text = `${JSON.stringify(report, toTenths, 1).replaceAll(/\n(?: {5,}| {4}(?=[}\]]))/g, ' ')}\n`;
  if (json === '-') process.stdout.write(text);
  else writeFileSync(json, text);
}

function readOptions(given: readonly string[]) {
  // `--json` alone stands for standard output.
  const args = given.flatMap((word, i) =>
    word === '--json' && (given[i + 1] ?? '--').startsWith('--') ? ['--json', '-'] : [word],
  );
  try {
    const { values } = parseArgs({
      args,
      options: {
        clones: { type: 'string', default: String(DEFAULT_CLONES) },
        forks: { type: 'string', default: String(DEFAULT_FORKS) },
        json: { type: 'string' },
        only: { type: 'string', multiple: true, default: [] },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const [clones, forks, seed] = [values.clones, values.forks, values.seed].map(Number);
    if (!Number.isInteger(clones) || clones < 2)
      throw new Error(`--clones wants two or more: ${values.clones}`);
    if (!Number.isInteger(forks) || forks < 1)
      throw new Error(`--forks wants a number of forks: ${values.forks}`);
    if (!Number.isInteger(seed)) throw new Error(`--seed wants a whole number: ${values.seed}`);
    if (values.help) {
      process.stdout.write(USAGE);
      return 0;
    }
    return { clones, forks, seed, json: values.json, only: values.only };
  } catch (error) {
    say(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
}
