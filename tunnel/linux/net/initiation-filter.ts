// A filter in the kernel that thins out a flood of initiations: what it drops costs this thread nothing, and takes no room
// in the socket's buffer from data. Promises: data, responses, cookie replies and, until these come as a flood themselves,
// initiations with a mac2 pass as they are. Without a flood there is no filter.
// Read on: man 7 socket (SO_ATTACH_FILTER); Linux Documentation/networking/filter.rst; sessions/receive-handshakes.ts.

import type { NativeMemory } from '../../../native/native-memory.js';
import { HANDSHAKE_INITIATION } from '../../../protocol/constants.js';
import { INITIATION } from '../../../protocol/messages.js';
import { type Libc, SOL_SOCKET, SO_ATTACH_FILTER, SO_DETACH_FILTER } from '../libc.js';

/** Initiations per second that are let through: about as many as a device has time to answer beside its data. */
export const MAX_INITIATIONS_PER_SECOND = 8_000;
/** So many times as many, in spite of the filter: then a mac2 is no reason to pass. */
const MAX_WITH_MAC2 = 2;
/** How long they are counted before the filter is set anew. Milliseconds. */
export const WINDOW_MS = 100;

/** A filter sees a datagram from its UDP header on. */
const UDP_HEADER_BYTES = 8;
const ANYTHING = 0xffff_ffff;
/** SKF_AD_OFF + SKF_AD_RANDOM: a random word. */
const RANDOM = 0xffff_f000 + 56;
// Of linux/bpf_common.h: load a word of the datagram, compare with a constant, return.
const LOAD = 0x20;
const EQUAL = 0x15;
const AT_LEAST = 0x35;
const RETURN = 0x06;
const INSTRUCTION_BYTES = 8;
const PROGRAM_BYTES = 16;
const NONE = 0;

/** Code, how many to skip if true and if false, operand. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

export class InitiationFilter {
  readonly #libc: Libc;
  readonly #fds: readonly number[];
  readonly #memory: NativeMemory;
  #since = Number.NEGATIVE_INFINITY;
  #count = 0;
  #share = 1;
  #sparesMac2 = true;

  /** `fds`: UDP sockets. */
  constructor(libc: Libc, fds: readonly number[]) {
    this.#libc = libc;
    this.#fds = fds;
    this.#memory = libc.alloc(PROGRAM_BYTES + 16 * INSTRUCTION_BYTES);
  }

  /** What part of the initiations is let through; 1 without a filter. */
  get share(): number {
    return this.#share;
  }

  /** Call for each datagram that was received. */
  note(datagram: Uint8Array): void {
    if (datagram[0] === HANDSHAKE_INITIATION) this.#count++;
  }

  /** Whether anything was counted, or a filter is set: then call `adjust` at the end of a turn. */
  get isWorth(): boolean {
    return this.#count > 0 || this.#share < 1;
  }

  /** When `adjust` must be called at the latest, in monotonic milliseconds: a filter is not to outlive its flood. */
  get deadline(): number {
    return this.#share < 1 ? this.#since + WINDOW_MS : Number.POSITIVE_INFINITY;
  }

  /** Sets the filter by what has come since it was set. False as long as it is too early for that. */
  adjust(now: number): boolean {
    const elapsedMs = now - this.#since;
    if (elapsedMs < WINDOW_MS) return false;
    // Of a time that began long ago nothing can be said, but that a flood begins now.
    const received = elapsedMs < 10 * WINDOW_MS ? (this.#count * 1e3) / elapsedMs : 0;
    this.#since = now;
    this.#count = 0;
    const offered = received / this.#share;
    const share = offered > MAX_INITIATIONS_PER_SECOND ? MAX_INITIATIONS_PER_SECOND / offered : 1;
    if (share === 1) this.#sparesMac2 = true;
    else if (this.#share < 1 && received > MAX_WITH_MAC2 * MAX_INITIATIONS_PER_SECOND)
      this.#sparesMac2 = false;
    if (share < 1) this.#attach(share);
    else if (this.#share < 1) this.#detach();
    this.#share = share;
    return true;
  }

  #detach(): void {
    for (const fd of this.#fds) this.#libc.setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
  }

  /** Where the kernel refuses there is no filter, and the device has its own bounds. */
  #attach(share: number): void {
    const program = programFor(share, this.#sparesMac2);
    const { u32, address } = this.#memory;
    u32[0] = program.length;
    this.#memory.setU64(8, address + PROGRAM_BYTES);
    program.forEach(([code, ifTrue, ifFalse, operand], i) => {
      const at = (PROGRAM_BYTES + i * INSTRUCTION_BYTES) / 4;
      u32[at] = code | (ifTrue << 16) | (ifFalse << 24);
      u32[at + 1] = operand;
    });
    for (const fd of this.#fds) {
      this.#libc.setsockoptAt(fd, SOL_SOCKET, SO_ATTACH_FILTER, address, PROGRAM_BYTES);
    }
  }
}

/** A filter that lets so great a part of the initiations pass, and everything else. */
function programFor(share: number, sparesMac2: boolean): Instruction[] {
  const mac2: Instruction[] = [];
  if (sparesMac2) {
    // Its first word says enough: a message without one has zeros there, and one with it hardly ever has.
    mac2.push([LOAD, 0, 0, UDP_HEADER_BYTES + INITIATION.mac2], [EQUAL, 0, 2, 0]);
  }
  return [
    [LOAD, 0, 0, UDP_HEADER_BYTES],
    [EQUAL, 0, mac2.length + 2, (HANDSHAKE_INITIATION << 24) >>> 0],
    ...mac2,
    [LOAD, 0, 0, RANDOM],
    [AT_LEAST, 1, 0, Math.floor(share * 2 ** 32)],
    [RETURN, 0, 0, ANYTHING],
    [RETURN, 0, 0, NONE],
  ];
}
