// Static keys for tests. They are derived from a text, so that a state with them in it can be kept and used again.

import { createHash, createPrivateKey, createPublicKey } from 'node:crypto';

export interface Identity {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** What stands before the 32 bytes of an X25519 private key in PKCS #8 (RFC 8410, section 7). */
const PKCS8_X25519 = Buffer.from('302e020100300506032b656e04220420', 'hex');

export function identityOf(text: string): Identity {
  const privateKey = createHash('sha256').update(text).digest();
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8_X25519, privateKey]),
    format: 'der',
    type: 'pkcs8',
  });
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  return {
    privateKey: new Uint8Array(privateKey),
    publicKey: new Uint8Array(Buffer.from(x ?? '', 'base64url')),
  };
}
