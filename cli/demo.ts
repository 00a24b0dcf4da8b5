// `wireonce demo`: a machine is cloned in mid-flight: without protection, with it, and with a key for every clone.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { fastestSuite } from '../protocol/suites/fastest.js';
import { CliError } from './errors.js';
import { type CliIo, type Finish, printLine } from './io.js';
import { type EnrolmentResult, runEnrolment } from './demo/enrolment.js';
import { refusePort, parsePort, showPage } from './page.js';
import { CLONE_SAYS, type ForkResult, type Tell, runFork } from './demo/scenario.js';

const MOST_FORKS = 1_000;

export interface DemoReport {
  readonly unguarded: {
    readonly datagrams: number;
    readonly reusedNonces: number;
    readonly recovered: string;
  };
  readonly guarded: {
    readonly datagrams: number;
    readonly reusedNonces: number;
    readonly wipedKeypairs: number;
    readonly newHandshakes: number;
  };
  readonly enrolled: EnrolmentResult;
  readonly forks: number;
}

export interface DemoOptions {
  readonly forks: number;
  readonly json: boolean;
  readonly write: (text: string) => void;
  readonly colour: boolean;
  readonly signal?: AbortSignal;
}

/** Whether the demonstration showed what it is for: harm without protection, none with it, and no clone like another. */
export function demonstrates({ unguarded, guarded, enrolled, forks }: DemoReport): boolean {
  return (
    unguarded.reusedNonces > 0 &&
    unguarded.recovered === CLONE_SAYS[1].trimEnd() &&
    guarded.reusedNonces === 0 &&
    guarded.newHandshakes >= 2 * forks &&
    enrolled.clones >= 2 * forks &&
    [enrolled.keys, enrolled.addresses, enrolled.reached].every(count => count === enrolled.clones) &&
    enrolled.underParentKey === 0 &&
    enrolled.reusedNonces === 0
  );
}

/** Runs all acts `forks` times, at other fork points, and reports. Throws `ERR_CLI_INTERRUPTED` at the signal. */
export async function demo({ forks, json, write, colour, signal }: DemoOptions): Promise<DemoReport> {
  const suite = await fastestSuite();
  const paint = (code: number, text: string) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const start = performance.now();
  const say = (text: string) => json || write(`${text}\n`);
  const tell: Tell = (who, what) => {
    const at = `${(performance.now() - start).toFixed(0).padStart(6)} ms`;
    say(`${paint(2, at)}  ${paint(36, who.padEnd(8))} ${what}`);
  };

  const eachFork = async <T>(title: string, act: (packetsBefore: number) => Promise<T>): Promise<T[]> => {
    const results: T[] = [];
    say(paint(1, title));
    for (let i = 0; i < forks; i++) {
      if (signal?.aborted) throw new CliError('ERR_CLI_INTERRUPTED', 'interrupted');
      if (forks > 1) say(paint(2, `fork ${i + 1} of ${forks}`));
      results.push(await act(2 + 3 * i));
    }
    return results;
  };
  const unguarded = await eachFork('Without protection', async packetsBefore => {
    const result = await runFork({ guarded: false, packetsBefore, suite, tell });
    tellUnguarded(result, tell, text => paint(31, text));
    return result;
  });
  const guarded = await eachFork('\nWith protection', async packetsBefore => {
    const result = await runFork({ guarded: true, packetsBefore, suite, tell });
    tellGuarded(result, tell);
    return result;
  });
  const enrolled = await eachFork('\nWith a key for every clone', async packetsBefore => {
    const result = await runEnrolment({ packetsBefore, suite, tell });
    tellEnrolled(result, tell);
    return result;
  });
  const sum = <K extends string>(results: readonly Readonly<Record<K, number>>[], field: K) =>
    results.reduce((total, result) => total + result[field], 0);
  const report: DemoReport = {
    unguarded: {
      datagrams: sum(unguarded, 'datagrams'),
      reusedNonces: sum(unguarded, 'reusedNonces'),
      recovered: unguarded.find(result => result.recovered)?.recovered ?? '',
    },
    guarded: {
      datagrams: sum(guarded, 'datagrams'),
      reusedNonces: sum(guarded, 'reusedNonces'),
      wipedKeypairs: sum(guarded, 'wipedKeypairs'),
      newHandshakes: sum(guarded, 'newHandshakes'),
    },
    enrolled: {
      clones: sum(enrolled, 'clones'),
      keys: sum(enrolled, 'keys'),
      addresses: sum(enrolled, 'addresses'),
      reached: sum(enrolled, 'reached'),
      underParentKey: sum(enrolled, 'underParentKey'),
      datagrams: sum(enrolled, 'datagrams'),
      reusedNonces: sum(enrolled, 'reusedNonces'),
    },
    forks,
  };
  if (json) write(`${JSON.stringify(report)}\n`);
  else summarise(report, say, paint);
  return report;
}

