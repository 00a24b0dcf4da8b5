// The full load on a way from one namespace to another: a program that sends, and one that receives and checks.
// Promises: both are ended by `closeMachines`, or with the process of the tests. One that has ended or complained by
// itself makes the next question fail.
// Read on: load/source.mjs, load/sink.mjs, load/check.mjs (what is counted).

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { until } from '../../support/run.js';
import { atEnd } from './machine.js';

/** What a sender of the controls does wrong. */
export type Harm = 'twice' | 'late' | 'corrupt';

/** What is sent to an address and port. `segments`: datagrams that enter and leave the system many at a time. */
export interface Flow {
  readonly kind: 'stream' | 'datagrams' | 'segments';
  /** In the records, 0 to 65,535. */
  readonly flow: number;
  readonly address: string;
  readonly port: number;
  readonly harm?: Harm;
}

/** Of a flow, since the start. */
export interface Counts {
  readonly bytes: number;
  /** Datagrams, or blocks of a stream. */
  readonly records: number;
  readonly lost: number;
  /** Delivered once more. */
  readonly twice: number;
  /** Delivered after one that was sent later. */
  readonly late: number;
  /** Not as it was sent. In a stream also what is missing, doubled or out of order. */
  readonly corrupt: number;
}

export interface Report {
  /** By the clock of the receiver. */
  readonly atMs: number;
  /** In the order of the flows. */
  readonly flows: readonly Counts[];
}

/** Flows of each kind to each address, every one to a port of its own. */
export function flowsTo(...addresses: readonly string[]): Flow[] {
  const kinds = ['stream', 'datagrams', 'segments'] as const;
  return kinds
    .flatMap(kind => addresses.map(address => ({ kind, address })))
    .map((each, i) => ({ ...each, flow: i, port: 6_000 + i }));
}

/** A program of `load/` in a namespace, and the last line that it has said. */
class Program {
  readonly #name: string;
  readonly #child: ChildProcess;
  #said = '';
  #complaints = '';

  constructor(name: string, namespace: string, flows: readonly Flow[]) {
    this.#name = name;
    const path = fileURLToPath(new URL(`./load/${name}.mjs`, import.meta.url));
    const program = [process.execPath, '--no-deprecation', path, JSON.stringify(flows)];
    this.#child = spawn('ip', ['netns', 'exec', namespace, 'setpriv', '--pdeathsig', 'KILL', ...program], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    atEnd(() => this.end());
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      // The last line that is whole, and what follows it.
      this.#said = /[^\n]*\n[^\n]*$/.exec(this.#said + text)?.[0] ?? this.#said + text;
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#complaints += text));
  }

  lastLine(): string | undefined {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null || this.#complaints !== '') {
      throw new Error(`the ${this.#name}, ${exitCode ?? signalCode ?? 'running'}: ${this.#complaints}`);
    }
    return /^(.*)\n/.exec(this.#said)?.[1];
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}

export class Load {
  readonly flows: readonly Flow[];
  readonly #sink: Program;
  readonly #source: Program;

  private constructor(flows: readonly Flow[], sink: Program, source: Program) {
    this.flows = flows;
    this.#sink = sink;
    this.#source = source;
  }

  /** Resolves with the first report. `to`: where the sender sends them, if not where they are received. */
  static async start(from: string, into: string, flows: readonly Flow[], to = flows): Promise<Load> {
    const sink = new Program('sink', into, flows);
    await until('the receiver', () => sink.lastLine() === 'ready');
    const load = new Load(flows, sink, new Program('source', from, to));
    await until('a report', () => sink.lastLine() !== 'ready');
    return load;
  }

  /** At most a second old. Throws when a program has ended or complained. */
  report(): Report {
    this.#source.lastLine();
    return JSON.parse(this.#sink.lastLine() ?? '') as Report;
  }

  end(): void {
    this.#source.end();
    this.#sink.end();
  }
}

/** Of many flows, count by count. */
export function total(flows: readonly Counts[]): Counts {
  const sum = (read: (counts: Counts) => number) => flows.reduce((before, each) => before + read(each), 0);
  return {
    bytes: sum(({ bytes }) => bytes),
    records: sum(({ records }) => records),
    lost: sum(({ lost }) => lost),
    twice: sum(({ twice }) => twice),
    late: sum(({ late }) => late),
    corrupt: sum(({ corrupt }) => corrupt),
  };
}
