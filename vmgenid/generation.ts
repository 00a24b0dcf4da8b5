// What a generation is: 16 bytes that a hypervisor changes whenever a machine is started a second time.
// Promises: comparison allocates nothing; text forms round-trip. Bytes are as they lie in guest memory.
// Read on: Microsoft "Virtual Machine Generation ID"; Linux drivers/virt/vmgenid.c.

import { VmGenIdError } from './errors.js';

/** Bytes of a VM generation ID. */
export const VM_GEN_ID_BYTES = 16;

/** A generation as sources hand it out: four 32-bit words. A counter fills the first two and leaves zeros. */
export const GENERATION_WORDS = 4;

/** What `check()` answers when no source can vouch for the generation. No stamp ever equals it. */
export const NO_EPOCH = 0;

/** The epoch a machine starts in. Every fork seen adds one. */
export const FIRST_EPOCH = 1;

export function sameGeneration(a: Uint32Array, b: Uint32Array): boolean {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2] && a[3] === b[3];
}

/** The 16 bytes of a generation, as they lie in memory (little-endian words). */
export function generationBytes(words: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(VM_GEN_ID_BYTES);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < GENERATION_WORDS; i++) view.setUint32(4 * i, words[i], true);
  return bytes;
}

/** Writes 16 bytes as four little-endian words. Throws `ERR_GENERATION_LENGTH` on any other length. */
export function generationWords(
  bytes: Uint8Array,
  into: Uint32Array = new Uint32Array(GENERATION_WORDS),
): Uint32Array {
  if (bytes.length !== VM_GEN_ID_BYTES) {
    throw new VmGenIdError(
      'ERR_GENERATION_LENGTH',
      `a generation ID has ${VM_GEN_ID_BYTES} bytes, not ${bytes.length}`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < GENERATION_WORDS; i++) into[i] = view.getUint32(4 * i, true);
  return into;
}

// A GUID is written with its first three fields as numbers, so their bytes stand reversed in memory.
const GUID_BYTE_ORDER = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
const FIELDS = /^(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32})$/i;
const BRACES = /^\{(.*)\}$/;

/**
 * The 16 bytes behind a GUID, in the order in which hypervisors write them to guest memory. Read as hypervisors and their
 * tools write it: `00112233-4455-6677-8899-aabbccddeeff`, with or without hyphens, in braces, in either case, with blanks and
 * line ends around it. Whatever its spelling it is the same 16 bytes, and {@link formatGuid} has one spelling. Throws
 * `ERR_GENERATION_TEXT` on anything else.
 */
export function parseGuid(text: string): Uint8Array {
  const trimmed = text.trim();
  const bare = BRACES.exec(trimmed)?.[1] ?? trimmed;
  if (!FIELDS.test(bare)) {
    throw new VmGenIdError('ERR_GENERATION_TEXT', `not a GUID: ${JSON.stringify(text.slice(0, 60))}`);
  }
  const hex = bare.replaceAll('-', '');
  return Uint8Array.from(GUID_BYTE_ORDER, at => Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16));
}

/** The GUID of 16 generation bytes, the inverse of {@link parseGuid}. */
export function formatGuid(bytes: Uint8Array): string {
  const hex = GUID_BYTE_ORDER.map(at => bytes[at].toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
