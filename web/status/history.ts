// What a page remembers of the pictures it was shown: throughput over the last minutes, and what is new in
// each.
// Promises: of bounded size, however long the page is open; where nothing is known there is a gap and no
// line.
// Read on: tunnel/daemon/status-picture.ts (the pictures); news.ts (what is new).

import {
  type InterfaceState,
  type Rate,
  type Rates,
  type SeenStatus,
  type StatusPicture,
  ratesOf,
} from '../../tunnel/daemon/status-picture.js';
import type { DeviceStatus } from '../../tunnel/daemon/status.js';
import { newsOf } from './news.js';

/** As long as throughput is remembered. */
export const WINDOW_MS = 300_000;
/** As often, for who has pictures many times a second. */
const MOST_SAMPLES = 600;

/** Bytes a second of all peers together; null while it is not known. */
export interface Sample {
  /** Monotonic milliseconds. */
  readonly at: number;
  readonly rate: Rate | null;
}

/** One interface, as the page shows it. */
export interface InterfaceView {
  readonly name: string;
  /** The last that is known. */
  readonly status: DeviceStatus | undefined;
  /** Why there is no newer one; undefined while there is. */
  readonly waiting: string | undefined;
  /** Of each peer. */
  readonly rates: Rates;
  readonly samples: readonly Sample[];
}

export interface View {
  readonly at: number;
  readonly now: number;
  readonly interfaces: readonly InterfaceView[];
  /** In sentences: for the interfaces that were there before. */
  readonly news: readonly string[];
}

interface Remembered {
  readonly state: InterfaceState;
  readonly seen: SeenStatus | undefined;
  readonly samples: readonly Sample[];
}

export class History {
  #known = new Map<string, Remembered>();

  push({ at, now, interfaces }: StatusPicture): View {
    const news: string[] = [];
    const known = new Map<string, Remembered>();
    const views = interfaces.map((state): InterfaceView => {
      const before = this.#known.get(state.name);
      if (before) news.push(...newsOf(before.state, state));
      const seen = 'status' in state ? { status: state.status, at } : before?.seen;
      // After a gap the bytes of the gap are nobody's throughput of now.
      const last = before && 'status' in before.state ? before.seen : undefined;
      const rates: Rates = 'status' in state ? ratesOf({ status: state.status, at }, last) : new Map();
      const isKnown =
        'status' in state && last !== undefined && state.status.uptimeMs >= last.status.uptimeMs;
      const samples = [...(before?.samples ?? []), { at, rate: isKnown ? sum(rates) : null }]
        .filter(sample => at - sample.at <= WINDOW_MS)
        .slice(-MOST_SAMPLES);
      known.set(state.name, { state, seen, samples });
      const waiting = 'waiting' in state ? state.waiting : undefined;
      return { name: state.name, status: seen?.status, waiting, rates, samples };
    });
    this.#known = known;
    return { at, now, interfaces: views, news };
  }
}

function sum(rates: Rates): Rate {
  let rx = 0;
  let tx = 0;
  for (const rate of rates.values()) {
    rx += rate.rx;
    tx += rate.tx;
  }
  return { rx, tx };
}
