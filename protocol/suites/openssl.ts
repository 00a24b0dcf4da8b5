// The OpenSSL that the Node binary carries, where koffi can call it: the fastest hash found so far, and the
// fastest cipher but for ipsec-mb.ts. XChaCha20, which cookies alone need, is not among its ciphers and stays with noble.
// Promises: offered only after it has passed the self-test; nothing of it draws on OpenSSL's generator.
// Read on: openssl/aead.ts, openssl/blake2s.ts, openssl/x25519.ts; docs/performance.md.

import type { Koffi } from '../../native/koffi.js';
import type { Suite } from '../suite.js';
import { offerNativeSuite } from './native-suite.js';
import { nobleSuite } from './noble.js';
import { opensslAead } from './openssl/aead.js';
import { opensslBlake2s } from './openssl/blake2s.js';
import { bindOpenSsl } from './openssl/library.js';
import { opensslX25519 } from './openssl/x25519.js';

let loaded: Promise<Suite | undefined> | undefined;

/**
 * One suite, with contexts of its own, for each thread. Resolves to `undefined` where koffi does not load, where Node
 * was built on another library, or where the self-test fails.
 */
export function loadOpensslSuite(): Promise<Suite | undefined> {
  loaded ??= offerNativeSuite(opensslSuite);
  return loaded;
}

function opensslSuite(koffi: Koffi): Suite {
  const ssl = bindOpenSsl(koffi);
  const aead = opensslAead(koffi, ssl);
  const hashes = opensslBlake2s(koffi, ssl);
  return {
    name: 'openssl',
    seal: aead.seal,
    open: aead.open,
    sealX: nobleSuite.sealX,
    openX: nobleSuite.openX,
    ...opensslX25519(koffi, ssl),
    hash: hashes.hash,
    mac: hashes.mac,
    hmac: hashes.hmac,
    forget() {
      aead.forget();
      hashes.forget();
    },
  };
}
