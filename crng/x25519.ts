// Private keys of X25519, of random bytes. Read on: RFC 7748 section 5; `wg genkey`, whose keys have this form too.

/** Gives 32 random bytes the form of a private key, in place: so it reads the same wherever it is shown. */
export function clampX25519(key: Uint8Array): void {
  key[0] &= 248;
  key[31] = (key[31] & 127) | 64;
}
