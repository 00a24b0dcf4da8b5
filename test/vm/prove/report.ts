// The figures of a run, as a table and as JSON.

import type { EnrolmentFork } from '../harness/enrolment-trial.js';
import type { ForkResult, Instant } from '../harness/trial.js';

export interface ProvenFork extends ForkResult {
  readonly instant: string;
}

export interface Row {
  readonly name: string;
  readonly expected: 'none' | 'some' | 'any';
  readonly forks: readonly ProvenFork[];
  /** Attempts in which no comparison came about, with the reason. */
  readonly failures: readonly string[];
}

/** Clones that enrol, or as a control keep what they have. */
export interface EnrolmentRow {
  readonly name: string;
  readonly expected: 'each its own' | 'all one';
  readonly forks: readonly EnrolmentFork[];
  readonly failures: readonly string[];
}

export interface Report {
  readonly seed: number;
  readonly date: string;
  readonly machine: string;
  /** Milliseconds of a real processor for one of an emulated one; none where nothing was compared. */
  readonly emulation: number | undefined;
  readonly rows: readonly Row[];
  readonly enrolment: readonly EnrolmentRow[];
}

const COLUMNS = [
  'what is cloned',
  'forks',
  'packets/s',
  'batches cut',
  'with reuse',
  'reused nonces',
  'window, packets',
  'window, ms',
  'back after, ms',
] as const;

/** Of a run that knows how much slower its emulated processors were. */
const PROCESSOR_COLUMNS = ['processor until called, ms', 'processor until back, ms'] as const;

const ENROLMENT_COLUMNS = [
  'what is cloned',
  'forks',
  'clones',
  'admitted',
  'keys',
  'addresses',
  'pings came back',
  "under the parent's key",
  'reused nonces',
  'the original goes on',
  'first ping, ms',
] as const;

