// The timestamp in a handshake initiation: by it a responder tells a new initiation from a replayed one.
// Promises: byte order is time order; the low 24 bits of the nanoseconds are zero, so that no fine clock leaks.
// Read on: WireGuard paper 5.1 and 5.4.2; Linux noise.c tai64n_now(); cr.yp.to/libtai/tai64.html.

import { ProtocolError } from './errors.js';

/** Bytes of a TAI64N label: seconds (u64) and nanoseconds (u32), big-endian. */
export const TAI64N_BYTES = 12;

const HIGH_WORD = 0x4000_0000;
/** TAI was 10 s ahead of UTC in 1970. Leap seconds since then are not counted, as in every WireGuard. */
const TAI_OFFSET_SECONDS = 10;
/** Nanoseconds are rounded down to a multiple of 2^24 (about 17 ms). */
const WHITENING = 0x00ff_ffff;

/**
 * Writes the label of a moment into 12 bytes at `out[offset]`. `wallClockMs`: milliseconds since 1970, fractions
 * allowed. Throws `ERR_WALL_CLOCK` for a time before 1970 or none at all, `ERR_LENGTH` when `out` ends too early.
 */
export function writeTai64n(out: Uint8Array, offset: number, wallClockMs: number): void {
  if (!(wallClockMs >= 0 && wallClockMs <= Number.MAX_SAFE_INTEGER)) {
    throw new ProtocolError('ERR_WALL_CLOCK', `not a time since 1970 in milliseconds: ${wallClockMs}`);
  }
  if (!(offset >= 0 && offset + TAI64N_BYTES <= out.length)) {
    throw new ProtocolError('ERR_LENGTH', `no ${TAI64N_BYTES} bytes at ${offset} of ${out.length}`);
  }
  const unixSeconds = Math.floor(wallClockMs / 1000);
  const nanoseconds = Math.floor((wallClockMs - unixSeconds * 1000) * 1e6);
  const seconds = unixSeconds + TAI_OFFSET_SECONDS;
  writeU32BigEndian(out, offset, HIGH_WORD + Math.floor(seconds / 2 ** 32));
  writeU32BigEndian(out, offset + 4, seconds % 2 ** 32);
  writeU32BigEndian(out, offset + 8, nanoseconds & ~WHITENING);
}

/** The label of a moment, in a new array. As {@link writeTai64n}. */
export function tai64n(wallClockMs: number): Uint8Array {
  const out = new Uint8Array(TAI64N_BYTES);
  writeTai64n(out, 0, wallClockMs);
  return out;
}

/** Negative, zero or positive as `a` is earlier than, equal to or later than `b`. */
export function compareTai64n(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < TAI64N_BYTES; i++) {
    if (a[i] !== b[i]) return a[i] - b[i];
  }
  return 0;
}

/** Whether `a` is strictly after `b`: the only initiation a responder consumes. */
export function isAfterTai64n(a: Uint8Array, b: Uint8Array): boolean {
  return compareTai64n(a, b) > 0;
}

function writeU32BigEndian(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
}
