// `wireonce status --watch`: the status again and again, with what has changed marked and rates beside the totals.
// Promises: a daemon that is restarted is waited for, and that is said; ends with 0 at a signal, the terminal as it was.
// Read on: status.ts, status-text.ts, screen.ts.

import { setTimeout as sleep } from 'node:timers/promises';
import type { DeviceStatus } from '../tunnel/daemon/status.js';
import { type Answer, type AskOptions, askAll, isSomebodyElses, nobodyAnswers } from './ask-daemon.js';
import { CliError } from './errors.js';
import { type CliIo, printJson } from './io.js';
import { type PictureLine, screenOf } from './screen.js';
import { type Rates, statusLines } from './status-text.js';
import { printError } from './trouble.js';

export const WATCH_EVERY_S = 2;

export interface StatusOptions extends AskOptions {
  readonly json?: boolean;
  /** Wall-clock milliseconds. */
  readonly now?: () => number;
}

interface Seen {
  readonly status: DeviceStatus;
  /** Monotonic milliseconds. */
  readonly at: number;
}

/** Watches until the signal. Throws as `status` does when nobody answers at the start. */
export async function watchStatus(io: CliIo, everyS: number, options: StatusOptions): Promise<number> {
  const screen = options.json ? undefined : screenOf(io);
  const seen = new Map<string, Seen>();
  const marks = new Marks();
  const waitingFor = new Set<string>();
  try {
    for (let isFirst = true; ; isFirst = false) {
      const answers = await unlessAborted(io.signal, askAll(options));
      if (!answers) return 0;
      if (isFirst && !answers.some(({ status }) => status !== undefined))
        throw nobodyAnswers(answers, options);
      const at = performance.now();
      const picture: string[] = [];
      for (const { name, status, error } of answers.filter(each => isOfInterest(each, seen))) {
        if (status === undefined) {
          picture.push(
            ...(picture.length > 0 ? [''] : []),
            `interface: ${name}`,
            `  waiting: ${(error as Error).message}`,
          );
          // Said once: whoever reads lines wants one each time that there is something new.
          if (options.json && !waitingFor.has(name)) printError(waits(error as Error), io);
          waitingFor.add(name);
          continue;
        }
        waitingFor.delete(name);
        if (options.json) printJson(io.stdout, status);
        const lines = statusLines(status, (options.now ?? Date.now)(), ratesOf(status, at, seen.get(name)));
        picture.push(...(picture.length > 0 ? [''] : []), ...lines);
        seen.set(name, { status, at });
      }
      const time = new Date((options.now ?? Date.now)()).toISOString();
      screen?.draw(`wireonce status, every ${everyS} s: ${time}`, marks.mark(picture));
      await sleep(1_000 * everyS, undefined, { signal: io.signal }).catch(() => undefined);
      if (io.signal.aborted) return 0;
    }
  } finally {
    screen?.close();
  }
}

/** Another implementation, or a dead socket, of which nothing was seen yet is nobody to wait for. */
function isOfInterest({ name, error }: Answer, seen: ReadonlyMap<string, Seen>): boolean {
  return error === undefined || seen.has(name) || !isSomebodyElses(error);
}

function waits(error: Error): CliError {
  return new CliError('ERR_CLI_NO_DAEMON', `${error.message}; waiting for it`, { cause: error });
}

/** Bytes a second since the status before; none where counters began anew. */
function ratesOf(status: DeviceStatus, at: number, before: Seen | undefined): Rates {
  const rates = new Map<string, { rx: number; tx: number }>();
  if (!before || status.uptimeMs < before.status.uptimeMs) return rates;
  const seconds = Math.max(at - before.at, 1) / 1_000;
  const then = new Map(before.status.peers.map(peer => [peer.publicKey, peer]));
  for (const { publicKey, rxBytes, txBytes } of status.peers) {
    const last = then.get(publicKey);
    if (!last || rxBytes < last.rxBytes || txBytes < last.txBytes) continue;
    rates.set(publicKey, { rx: (rxBytes - last.rxBytes) / seconds, tx: (txBytes - last.txBytes) / seconds });
  }
  return rates;
}

/** Of these something else stands there each time. */
const EVER_NEW = /^ {2}(?:running|latest handshake|enrolled):/;

/** Which lines are others than in the picture before: by their label, in their block. */
class Marks {
  #before: ReadonlyMap<string, string> | undefined;

  mark(lines: readonly string[]): PictureLine[] {
    const now = new Map<string, string>();
    let block = '';
    const marked = lines.map(text => {
      const isLabelled = text.startsWith('  ');
      if (!isLabelled) block = text;
      const [label] = isLabelled ? text.split(':', 1) : [text];
      let key = `${block}\n${label}`;
      while (now.has(key)) key += '\n';
      now.set(key, text);
      const isNew =
        text !== '' && this.#before !== undefined && this.#before.get(key) !== text && !EVER_NEW.test(text);
      return { text: isNew && isLabelled ? `*${text.slice(1)}` : text, isNew };
    });
    this.#before = now;
    return marked;
  }
}

async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  work.catch(() => undefined);
  if (signal.aborted) return undefined;
  let stop: () => void = () => {};
  const aborted = new Promise<undefined>(resolve => {
    stop = () => resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
