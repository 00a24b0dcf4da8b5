// What is forked, in the order of the tables.

import { identityOf } from '../harness/identity.js';
import { type Enrollee, enrolling, keeping } from '../subjects/enrollee.js';
import type { Subject } from '../subjects/subject.js';
import {
  kernelWireguard,
  wireguardGo,
  wireonce,
  wireonceLockedDown,
  wireonceVmclock,
} from '../subjects/wg-interface.js';

export interface Contestant {
  readonly subject: Subject;
  /** What must come out for the run to prove anything: no reuse in any fork, reuse in some, or whatever it is. */
  readonly expected: 'none' | 'some' | 'any';
  /** A clone that has sent so many datagrams without a new handshake is not waited for any longer. */
  readonly enough: number;
}

/**
 * Safe if it is longer than the kernel's log line is late: 2 to 207 ms on an idle machine, and seconds in an emulated guest
 * on a busy one. So a run on a busy machine may show reuse here, and is no failure of the proof.
 */
const HOLD_BACK_MS = 1_500;

export const CONTESTANTS: readonly Contestant[] = [
  { subject: wireonce('wireonce (immediate)'), expected: 'none', enough: 5_000 },
  { subject: wireonceLockedDown, expected: 'none', enough: 5_000 },
  { subject: wireonceVmclock('driver'), expected: 'none', enough: 5_000 },
  { subject: wireonceVmclock('no driver'), expected: 'none', enough: 5_000 },
  { subject: wireonceVmclock('not looked at'), expected: 'some', enough: 3_000 },
  {
    subject: wireonce('wireonce (delayed: kmsg)', { settings: { ACPI: 'off', BPF: 'off' } }),
    expected: 'any',
    enough: 5_000,
  },
  {
    subject: wireonce('wireonce (delayed, holdBackMs)', {
      settings: { ACPI: 'off', BPF: 'off', HOLD_BACK_MS: String(HOLD_BACK_MS) },
    }),
    expected: 'any',
    enough: 5_000,
  },
  { subject: kernelWireguard, expected: 'any', enough: 5_000 },
  { subject: wireguardGo, expected: 'some', enough: 3_000 },
];

export interface Candidate {
  readonly subject: Enrollee;
  /** What must come out: that each clone comes under a key of its own, or that none does. */
  readonly expected: 'each its own' | 'all one';
  /** How long clones are waited for, in milliseconds. Of those that fight over one key hardly all ever come through. */
  readonly observeMs: number;
}

export const CANDIDATES: readonly Candidate[] = [
  { subject: enrolling, expected: 'each its own', observeMs: 120_000 },
  { subject: keeping(identityOf('a machine that keeps its key')), expected: 'all one', observeMs: 15_000 },
];
