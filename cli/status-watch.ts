// `wireonce status --watch`: the status again and again, with what has changed marked and rates beside the totals.
// Promises: a daemon that is restarted is waited for, and that is said; ends with 0 at a signal, the terminal as it was.
// Read on: status-feed.ts, status-text.ts, screen.ts.

import { type SeenStatus, ratesOf } from '../tunnel/daemon/status-picture.js';
import { CliError } from './errors.js';
import { type CliIo, printJson } from './io.js';
import { type PictureLine, screenOf } from './screen.js';
import { type FeedOptions, firstAnswers, statusFeed } from './status-feed.js';
import { statusLines } from './status-text.js';
import { printError } from './trouble.js';

export interface StatusOptions extends FeedOptions {
  readonly json?: boolean;
}

/** Watches until the signal. Throws as `status` does when nobody answers at the start. */
export async function watchStatus(io: CliIo, everyS: number, options: StatusOptions): Promise<number> {
  const screen = options.json ? undefined : screenOf(io);
  const seen = new Map<string, SeenStatus>();
  const marks = new Marks();
  const waitingFor = new Set<string>();
  try {
    const first = await firstAnswers(options, io.signal);
    if (!first) return 0;
    for await (const { at, now, interfaces } of statusFeed(everyS, options, io.signal, first)) {
      const picture: string[] = [];
      for (const state of interfaces) {
        const { name } = state;
        if (picture.length > 0) picture.push('');
        if ('waiting' in state) {
          picture.push(`interface: ${name}`, `  waiting: ${state.waiting}`);
          // Said once: whoever reads lines wants one each time that there is something new.
          if (options.json && !waitingFor.has(name)) printError(waits(state.waiting), io);
          waitingFor.add(name);
          continue;
        }
        waitingFor.delete(name);
        const one = { status: state.status, at };
        if (options.json) printJson(io.stdout, state.status);
        picture.push(...statusLines(state.status, now, ratesOf(one, seen.get(name))));
        seen.set(name, one);
      }
      screen?.draw(`wireonce status, every ${everyS} s: ${new Date(now).toISOString()}`, marks.mark(picture));
    }
    return 0;
  } finally {
    screen?.close();
  }
}

function waits(problem: string): CliError {
  return new CliError('ERR_CLI_NO_DAEMON', `${problem}; waiting for it`);
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