function tellUnguarded(result: ForkResult, tell: Tell, alarm: (text: string) => string): void {
  tell('wire', alarm(`${result.reusedNonces} pairs of different datagrams under one key and counter`));
  if (result.recovered) {
    tell('wire', 'XOR of a pair, and a guess at what clone A said, give what clone B said:');
    tell('wire', alarm(`"${result.recovered}"`));
  }
}

function tellGuarded(result: ForkResult, tell: Tell): void {
  tell('clones', `saw a new generation, wiped ${result.wipedKeypairs} keypairs, sent nothing under them`);
  tell(
    'clones',
    `${result.newHandshakes} new handshakes, ${result.answered} packets delivered under new keys`,
  );
  tell('wire', `${result.reusedNonces} datagrams under a key and counter used before`);
}

function tellEnrolled(result: EnrolmentResult, tell: Tell): void {
  const { clones, keys, addresses, reached, underParentKey } = result;
  tell(
    'gateway',
    `admitted ${clones} clones with ${keys} keys; reached ${reached} at ${addresses} addresses of their own`,
  );
  tell('gateway', `${underParentKey} sessions under the key of their parent`);
}

function summarise(
  report: DemoReport,
  say: (text: string) => unknown,
  paint: (code: number, text: string) => string,
): void {
  const { unguarded, guarded, enrolled, forks } = report;
  say('');
  say(`${forks} ${forks === 1 ? 'fork' : 'forks'}   datagrams   nonces reused`);
  say(
    `without   ${String(unguarded.datagrams).padStart(8)}   ${paint(31, String(unguarded.reusedNonces).padStart(13))}`,
  );
  say(
    `with      ${String(guarded.datagrams).padStart(8)}   ${paint(32, String(guarded.reusedNonces).padStart(13))}`,
  );
  say(
    `enrolled  ${String(enrolled.datagrams).padStart(8)}   ${paint(32, String(enrolled.reusedNonces).padStart(13))}` +
      `   ${enrolled.clones} clones, ${enrolled.keys} keys, ${enrolled.reached} reached at their own address`,
  );
  if (!demonstrates(report)) say(paint(31, 'This is not what should have happened.'));
}

export function registerDemo(program: Command, io: CliIo, finish: Finish): void {
  program
    .command('demo')
    .description('clone a machine in mid-flight: without protection, with it, and with a key for every clone')
    .option('--json', 'print one object', false)
    .option('--forks <n>', 'repeat with other fork points', parseForks, 1)
    .addOption(new Option('--web', 'as a page in your browser, on loopback').conflicts(['json', 'forks']))
    .option('--port <n>', 'of the page; default one that is free', parsePort)
    .option('--no-open', 'print the address of the page, and open no browser')
    .action(async ({ json, forks, web, port, open }: Given) => {
      if (web) {
        const { serveDemonstration } = await import('../web/server/demonstration.js');
        await showPage(await serveDemonstration({ port }).catch(refusePort), { open }, io);
        return;
      }
      const terminal = 'isTTY' in io.stdout && io.stdout.isTTY === true;
      const report = await demo({
        json,
        forks,
        colour: terminal && !io.env['NO_COLOR'],
        write: text => io.stdout.write(text),
        signal: io.signal,
      });
      if (!json) for (const line of nextSteps(io.env)) printLine(io.stdout, line);
      finish(demonstrates(report) ? 0 : 1);
    });
}

/** By the name that this is called by: `npm start` has nothing installed. */
function nextSteps(env: NodeJS.ProcessEnv): string[] {
  const name = env['npm_lifecycle_event'] === 'start' ? 'node dist/cli/main.js' : 'wireonce';
  return [
    '',
    `to see it, as a page:        ${name} demo --web`,
    `what this machine would see: ${name} vmgenid status`,
  ];
}

interface Given {
  readonly json: boolean;
  readonly forks: number;
  readonly web?: boolean;
  readonly port?: number;
  readonly open: boolean;
}

function parseForks(text: string): number {
  const forks = Number(text);
  if (!Number.isInteger(forks) || forks < 1 || forks > MOST_FORKS) {
    throw new InvalidArgumentError(`It takes a whole number from 1 to ${MOST_FORKS}.`);
  }
  return forks;
}
