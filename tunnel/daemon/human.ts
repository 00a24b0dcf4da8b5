// Durations and amounts for a person to read.
// Promises: the words and units of `wg show`.
// Read on: wireguard-tools src/show.c pretty_time(), ago(), bytes().

const UNITS: readonly (readonly [string, number])[] = [
  ['year', 365 * 86_400],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
];
const BYTE_UNITS = ['KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `1 day, 3 hours, 20 seconds`; `0 seconds` below one. */
export function duration(ms: number): string {
  let left = Math.max(0, Math.floor(ms / 1_000));
  const parts: string[] = [];
  for (const [unit, seconds] of UNITS) {
    const count = Math.floor(left / seconds);
    left -= count * seconds;
    if (count > 0) parts.push(plural(count, unit));
  }
  return parts.length === 0 ? '0 seconds' : parts.join(', ');
}

/** How long ago, from two readings of a wall clock in milliseconds. The clock may have gone back. */
export function ago(at: number, now: number): string {
  if (at > now) return 'in the future (the system clock was set back)';
  return now - at < 1_000 ? 'now' : `${duration(now - at)} ago`;
}

/** `512 B`, `1.50 KiB`. */
export function bytes(count: number): string {
  if (count < 1_024) return `${count} B`;
  let value = count / 1_024;
  let unit = 0;
  while (value >= 1_024 && unit < BYTE_UNITS.length - 1) {
    value /= 1_024;
    unit++;
  }
  return `${value.toFixed(2)} ${BYTE_UNITS[unit]}`;
}

/** What steers a terminal, or turns the text around it: control, format, line ends, halves of pairs. */
const STEERING = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/**
 * Text that may come from elsewhere, on one line: what would steer is shown as `\\u001b`. JSON stays JSON
 * of the same value.
 */
export function harmless(text: string): string {
  return text.replace(STEERING, each =>
    each
      .split('')
      .map(unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}

/** `1 fork`, `2 forks`, `1,000 forks`. */
export function plural(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}
