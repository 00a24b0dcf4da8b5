// Memory that packets are read into, and the sums over it: by WebAssembly's vector instructions where the engine has them.
// Promises: the same sums as `sumWords`, for any range that lies in the memory; the memory never moves.
// Read on: checksum.ts (the readable twin); the text of the module below; docs/performance.md (what it brings).

import { fold, sumWords } from './checksum.js';

/** What is used of it: a global of every engine, which the types of Node leave out. */
declare const WebAssembly: {
  readonly Memory: new (limits: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: Record<string, Record<string, object>>,
  ) => { readonly exports: Record<string, unknown> };
};

/** A WebAssembly page. */
const PAGE_BYTES = 65_536;

/*
 * A sum over 1,368 bytes takes JavaScript about 320 ns, a tenth of all the work for a packet on its way out: it has no
 * wider words to add than 16 bits. Vectors take 42 ns. They reach no memory but WebAssembly's own, so the packets are
 * read into that. This is the module, as `wat2wasm` of wabt reads it:
 *
 *   (module
 *     (import "" "memory" (memory 1))
 *     (func (export "sum") (param $at i32) (param $length i32) (result i32)
 *       (local $sum v128) (local $other v128) (local $end i32) (local $rest i32)
 *       (local.set $end (i32.add (local.get $at) (i32.and (local.get $length) (i32.const -32))))
 *       (block $wide (loop $next
 *         (br_if $wide (i32.eq (local.get $at) (local.get $end)))
 *         (local.set $sum (i32x4.add (local.get $sum)
 *           (i32x4.extadd_pairwise_i16x8_u (v128.load (local.get $at)))))
 *         (local.set $other (i32x4.add (local.get $other)
 *           (i32x4.extadd_pairwise_i16x8_u (v128.load offset=16 (local.get $at)))))
 *         (local.set $at (i32.add (local.get $at) (i32.const 32)))
 *         (br $next)))
 *       (local.set $sum (i32x4.add (local.get $sum) (local.get $other)))
 *       (local.set $rest
 *         (i32.add
 *           (i32.add (i32x4.extract_lane 0 (local.get $sum)) (i32x4.extract_lane 1 (local.get $sum)))
 *           (i32.add (i32x4.extract_lane 2 (local.get $sum)) (i32x4.extract_lane 3 (local.get $sum)))))
 *       (local.set $end (i32.add (local.get $at) (i32.and (local.get $length) (i32.const 30))))
 *       (block $words (loop $next
 *         (br_if $words (i32.eq (local.get $at) (local.get $end)))
 *         (local.set $rest (i32.add (local.get $rest) (i32.load16_u (local.get $at))))
 *         (local.set $at (i32.add (local.get $at) (i32.const 2)))
 *         (br $next)))
 *       (local.get $rest)))
 */
const MODULE =
  'AGFzbQEAAAABBwFgAn9/AX8CDAEABm1lbW9yeQIAAQMCAQAHBwEDc3VtAAAKlQEBkgECAnsCfyAAIAFBYHFqIQQCQANAIAAgBEYNASACIAD9AAQA/X/9rg' +
  'EhAiADIAD9AAQQ/X/9rgEhAyAAQSBqIQAMAAsLIAIgA/2uASECIAL9GwAgAv0bAWogAv0bAiAC/RsDamohBSAAIAFBHnFqIQQCQANAIAAgBEYNASAFIAAv' +
  'AQBqIQUgAEECaiEADAALCyAFCw==';

export interface PacketMemory {
  readonly bytes: Uint8Array;
  /** As `sumWords` over these bytes. */
  sum(start: number, end: number): number;
}

/** Room for `byteLength` bytes or more, summed by vectors if this engine knows them, else by JavaScript. */
export function packetMemory(byteLength: number): PacketMemory {
  return vectorMemory(byteLength) ?? plainMemory(new Uint8Array(byteLength));
}

/** Memory summed by JavaScript. */
export function plainMemory(bytes: Uint8Array): PacketMemory {
  return { bytes, sum: (start, end) => sumWords(bytes, start, end) };
}

/** Memory summed by vectors, whole pages of it; `undefined` where the engine has none. */
export function vectorMemory(byteLength: number): PacketMemory | undefined {
  try {
    const pages = Math.ceil(byteLength / PAGE_BYTES);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const module = new WebAssembly.Module(Buffer.from(MODULE, 'base64'));
    const { exports } = new WebAssembly.Instance(module, { '': { memory } });
    const sumOfWords = exports['sum'] as (at: number, length: number) => number;
    const bytes = new Uint8Array(memory.buffer);
    const sum = (start: number, end: number) => {
      const length = end - start;
      // The module adds whole words; a byte without a partner is the lower half of one.
      const last = (length & 1) === 0 ? 0 : bytes[end - 1];
      return fold((sumOfWords(start, length & ~1) + last) >>> 0);
    };
    return { bytes, sum };
  } catch {
    // Started with --jitless, or on a processor without vectors.
    return undefined;
  }
}

/** The sum, as of `sumWords`, of `bytes[start, end)`, the first of which lies at `address`; 0 if that is not known. */
export type PacketSum = (bytes: Uint8Array, start: number, end: number, address: number) => number;

/** For packets that lie anywhere. */
export const sumAnywhere: PacketSum = (bytes, start, end) => sumWords(bytes, start, end);

/** Sums what lies in `memory`, which begins at `memoryAddress`, as that does, and everything else by JavaScript. */
export function sumWithin(memory: PacketMemory, memoryAddress: number): PacketSum {
  const { length } = memory.bytes;
  return (bytes, start, end, address) => {
    const at = address - memoryAddress;
    const to = at + end - start;
    return at >= 0 && to <= length ? memory.sum(at, to) : sumWords(bytes, start, end);
  };
}
