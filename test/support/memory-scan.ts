// Which secrets lie in the memory of another process, and how often: all of them in one pass.
// Linux, as root. Promises: finds them as they are, in hexadecimal and in base64, at any address of writable memory.
// Read on: man 5 proc (/proc/PID/maps, /proc/PID/mem).

import { closeSync, openSync } from 'node:fs';
import { readOrNothing, writableRegions } from './process-memory.js';

const CHUNK_BYTES = 2 ** 22;

/** How a secret may be written down. */
const FORMS = {
  raw: (secret: Buffer) => secret,
  hex: (secret: Buffer) => Buffer.from(secret.toString('hex')),
  // Without its last characters, which depend on what follows.
  base64: (secret: Buffer) => Buffer.from(secret.toString('base64').slice(0, 40)),
  /** The key blocks of HMAC (RFC 2104). */
  ipad: (secret: Buffer) => Buffer.from(secret.map(byte => byte ^ 0x36)),
  opad: (secret: Buffer) => Buffer.from(secret.map(byte => byte ^ 0x5c)),
} as const;
export type Form = keyof typeof FORMS;

interface Needle {
  readonly secret: string;
  readonly form: Form;
  readonly bytes: Buffer;
}

export interface Finding {
  /** In hexadecimal. */
  readonly secret: string;
  readonly form: Form;
  readonly address: bigint;
}

/** Every place in the process where one of the secrets (32 bytes each) lies. */
export function scanMemory(pid: number, secrets: readonly Uint8Array[]): Finding[] {
  const needles = new Map<number, Needle[]>();
  // Two bytes tell most places where none begins.
  const begins = new Uint8Array(2 ** 16);
  let longest = 0;
  for (const secret of secrets) {
    const own = Buffer.from(secret);
    for (const form of Object.keys(FORMS) as Form[]) {
      const bytes = FORMS[form](own);
      const head = bytes.readUInt32LE(0);
      needles.set(head, [...(needles.get(head) ?? []), { secret: own.toString('hex'), form, bytes }]);
      begins[bytes.readUInt16LE(0)] = 1;
      longest = Math.max(longest, bytes.length);
    }
  }
  const found: Finding[] = [];
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    for (const [from, to] of writableRegions(pid)) {
      const step = BigInt(CHUNK_BYTES - longest + 1);
      for (let start = from; start < to; start += step) {
        const rest = to - start;
        const read = readOrNothing(
          memory,
          chunk,
          rest < BigInt(CHUNK_BYTES) ? Number(rest) : CHUNK_BYTES,
          start,
        );
        // What begins in the overlap is the next chunk's.
        const end = Math.min(read - 4, rest > BigInt(CHUNK_BYTES) ? Number(step) : read);
        for (let at = 0; at < end; at++) {
          if (begins[chunk[at] | (chunk[at + 1] << 8)] === 0) continue;
          for (const { secret, form, bytes } of needles.get(chunk.readUInt32LE(at)) ?? []) {
            if (bytes.compare(chunk, at, Math.min(at + bytes.length, read)) !== 0) continue;
            found.push({ secret, form, address: start + BigInt(at) });
          }
        }
      }
    }
  } finally {
    closeSync(memory);
  }
  return found;
}
