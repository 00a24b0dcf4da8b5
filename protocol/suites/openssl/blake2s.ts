// BLAKE2s by OpenSSL: plain, keyed, and under HMAC, each in a context that is kept.
// Promises: no memory of the caller's is given to the library: what is hashed passes through a page of our own, which
// is erased before a call returns; `forget` erases what a context keeps of its last key.
// Read on: EVP_MD-BLAKE2(7), EVP_MAC-BLAKE2(7), EVP_MAC-HMAC(7); RFC 7693, RFC 2104.

import { secretBytes } from '../../../native/secret-bytes.js';
import type { Koffi } from '../../../native/koffi.js';
import { HASH_BYTES, MAC_BYTES, type Suite } from '../../suite.js';
import { expectHash, expectMac, expectMacKey } from '../lengths.js';
import { NativeMemory } from '../../../native/native-memory.js';
import { type OpenSsl, PARAM_TEXT, PARAM_UNSIGNED, Param, cText, required, succeeded } from './library.js';

const BLOCK_BYTES = 64;
const PAGE_BYTES = 4096;

type Hashes = Pick<Suite, 'hash' | 'mac' | 'hmac' | 'forget'>;

export function opensslBlake2s(koffi: Koffi, ssl: OpenSsl): Hashes {
  const digestName = cText(koffi, 'BLAKE2S-256');
  const digest = required(ssl.EVP_MD_fetch(0, digestName.address, 0), 'BLAKE2s');
  const hashing = required(ssl.EVP_MD_CTX_new(), 'memory');
  succeeded(ssl.EVP_DigestInit_ex2(hashing, digest, 0), 'start BLAKE2s');

  const macLength = new NativeMemory(koffi, 8);
  macLength.view.setUint32(0, MAC_BYTES, true);
  const keyed = new KeptMac(koffi, ssl, 'BLAKE2SMAC', new Param(koffi, 'size', PARAM_UNSIGNED, macLength));
  const digestParam = new Param(koffi, 'digest', PARAM_TEXT, digestName, digestName.bytes.length - 1);
  const hmac = new KeptMac(koffi, ssl, 'HMAC', digestParam);

  const page = new NativeMemory(koffi, PAGE_BYTES);
  const result = new NativeMemory(koffi, HASH_BYTES);
  const macResult = result.bytes.subarray(0, MAC_BYTES);
  const longKeyHash = secretBytes(HASH_BYTES);

  /** Gives the parts to a context, a page at a time. */
  function absorb(
    update: (context: number, data: number, length: number) => number,
    context: number,
    parts: readonly Uint8Array[],
  ): boolean {
    let isAbsorbed = true;
    let most = 0;
    for (const part of parts) {
      for (let at = 0; at < part.length; at += PAGE_BYTES) {
        const piece = part.length <= PAGE_BYTES ? part : part.subarray(at, at + PAGE_BYTES);
        page.bytes.set(piece);
        isAbsorbed = update(context, page.address, piece.length) === 1 && isAbsorbed;
        most = Math.max(most, piece.length);
      }
    }
    page.bytes.fill(0, 0, most);
    return isAbsorbed;
  }

  function finish(isDone: boolean, out: Uint8Array, bytes: Uint8Array): void {
    succeeded(Number(isDone), 'hash');
    out.set(bytes);
    bytes.fill(0);
  }

  function hash(out: Uint8Array, ...parts: Uint8Array[]): void {
    expectHash(out);
    const isDone =
      ssl.EVP_DigestInit_ex2(hashing, 0, 0) === 1 &&
      absorb(ssl.EVP_DigestUpdate, hashing, parts) &&
      ssl.EVP_DigestFinal_ex(hashing, result.address, 0) === 1;
    finish(isDone, out, result.bytes);
  }

  function authenticate(mac: KeptMac, key: Uint8Array, parts: readonly Uint8Array[]): boolean {
    page.bytes.set(key);
    const isStarted = mac.start(page.address, key.length);
    page.bytes.fill(0, 0, key.length);
    return (
      isStarted &&
      absorb(ssl.EVP_MAC_update, mac.context, parts) &&
      ssl.EVP_MAC_final(mac.context, result.address, 0, HASH_BYTES) === 1
    );
  }

  return {
    hash,

    mac(out, key, ...parts) {
      expectMac(out);
      expectMacKey(key);
      finish(authenticate(keyed, key, parts), out, macResult);
    },

    hmac(out, key, ...parts) {
      expectHash(out);
      if (key.length <= BLOCK_BYTES) {
        finish(authenticate(hmac, key, parts), out, result.bytes);
        return;
      }
      // RFC 2104: a key longer than a block stands for its hash.
      hash(longKeyHash, key);
      finish(authenticate(hmac, longKeyHash, parts), out, result.bytes);
      longKeyHash.fill(0);
    },

    forget() {
      keyed.forget();
      hmac.forget();
    },
  };
}

/** A MAC context that lives until its key is to be forgotten: only freeing it erases all that was derived from one. */
class KeptMac {
  context = 0;
  readonly #ssl: OpenSsl;
  readonly #algorithm: number;
  readonly #param: Param;
  #used = false;

  constructor(koffi: Koffi, ssl: OpenSsl, name: string, param: Param) {
    this.#ssl = ssl;
    this.#algorithm = required(ssl.EVP_MAC_fetch(0, cText(koffi, name).address, 0), name);
    this.#param = param;
    this.#create();
  }

  start(key: number, length: number): boolean {
    this.#used = true;
    return this.#ssl.EVP_MAC_init(this.context, key, length, 0) === 1;
  }

  forget(): void {
    if (!this.#used) return;
    this.#ssl.EVP_MAC_CTX_free(this.context);
    this.#create();
    this.#used = false;
  }

  #create(): void {
    this.context = required(this.#ssl.EVP_MAC_CTX_new(this.#algorithm), 'memory');
    succeeded(this.#ssl.EVP_MAC_CTX_set_params(this.context, this.#param.address), 'prepare a MAC');
  }
}
