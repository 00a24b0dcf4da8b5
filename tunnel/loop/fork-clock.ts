// A wall clock that a fork does not leave behind. A clone's system clock goes on from the snapshot until somebody sets it,
// and a peer that has heard from a sibling meanwhile takes its handshakes for replays.
// Promises: before a fork, and where no hardware clock can be trusted, the system's own; never behind it; the hardware is
// asked once per fork, when the time is wanted.
// Read on: WireGuard paper 5.1 (the timestamp); Linux Documentation/admin-guide/rtc.rst.

import { readFileSync } from 'node:fs';
import type { Clock } from '../../sessions/ports.js';
import type { ForkGuard } from '../../vmgenid/driver.js';
import { systemClock } from '../clock.js';

/** What such a clock is made of. */
export interface ForkClockOptions {
  /** Tells of forks. */
  readonly vmgenid: Pick<ForkGuard, 'register'>;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Milliseconds since 1970 by a clock that runs while the machine does not, or undefined. Default: `readRtc`. */
  readonly readHardware?: () => number | undefined;
}

const RTC = '/sys/class/rtc/rtc0/since_epoch';

/**
 * Further apart at the start, the hardware clock is wrong or shows local time, and is left alone: a time that lies in the
 * future would have peers refuse every handshake until it has come. Milliseconds.
 */
const TRUSTED_WITHIN_MS = 60_000;

/** The hardware clock counts whole seconds: closer than that the two agree. Milliseconds. */
const AGREES_WITHIN_MS = 2_000;

/** A wall clock that a fork does not leave behind. */
export class ForkClock implements Clock {
  readonly #clock: Clock;
  readonly #readHardware: (() => number | undefined) | undefined;
  readonly #unregister: () => void;
  #forked = false;
  /** What the wall clock is at least, when the monotonic one is added. */
  #base = Number.NEGATIVE_INFINITY;

  /** Compares the two clocks once: make it when the program starts. */
  constructor(options: ForkClockOptions) {
    const { vmgenid, clock = systemClock, readHardware = readRtc } = options;
    this.#clock = clock;
    const hardware = readHardware();
    const trusted = hardware !== undefined && Math.abs(hardware - clock.wallClock()) <= TRUSTED_WITHIN_MS;
    if (trusted) this.#readHardware = readHardware;
    // Before sessions make their next handshake.
    this.#unregister = vmgenid.register('randomness', () => void (this.#forked = true), { name: 'clock' });
  }

  now(): number {
    return this.#clock.now();
  }

  wallClock(): number {
    if (this.#forked) this.#compare();
    return Math.max(this.#clock.wallClock(), this.#base + this.#clock.now());
  }

  /** Milliseconds by which the system's clock is behind, as far as the hardware clock tells. 0: it is not. */
  get behindMs(): number {
    return this.wallClock() - this.#clock.wallClock();
  }

  /** Leaves the notifier chain. */
  close(): void {
    this.#unregister();
  }

  #compare(): void {
    this.#forked = false;
    const hardware = this.#readHardware?.();
    if (hardware === undefined || hardware - this.wallClock() < AGREES_WITHIN_MS) return;
    this.#base = hardware - this.#clock.now();
  }
}

/** The hardware clock of a Linux machine, in milliseconds since 1970; undefined where there is none. */
export function readRtc(path: string = RTC): number | undefined {
  try {
    const seconds = Number(readFileSync(path, 'latin1'));
    return Number.isSafeInteger(seconds) && seconds > 0 ? seconds * 1_000 : undefined;
  } catch {
    return undefined;
  }
}