/** Tables in Markdown, and a line for each pair of ciphertexts that gave a plaintext away. */
export function formatReport({ rows, enrolment, seed, machine, date, emulation }: Report): string {
  const lines = [`${date}, ${machine}, seed ${seed}. Min / median / max per fork.`];
  if (rows.length > 0 && emulation === undefined) lines.push('', ...table(COLUMNS, rows.map(cells)));
  if (rows.length > 0 && emulation !== undefined) {
    lines.push(
      '',
      `The emulated processor is ${emulation.toFixed(1)} times slower than the real one; "processor" is divided by that.`,
      '',
      ...table(
        [...COLUMNS, ...PROCESSOR_COLUMNS],
        rows.map(row => [...cells(row), ...processorCells(row, emulation)]),
      ),
    );
  }
  if (enrolment.length > 0) lines.push('', ...table(ENROLMENT_COLUMNS, enrolment.map(enrolmentCells)));
  for (const { name, forks } of rows) {
    const recovered = forks.find(fork => fork.recovered !== undefined)?.recovered;
    if (recovered) lines.push('', `${name}: XOR of one pair gave "${recovered}"`);
  }
  for (const { name, failures } of [...rows, ...enrolment]) {
    if (failures.length > 0)
      lines.push('', `${name}: ${failures.length} attempts failed, first: ${failures[0]}`);
  }
  return `${lines.join('\n')}\n`;
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return [columns, columns.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`);
}

/** Reused nonces by the instant of the snapshot, for whoever wants to know where they come from. */
export function byInstant({
  forks,
}: Row): Record<string, { forks: number; withReuse: number; reused: number }> {
  const instants: Record<string, { forks: number; withReuse: number; reused: number }> = {};
  for (const { instant, reused } of forks) {
    const entry = (instants[instant] ??= { forks: 0, withReuse: 0, reused: 0 });
    entry.forks++;
    entry.reused += reused;
    if (reused > 0) entry.withReuse++;
  }
  return instants;
}

/** What does not hold in this run; empty when the proof stands. */
export function complaints({ rows, enrolment }: Report): string[] {
  const ofEnrolment = enrolment.flatMap(row => complaintsOfEnrolment(row));
  const ofForks = rows.flatMap(({ name, expected, forks, failures }) => {
    const reused = forks.filter(fork => fork.reused > 0).length;
    if (forks.length === 0) return [`${name}: no fork was compared`];
    if (failures.length > forks.length / 4) return [`${name}: ${failures.length} attempts failed`];
    if (expected === 'none' && reused > 0) return [`${name}: nonces were used twice in ${reused} forks`];
    if (expected === 'some' && reused === 0)
      return [`${name}: no reuse, so this run could not have seen any`];
    return [];
  });
  return [...ofForks, ...ofEnrolment];
}

function complaintsOfEnrolment({ name, expected, forks, failures }: EnrolmentRow): string[] {
  if (forks.length === 0) return [`${name}: no fork was compared`];
  if (failures.length > forks.length / 4) return [`${name}: ${failures.length} attempts failed`];
  return forks.flatMap(fork => {
    const { clones, admitted, keys, addresses, pinged, originalGoesOn } = fork;
    const own = [admitted, keys, addresses, pinged];
    const harm = fork.underParentKey + fork.reused + fork.repeatedEphemerals;
    if (expected === 'all one')
      return keys > 1 || fork.underParentKey === 0 ? [`${name}: clones did not come under one key`] : [];
    if (harm > 0) return [`${name}: a clone used what is not its own: ${JSON.stringify(fork)}`];
    return own.every(count => count === clones) && originalGoesOn
      ? []
      : [`${name}: not everybody came: ${JSON.stringify(fork)}`];
  });
}

function cells({ name, forks }: Row): string[] {
  const clones = forks.flatMap(fork => fork.clones);
  const windows = forks.map(fork => Math.max(...fork.clones.map(clone => clone.sentUnderOldKeys)));
  const times = forks.map(fork => Math.max(...fork.clones.map(clone => clone.windowMs)));
  const back = clones.flatMap(clone => clone.recoveredMs ?? []);
  const missing = clones.length - back.length;
  return [
    name,
    String(forks.length),
    spread(forks.map(fork => fork.packetsPerSecond)),
    cut(forks),
    String(forks.filter(fork => fork.reused > 0).length),
    spread(forks.map(fork => fork.reused)),
    spread(windows),
    spread(times),
    `${spread(back)}${missing > 0 ? ` (${missing} of ${clones.length} clones: not while watched)` : ''}`,
  ];
}

function processorCells({ forks }: Row, emulation: number): string[] {
  const clones = forks.flatMap(fork => fork.clones);
  const real = (instants: readonly (Instant | undefined)[]) =>
    spread(
      instants.filter(instant => instant !== undefined).map(({ processorMs }) => processorMs / emulation),
      1,
    );
  return [real(clones.map(({ called }) => called)), real(clones.map(({ recovered }) => recovered))];
}

function enrolmentCells({ name, forks }: EnrolmentRow): string[] {
  const sum = (of: (fork: EnrolmentFork) => number) =>
    String(forks.reduce((total, fork) => total + of(fork), 0));
  return [
    name,
    String(forks.length),
    sum(({ clones }) => clones),
    sum(({ admitted }) => admitted),
    sum(({ keys }) => keys),
    sum(({ addresses }) => addresses),
    sum(({ pinged }) => pinged),
    sum(({ underParentKey }) => underParentKey),
    sum(({ reused }) => reused),
    `${sum(({ originalGoesOn }) => Number(originalGoesOn))} of ${forks.length}`,
    spread(forks.flatMap(({ firstPingMs }) => firstPingMs)),
  ];
}

/** In how many forks the snapshot fell between the begin of a batch and its release. */
function cut(forks: readonly ProvenFork[]): string {
  const known = forks.filter(({ clones }) => clones.every(({ discarded }) => discarded !== undefined));
  const wereCut = known.filter(({ clones }) => clones.some(({ discarded = 0 }) => discarded > 0));
  return known.length > 0 ? `${wereCut.length} of ${known.length}` : '-';
}

function spread(values: readonly number[], digits = 0): string {
  if (values.length === 0) return '-';
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor((sorted.length - 1) / 2)];
  return [sorted[0], middle, sorted[sorted.length - 1]].map(value => value.toFixed(digits)).join(' / ');
}
