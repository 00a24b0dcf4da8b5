// OpenSSL's functions as the Node binary itself exports them, called through koffi, and memory that they may be given.
// Promises: pointers and sizes go over as numbers, which costs a call a third of what a buffer costs (docs/performance.md);
// binding throws where a function is missing.
// Read on: the manual pages EVP_EncryptInit, EVP_MAC, EVP_DigestInit, EVP_PKEY_derive, OSSL_PARAM of OpenSSL 3.

import type { Koffi } from '../../../native/koffi.js';
import { ProtocolError } from '../../errors.js';
import { NativeMemory } from '../../../native/native-memory.js';

const POINTER = 'uintptr_t';
const SIZE = 'size_t';

/** Result, then parameters. Those that answer `int` say 1 for success. */
const SIGNATURES = {
  EVP_CIPHER_fetch: [POINTER, POINTER, POINTER, POINTER],
  EVP_CIPHER_CTX_new: [POINTER],
  EVP_CIPHER_CTX_reset: ['int', POINTER],
  EVP_CIPHER_CTX_ctrl: ['int', POINTER, 'int', 'int', POINTER],
  EVP_EncryptInit_ex2: ['int', POINTER, POINTER, POINTER, POINTER, POINTER],
  EVP_EncryptUpdate: ['int', POINTER, POINTER, POINTER, POINTER, 'int'],
  EVP_EncryptFinal_ex: ['int', POINTER, POINTER, POINTER],
  EVP_DecryptInit_ex2: ['int', POINTER, POINTER, POINTER, POINTER, POINTER],
  EVP_DecryptUpdate: ['int', POINTER, POINTER, POINTER, POINTER, 'int'],
  EVP_DecryptFinal_ex: ['int', POINTER, POINTER, POINTER],

  EVP_MD_fetch: [POINTER, POINTER, POINTER, POINTER],
  EVP_MD_CTX_new: [POINTER],
  EVP_DigestInit_ex2: ['int', POINTER, POINTER, POINTER],
  EVP_DigestUpdate: ['int', POINTER, POINTER, SIZE],
  EVP_DigestFinal_ex: ['int', POINTER, POINTER, POINTER],

  EVP_MAC_fetch: [POINTER, POINTER, POINTER, POINTER],
  EVP_MAC_CTX_new: [POINTER, POINTER],
  EVP_MAC_CTX_free: ['void', POINTER],
  EVP_MAC_CTX_set_params: ['int', POINTER, POINTER],
  EVP_MAC_init: ['int', POINTER, POINTER, SIZE, POINTER],
  EVP_MAC_update: ['int', POINTER, POINTER, SIZE],
  EVP_MAC_final: ['int', POINTER, POINTER, POINTER, SIZE],

  EVP_PKEY_new_raw_private_key_ex: [POINTER, POINTER, POINTER, POINTER, POINTER, SIZE],
  EVP_PKEY_new_raw_public_key_ex: [POINTER, POINTER, POINTER, POINTER, POINTER, SIZE],
  EVP_PKEY_get_raw_public_key: ['int', POINTER, POINTER, POINTER],
  EVP_PKEY_free: ['void', POINTER],
  EVP_PKEY_CTX_new_from_pkey: [POINTER, POINTER, POINTER, POINTER],
  EVP_PKEY_CTX_free: ['void', POINTER],
  EVP_PKEY_derive_init: ['int', POINTER],
  EVP_PKEY_derive_set_peer: ['int', POINTER, POINTER],
  EVP_PKEY_derive: ['int', POINTER, POINTER, POINTER],

  ERR_clear_error: ['void'],
} as const satisfies Record<string, readonly [string, ...string[]]>;

export type OpenSsl = Readonly<Record<keyof typeof SIGNATURES, (...values: number[]) => number>>;

/** Throws where this Node binary lacks one of the functions, as one built on another library does. */
export function bindOpenSsl(koffi: Koffi): OpenSsl {
  const library = koffi.load(null);
  const bound = Object.entries(SIGNATURES).map(([name, [result, ...parameters]]) => [
    name,
    library.func(name, result, parameters),
  ]);
  return Object.fromEntries(bound) as OpenSsl;
}

/** A pointer that must not be NULL. */
export function required(pointer: number, what: string): number {
  if (pointer === 0) throw new ProtocolError('ERR_OPENSSL', `OpenSSL has no ${what}`);
  return pointer;
}

/** The answer of a function that says 1 for success. */
export function succeeded(answer: number, what: string): void {
  if (answer !== 1) throw new ProtocolError('ERR_OPENSSL', `OpenSSL failed to ${what}`);
}

/** Held for good: they are a few names, and whoever has but the address of one does not keep it alive. */
const texts = new Map<string, NativeMemory>();

/** A text as C has it, with a zero at its end. */
export function cText(koffi: Koffi, text: string): NativeMemory {
  let memory = texts.get(text);
  if (memory === undefined) {
    memory = new NativeMemory(koffi, text.length + 1);
    memory.bytes.set(new TextEncoder().encode(text));
    texts.set(text, memory);
  }
  return memory;
}

export const PARAM_UNSIGNED = 2;
export const PARAM_TEXT = 4;
export const PARAM_BYTES = 5;

/** Where in an OSSL_PARAM the address of its data stands. */
export const PARAM_DATA_AT = 16;
const PARAM_SIZE_AT = 24;
const PARAM_STRUCT_BYTES = 40;

/**
 * An OSSL_PARAM array of one entry and its end. `keep` holds what it points to: it has to live as long.
 */
export class Param extends NativeMemory {
  readonly keep: readonly NativeMemory[];

  constructor(koffi: Koffi, name: string, type: number, data: NativeMemory, size = data.bytes.length) {
    super(koffi, 2 * PARAM_STRUCT_BYTES);
    const key = cText(koffi, name);
    this.keep = [key, data];
    this.setU64(0, key.address);
    this.view.setUint32(8, type, true);
    this.setU64(PARAM_DATA_AT, data.address);
    this.setU64(PARAM_SIZE_AT, size);
  }
}
