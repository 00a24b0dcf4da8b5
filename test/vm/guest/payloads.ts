// Packets whose content differs in clones from the first instruction after a restore.
// Promises: each payload carries random bytes of the processor, drawn when it is written (one draw for all that are handed
// to the system as one piece); it says them twice over, so
// that a payload recovered from two ciphertexts can be told from rubbish.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Koffi } from '../../../native/koffi.js';

/** What a payload says: its number, and what makes it this clone's own. */
export const PAYLOAD_TEXT = /packet (\d{9}) of clone ([0-9a-f]{16}), once more: clone \2\./;

const TEMPLATE = 'packet 000000000 of clone 0000000000000000, once more: clone 0000000000000000.';
export const PAYLOAD_BYTES = TEMPLATE.length;
const NUMBER_AT = TEMPLATE.indexOf('000000000');
const NUMBER_DIGITS = 9;
const FIRST_AT = TEMPLATE.indexOf('0000000000000000');
const SECOND_AT = TEMPLATE.lastIndexOf('0000000000000000');
const WORD_DIGITS = 8;

const PROT_READ_WRITE_EXEC = 7;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const PAGE_BYTES = 4096;
/** `rdrand eax; ret`. The emulator asks the host for the number, so it was not in the snapshot. */
const RDRAND = Uint8Array.of(0x0f, 0xc7, 0xf0, 0xc3);
/** `mrs x0, rndr; ret`: the same on arm64. */
const RNDR = Uint8Array.of(0x00, 0x24, 0x3b, 0xd5, 0xc0, 0x03, 0x5f, 0xd6);
/** `rdtsc; ret`: the cycle counter's low half, on processors that have no generator. No two clones keep step for long. */
const RDTSC = Uint8Array.of(0x0f, 0x31, 0xc3);

export class Payloads {
  readonly #word = processorWord();
  readonly #template = new TextEncoder().encode(TEMPLATE);
  #written = 0;

  get written(): number {
    return this.#written;
  }

  /** Writes the next payload. */
  write(into: Uint8Array, at: number): void {
    this.#draw();
    this.writeNext(into, at);
  }

  /** Writes one more with the random bytes of the last: it leaves in one piece with it. Drawing costs most of the time. */
  writeNext(into: Uint8Array, at: number): void {
    let number = ++this.#written;
    into.set(this.#template, at);
    for (let i = NUMBER_DIGITS - 1; i >= 0; i--) {
      into[at + NUMBER_AT + i] = 0x30 + (number % 10);
      number = Math.floor(number / 10);
    }
  }

  #draw(): void {
    const template = this.#template;
    writeHex(template, FIRST_AT, this.#word());
    writeHex(template, FIRST_AT + WORD_DIGITS, this.#word());
    template.copyWithin(SECOND_AT, FIRST_AT, FIRST_AT + 2 * WORD_DIGITS);
  }
}

/** A word that no sibling of this clone draws: one instruction of the processor, and no system call. */
export function processorWord(): () => number {
  const koffi = createRequire(import.meta.url)('koffi') as Koffi & {
    proto(text: string): unknown;
    decode(pointer: bigint, type: unknown): () => number;
  };
  const library = koffi.load(null) as unknown as {
    func(name: string, result: string, parameters: readonly string[]): (...values: unknown[]) => bigint;
  };
  const mmap = library.func('mmap', 'void *', ['void *', 'size_t', 'int', 'int', 'int', 'int64']);
  const page = mmap(null, PAGE_BYTES, PROT_READ_WRITE_EXEC, MAP_PRIVATE_ANONYMOUS, -1, 0);
  new Uint8Array(koffi.view(page, PAGE_BYTES)).set(instructions());
  return koffi.decode(page, koffi.proto('uint32_t processorWord()'));
}

function instructions(): Uint8Array {
  if (process.arch === 'arm64') return RNDR;
  return /\brdrand\b/.test(readFileSync('/proc/cpuinfo', 'utf8')) ? RDRAND : RDTSC;
}

function writeHex(into: Uint8Array, at: number, word: number): void {
  for (let i = 0; i < WORD_DIGITS; i++) {
    const digit = (word >>> (28 - i * 4)) & 15;
    into[at + i] = digit < 10 ? 0x30 + digit : 0x57 + digit;
  }
}
