// X25519 by OpenSSL. It wants a key object for each private key and derives the public one along with it: where
// libsodium loads, that is twice as fast.
// Promises: the objects live for one call; the library erases what it frees of a private key.
// Read on: EVP_PKEY-X25519(7), EVP_PKEY_derive(3); RFC 7748.

import type { Koffi } from '../../../native/koffi.js';
import { KEY_BYTES, type Suite } from '../../suite.js';
import { expectKey, expectPoint } from '../lengths.js';
import { NativeMemory } from '../../../native/native-memory.js';
import { type OpenSsl, cText, required, succeeded } from './library.js';

type KeyAgreement = Pick<Suite, 'publicKey' | 'sharedSecret'>;

export function opensslX25519(koffi: Koffi, ssl: OpenSsl): KeyAgreement {
  const name = cText(koffi, 'X25519');
  const ours = new NativeMemory(koffi, KEY_BYTES);
  const theirs = new NativeMemory(koffi, KEY_BYTES);
  const result = new NativeMemory(koffi, KEY_BYTES);
  const resultLength = new NativeMemory(koffi, 8);

  function withPrivateKey<T>(privateKey: Uint8Array, use: (key: number) => T): T {
    ours.bytes.set(privateKey);
    const { address } = ours;
    const key = ssl.EVP_PKEY_new_raw_private_key_ex(0, name.address, 0, address, KEY_BYTES);
    ours.bytes.fill(0);
    try {
      return use(required(key, 'X25519'));
    } finally {
      ssl.EVP_PKEY_free(key);
    }
  }

  /** Whether there is a shared secret, which is then in `result`. */
  function derive(key: number, peer: number): boolean {
    const context = required(ssl.EVP_PKEY_CTX_new_from_pkey(0, key, 0), 'memory');
    try {
      succeeded(ssl.EVP_PKEY_derive_init(context), 'begin a key agreement');
      succeeded(ssl.EVP_PKEY_derive_set_peer(context, peer), 'take a public key');
      resultLength.view.setUint32(0, KEY_BYTES, true);
      return ssl.EVP_PKEY_derive(context, result.address, resultLength.address) === 1;
    } finally {
      ssl.EVP_PKEY_CTX_free(context);
    }
  }

  function take(out: Uint8Array): void {
    out.set(result.bytes);
    result.bytes.fill(0);
  }

  return {
    publicKey(privateKey, out) {
      expectKey(privateKey);
      expectPoint(out);
      withPrivateKey(privateKey, key => {
        resultLength.view.setUint32(0, KEY_BYTES, true);
        const answer = ssl.EVP_PKEY_get_raw_public_key(key, result.address, resultLength.address);
        succeeded(answer, 'derive a public key');
      });
      take(out);
    },

    sharedSecret(privateKey, publicKey, out) {
      expectKey(privateKey);
      expectKey(publicKey);
      expectPoint(out);
      theirs.bytes.set(publicKey);
      const isAgreed = withPrivateKey(privateKey, key => {
        const peer = ssl.EVP_PKEY_new_raw_public_key_ex(0, name.address, 0, theirs.address, KEY_BYTES);
        try {
          return derive(key, required(peer, 'memory'));
        } finally {
          ssl.EVP_PKEY_free(peer);
        }
      });
      // A point of low order leaves no secret, and a note why: Node would take it for its own.
      if (!isAgreed) {
        result.bytes.fill(0);
        ssl.ERR_clear_error();
      }
      take(out);
      return isAgreed;
    },
  };
}
