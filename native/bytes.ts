// What bytes need when some of them are secret: comparison and erasure. The one comparison there is, for secrets (MACs, keys)
// and for what everybody may know (addresses, generation IDs) alike.
// Promises: how long a comparison takes depends on the lengths alone. An engine may keep copies of what it has moved or
// optimised; `wipe` erases the home of a secret, no more.

/** Whether two arrays hold the same bytes. Lengths are public: arrays of different lengths are unequal at once. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i] ^ b[i];
  return difference === 0;
}

/** Whether all bytes are zeros, as of a key that is none. */
export function isZero(bytes: Uint8Array): boolean {
  let all = 0;
  for (const byte of bytes) all |= byte;
  return all === 0;
}

/** Overwrites secrets with zeros. */
export function wipe(...secrets: Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0);
}
