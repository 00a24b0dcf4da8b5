// `npm run mutate`: breaks the safety code in every small way there is, and looks whether a test notices.
// Promises: exits with 1 if a mutant lives that equivalent.json does not know; says what it had no time for; keeps in
// whole.json which text of which file was mutated whole, and how that went.
// Read on: targets.ts (what), run.ts (how), changed.ts (since when), CONTRIBUTING.md "Mutants".

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { changedRanges, textId } from './changed.js';
import { type Run, mutate } from './run.js';
import { type Equivalent, type Mutant, describeMutant, hasSurvived, isSame } from './survivors.js';
import { TARGETS } from './targets.js';

const USAGE = `Usage: npm run mutate -- [--changed] [--minutes N] [FILE]...

  FILE         one of the files that are mutated; default all of them
  --changed    only the lines that have changed since their file was mutated whole
  --minutes N  stop after so long, and say what was left out; default never
`;

/** A file that was mutated whole: the name of its text in git, and what became of its mutants. */
interface Whole {
  readonly text: string;
  readonly killed: number;
  readonly equivalent: number;
}

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const WHOLE = `${ROOT}/test/mutation/whole.json`;
const say = (line: string) => void process.stdout.write(`${line}\n`);
const read = (path: string) => readFileSync(`${ROOT}/${path}`, 'utf8');
const whole = JSON.parse(read('test/mutation/whole.json')) as Record<string, Whole>;
const equivalents = JSON.parse(read('test/mutation/equivalent.json')) as Equivalent[];

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
process.exitCode = await main(process.argv.slice(2));

async function main(given: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: given,
    allowPositionals: true,
    options: {
      changed: { type: 'boolean', default: false },
      minutes: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const files = positionals.length > 0 ? TARGETS.filter(file => positionals.includes(file)) : TARGETS;
  const minutes = Number(values.minutes ?? Number.POSITIVE_INFINITY);
  if (values.help || files.length < positionals.length || !(minutes > 0)) {
    say(USAGE);
    return values.help ? 0 : 2;
  }
  const ranges = files.flatMap(file =>
    values.changed ? changedRanges(ROOT, file, whole[file]?.text) : [file],
  );
  if (ranges.length === 0) say('no line has changed since its file was mutated whole');
  const deadline = Date.now() + minutes * 60_000;
  const living: Mutant[] = [];
  for (const part of parts(ranges, values.changed)) {
    if (Date.now() >= deadline) {
      say(`NO TIME for any mutant of ${part.join(' ')}`);
      continue;
    }
    say(`mutating ${part.join(' ')}`);
    const run = await mutate(ROOT, part, deadline);
    report(run);
    living.push(...strangers(run));
    if (!values.changed && run.left === 0) record(part[0], run);
    if (run.left !== 0) say(`NO TIME for ${run.left ?? 'any'} of these mutants`);
  }
  for (const { file, original, mutated } of living) say(`LIVES in ${file}\n  - ${original}\n  + ${mutated}`);
  if (living.length > 0)
    say('Write the test that each of them fails, or say in equivalent.json why there is none.');
  return living.length > 0 ? 1 : 0;
}

/** What goes into one run: files one by one to be recorded, else all of a folder at once. */
function parts(ranges: readonly string[], isTogether: boolean): string[][] {
  const folder = (range: string) => range.slice(0, range.indexOf('/'));
  if (!isTogether) return ranges.map(range => [range]);
  return [...new Set(ranges.map(folder))].map(name => ranges.filter(range => folder(range) === name));
}

function survivors({ results }: Run): Mutant[] {
  return results.filter(hasSurvived).map(result => {
    const file = result.fileName.slice(ROOT.length).replace(/^\//, '');
    return describeMutant(file, read(file), result);
  });
}

function strangers(run: Run): Mutant[] {
  return survivors(run).filter(mutant => !equivalents.some(known => isSame(known, mutant)));
}

function report(run: Run): void {
  const count = (...statuses: string[]) =>
    run.results.filter(({ status }) => statuses.includes(status)).length;
  const living = survivors(run).length;
  say(
    `${count('Killed')} killed, ${count('Timeout')} ran for ever, ${living} lived, ${living - strangers(run).length} ` +
      `of them known to be equivalent; ${count('RuntimeError', 'CompileError')} were no programs, ${count('Ignored')} left alone`,
  );
}

/** Keeps what a run over a whole file has shown, if every survivor is known; says which of the known are there no more. */
function record(file: string, run: Run): void {
  const alive = survivors(run);
  const stale = equivalents.filter(
    known => known.file === file && !alive.some(mutant => isSame(mutant, known)),
  );
  for (const { original, mutated } of stale)
    say(`equivalent.json has what does not live any more: ${original} -> ${mutated}`);
  const text = textId(ROOT, file);
  if (strangers(run).length > 0 || text === undefined) return;
  const killed = run.results.filter(({ status }) => status === 'Killed' || status === 'Timeout').length;
  whole[file] = { text, killed, equivalent: alive.length };
  const sorted = Object.fromEntries(TARGETS.flatMap(name => (whole[name] ? [[name, whole[name]]] : [])));
  writeFileSync(WHOLE, `${JSON.stringify(sorted, null, 2)}\n`);
}
