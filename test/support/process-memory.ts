// How often some bytes lie in the writable memory of this process: where is a key, besides where it should be?
// Linux alone. Promises: the reader's own buffer is not counted.

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { loadKoffi } from '../../native/koffi.js';

const CHUNK_BYTES = 2 ** 20;

/** Occurrences of `needle` (32 bytes or so) outside of `needle` itself. */
export function countInMemory(needle: Uint8Array): number {
  const { koffi } = loadKoffi();
  if (!koffi) throw new Error('needs koffi');
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const own = koffi.address(chunk);
  const at = koffi.address(needle);
  const memory = openSync('/proc/self/mem', 'r');
  let count = 0;
  try {
    for (const [from, to] of writableRegions('self')) {
      // Chunks overlap, so that nothing hides on an edge.
      for (let start = from; start < to; start += BigInt(CHUNK_BYTES - needle.length + 1)) {
        const length = Number(to - start < BigInt(CHUNK_BYTES) ? to - start : BigInt(CHUNK_BYTES));
        const read = readOrNothing(memory, chunk, length, start);
        for (let i = chunk.indexOf(needle); i >= 0 && i < read; i = chunk.indexOf(needle, i + 1)) {
          const address = start + BigInt(i);
          const isOwn = address >= own && address < own + BigInt(CHUNK_BYTES);
          if (!isOwn && address !== at && i + needle.length <= read) count++;
        }
      }
    }
  } finally {
    closeSync(memory);
    chunk.fill(0);
  }
  return count;
}

/** From and to of each. */
export function writableRegions(pid: number | 'self'): [bigint, bigint][] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'latin1').trim().split('\n');
  return lines
    .filter(line => line.split(' ')[1].startsWith('rw'))
    .map(line => {
      const [from, to] = line.split(' ')[0].split('-');
      return [BigInt(`0x${from}`), BigInt(`0x${to}`)];
    });
}

/** Bytes read: none where a region is mapped and has nothing behind it. */
export function readOrNothing(memory: number, chunk: Buffer, length: number, position: bigint): number {
  try {
    return readSync(memory, chunk, 0, length, position as unknown as number);
  } catch {
    return 0;
  }
}
