// Amounts as short as a cell of a table has room.
// Read on: tunnel/daemon/human.ts (amounts in sentences).

import { bytes } from '../../tunnel/daemon/human.js';

export const NOTHING = '–';

const UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
];

/** `42 s`, `7 min`: of the largest unit alone. */
export function briefly(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const [unit, length] = UNITS.find(([, each]) => seconds >= each) ?? ['s', 1];
  return `${Math.floor(seconds / length)} ${unit}`;
}

export function rateText(bytesPerSecond: number | undefined): string {
  return bytesPerSecond === undefined ? NOTHING : `${bytes(Math.round(bytesPerSecond))}/s`;
}

/** The first bytes of a key in base64: enough to know it by. */
export function shortKey(publicKey: string): string {
  return `${publicKey.slice(0, 8)}…`;
}
