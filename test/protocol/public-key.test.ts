import { describe, expect, it } from 'vitest';
import { publicKeyOf } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';

describe('publicKeyOf', () => {
  it('gives the public key of RFC 7748 section 6.1', () => {
    const alice = Buffer.from('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a', 'hex');
    const publicKey = publicKeyOf(nobleSuite, new Uint8Array(alice));
    expect(Buffer.from(publicKey).toString('hex')).toBe(
      '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
    );
  });

  it('refuses what is no key', () => {
    const code = 'ERR_LENGTH';
    expect(() => publicKeyOf(nobleSuite, new Uint8Array(31))).toThrow(expect.objectContaining({ code }));
  });
});
