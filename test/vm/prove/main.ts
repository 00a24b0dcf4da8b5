// `npm run prove`: real machines forked under load, and what their clones send, compared.
// Promises: exits with 1 if wireonce with an immediate source used a nonce twice, or if the control found no reuse: a
// proof that cannot fail shows nothing; with 3 where there can be no machines. Ends its machines on every way out.
// Read on: contestants.ts (who), ../harness/instants.ts (when), ../harness/trial.ts (how), docs/proof.md (figures).

import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { SimulationRandom } from '../../support/simulation-random.js';
import { INSTANTS } from '../harness/instants.js';
import { VmLab } from '../harness/lab.js';
import { Trial } from '../harness/trial.js';
import { VmUnavailableError } from '../harness/unavailable.js';
import { CONTESTANTS, type Contestant } from './contestants.js';
import { byInstant, complaints, formatReport, type Report, type Row } from './report.js';

const USAGE = `Usage: npm run prove -- [--forks N] [--json [FILE]] [--only NAME]... [--seed N]

  --forks N      real forks of each contestant, default one at each instant
  --json [FILE]  write every fork as JSON, to FILE or to standard output; the table is then on standard error
  --only NAME    one whose name contains this; may be given more than once
  --seed N       when snapshots are taken, default drawn and printed
`;

const DEFAULT_FORKS = Object.keys(INSTANTS).length;

const say = (line: string) => process.stderr.write(`${line}\n`);
process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  if (!(error instanceof VmUnavailableError)) throw error;
  say(`no virtual machines here: ${error.message}`);
  return 3;
});

async function main(given: readonly string[]): Promise<number> {
  const options = readOptions(given);
  if (typeof options === 'number') return options;
  const { forks, json, only, seed } = options;
  const chosen = CONTESTANTS.filter(
    ({ subject }) => only.length === 0 || only.some(part => subject.name.includes(part)),
  );
  say(`seed ${seed}`);
  const lab = await VmLab.open();
  const end = () => void lab.close().then(() => process.exit(130));
  process.once('SIGINT', end).once('SIGTERM', end);
  const rows: Row[] = [];
  const report = (): Report => ({
    seed,
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} cores of ${cpus()[0].model}, QEMU TCG, load ${loadavg()[1].toFixed(1)}`,
    rows,
  });
  try {
    for (const contestant of chosen) {
      const row = { name: contestant.subject.name, expected: contestant.expected, forks: [], failures: [] };
      rows.push(row);
      await prove(lab, contestant, row, forks, new SimulationRandom(seed), () => {
        if (json && json !== '-') write(json, report());
      });
      say(`${row.name}: ${JSON.stringify(byInstant(row))}`);
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

/** Fills a row. A fork in which something of the harness fails is counted, and a new machine takes over. */
async function prove(
  lab: VmLab,
  { subject, enough }: Contestant,
  row: { -readonly [K in keyof Row]: Row[K] extends readonly (infer T)[] ? T[] : Row[K] },
  forks: number,
  random: SimulationRandom,
  save: () => void,
): Promise<void> {
  let trial: Trial | undefined;
  const begun = performance.now();
  try {
    for (let i = 0; i < forks; i++) {
      const [instant, reach] = nth(i);
      try {
        trial ??= await Trial.start(lab, subject);
        const result = await trial.fork(at => reach(at, () => random.next()), { enough });
        row.forks.push({ instant, ...result });
        const seconds = ((performance.now() - begun) / 1000 / (i + 1)).toFixed(1);
        say(
          `${subject.name}, fork ${i + 1} of ${forks}, ${instant}: ${result.reused} reused (${seconds} s a fork)`,
        );
      } catch (error) {
        row.failures.push(`${instant}: ${(error as Error).message}`);
        say(`${subject.name}, fork ${i + 1}, ${instant}: ${(error as Error).message}`);
        await trial?.close();
        trial = undefined;
      }
      save();
    }
  } finally {
    await trial?.close();
  }
}

function nth(index: number) {
  const instants = Object.entries(INSTANTS);
  return instants[index % instants.length];
}

function write(json: string, report: Report): void {
  const text = `${JSON.stringify(report, null, 1)}\n`;
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
        forks: { type: 'string', default: String(DEFAULT_FORKS) },
        json: { type: 'string' },
        only: { type: 'string', multiple: true, default: [] },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const [forks, seed] = [Number(values.forks), Number(values.seed)];
    if (!Number.isInteger(forks) || forks < 1)
      throw new Error(`--forks wants a number of forks: ${values.forks}`);
    if (!Number.isInteger(seed)) throw new Error(`--seed wants a whole number: ${values.seed}`);
    if (values.help) {
      process.stdout.write(USAGE);
      return 0;
    }
    return { forks, seed, json: values.json, only: values.only };
  } catch (error) {
    say(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
}
