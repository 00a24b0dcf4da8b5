// ChaCha20-Poly1305 by OpenSSL, in place: one kept context for each direction, given key and nonce anew for each message.
// Promises: keys are read where they lie; what a context holds of the last one is erased by `forget`.
// Read on: EVP_EncryptInit(3) "AEAD Interface"; docs/performance.md for what each call costs.

import type { Koffi } from '../../../native/koffi.js';
import { ProtocolError } from '../../errors.js';
import { type Suite, TAG_BYTES } from '../../suite.js';
import { expectCounter, expectKey, expectRange, expectTag } from '../lengths.js';
import { ArrayAddresses, MemoryAddresses } from '../addresses.js';
import { NativeMemory } from '../../../native/native-memory.js';
import { type OpenSsl, PARAM_BYTES, PARAM_DATA_AT, Param, cText, required, succeeded } from './library.js';

const EVP_CTRL_AEAD_GET_TAG = 0x10;
const NONCE_BYTES = 12;

export type Aead = Pick<Suite, 'seal' | 'open' | 'forget'>;

export function opensslAead(koffi: Koffi, ssl: OpenSsl): Aead {
  const name = cText(koffi, 'ChaCha20-Poly1305');
  const cipher = required(ssl.EVP_CIPHER_fetch(0, name.address, 0), 'ChaCha20-Poly1305');
  const sealing = required(ssl.EVP_CIPHER_CTX_new(), 'memory');
  const opening = required(ssl.EVP_CIPHER_CTX_new(), 'memory');
  const keys = new MemoryAddresses(koffi);
  const buffers = new ArrayAddresses(koffi);
  const received = new MemoryAddresses(koffi);
  const associated = new ArrayAddresses(koffi);
  // The first four bytes stay zero. Each call writes the other eight before the library reads any.
  const nonce = new NativeMemory(koffi, NONCE_BYTES);
  const written = new NativeMemory(koffi, 4);
  // The tag of a message is given with key and nonce: one call less.
  const tag = new Param(koffi, 'tag', PARAM_BYTES, written, TAG_BYTES);
  let used = true;

  const {
    EVP_EncryptInit_ex2: encryptInit,
    EVP_EncryptUpdate: encryptUpdate,
    EVP_EncryptFinal_ex: encryptFinal,
    EVP_CIPHER_CTX_ctrl: control,
    EVP_DecryptInit_ex2: decryptInit,
    EVP_DecryptUpdate: decryptUpdate,
    EVP_DecryptFinal_ex: decryptFinal,
  } = ssl;

  function setNonce(low: number, high: number): void {
    expectCounter(low, high);
    nonce.u32[1] = low;
    nonce.u32[2] = high;
  }

  // Resetting frees what the library has derived from a key, and frees it erased.
  function forget(): void {
    if (!used) return;
    succeeded(ssl.EVP_CIPHER_CTX_reset(sealing), 'reset a cipher');
    succeeded(ssl.EVP_CIPHER_CTX_reset(opening), 'reset a cipher');
    succeeded(encryptInit(sealing, cipher, 0, 0, 0), 'start a cipher');
    succeeded(decryptInit(opening, cipher, 0, 0, 0), 'start a cipher');
    used = false;
  }
  forget();

  /** Gives associated data to a context, if there is any. */
  function absorb(update: typeof encryptUpdate, context: number, aad: Uint8Array | undefined): boolean {
    if (aad === undefined || aad.length === 0) return true;
    return update(context, 0, written.address, associated.of(aad), aad.length) === 1;
  }

  return {
    seal(key, counterLow, counterHigh, buffer, offset, length, aad) {
      expectKey(key);
      expectRange(buffer, offset, length, TAG_BYTES);
      setNonce(counterLow, counterHigh);
      used = true;
      const at = buffers.of(buffer) + offset;
      const isSealed =
        encryptInit(sealing, 0, keys.of(key), nonce.address, 0) === 1 &&
        absorb(encryptUpdate, sealing, aad) &&
        (length === 0 || encryptUpdate(sealing, at, written.address, at, length) === 1) &&
        encryptFinal(sealing, at + length, written.address) === 1 &&
        control(sealing, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, at + length) === 1;
      if (isSealed) return;
      // What lies there may be plaintext still, or have no tag.
      buffer.fill(0, offset, offset + length + TAG_BYTES);
      throw failure('seal');
    },

    open(key, counterLow, counterHigh, buffer, offset, length, aad) {
      expectKey(key);
      expectTag(length);
      expectRange(buffer, offset, length, 0);
      setNonce(counterLow, counterHigh);
      used = true;
      const at = received.of(buffer) + offset;
      const plain = length - TAG_BYTES;
      tag.setU64(PARAM_DATA_AT, at + plain);
      const isDecrypted =
        decryptInit(opening, 0, keys.of(key), nonce.address, tag.address) === 1 &&
        absorb(decryptUpdate, opening, aad) &&
        (plain === 0 || decryptUpdate(opening, at, written.address, at, plain) === 1);
      if (!isDecrypted) throw failure('open');
      if (decryptFinal(opening, at + plain, written.address) === 1) return true;
      ssl.ERR_clear_error();
      return false;
    },

    forget,
  };

  // The library notes why it refused, for those who ask. Left there, Node would take the note for its own.
  function failure(what: string): ProtocolError {
    ssl.ERR_clear_error();
    return new ProtocolError('ERR_OPENSSL', `OpenSSL failed to ${what} a message`);
  }
}
