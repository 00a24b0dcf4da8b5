import { describe, expect, it } from 'vitest';
import {
  cookieKey,
  cookieValue,
  createCookieReply,
  isMac1Valid,
  isMac2Valid,
  mac1Key,
  openCookieReply,
  writeMac1,
  writeMac2,
} from '../../protocol/cookie.js';
import { counting, hex, suites, toHex } from '../support/suites.js';

// Expected values are from the paper's formulas, computed with Python's hashlib.blake2s.
const publicKey = counting(32);
const otherKey = counting(33).subarray(1);
const cookie = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i);
const initiation = () => Uint8Array.from({ length: 148 }, (_, i) => 7 * i);
const ipv4 = Uint8Array.of(192, 0, 2, 1);

describe.each(suites.map(suite => [suite.name, suite] as const))('with the %s suite', (_, suite) => {
  const key = mac1Key(suite, publicKey);

  it('keys are hashes of a label and a public key', () => {
    expect(toHex(key)).toBe('4fb2527ac956001553dc1ad9b55171b7d9daa3de1cdbcd71451830170c7e6cac');
    expect(toHex(cookieKey(suite, publicKey))).toBe(
      '3dd5869c5202e45146936d1644f76ff697061661c181f3fd450eae43932eacec',
    );
  });

  it('mac1 covers what is before it, mac2 that and mac1', () => {
    const message = initiation();
    writeMac1(suite, key, message);
    writeMac2(suite, cookie, message);
    expect(toHex(message.subarray(0, 116))).toBe(toHex(initiation().subarray(0, 116)));
    expect(toHex(message.subarray(116, 132))).toBe('03a55c329de13c8e850faad2618d1d34');
    expect(toHex(message.subarray(132))).toBe('4d23f403a9af44ce207fa598444fb8f5');
    expect(isMac1Valid(suite, key, message)).toBe(true);
    expect(isMac2Valid(suite, cookie, message)).toBe(true);
  });

  it('no flipped bit passes, except in mac2 for mac1, which does not cover it', () => {
    const message = initiation();
    writeMac1(suite, key, message);
    writeMac2(suite, cookie, message);
    for (let bit = 0; bit < message.length * 8; bit += 5) {
      const forged = message.slice();
      forged[bit >> 3] ^= 1 << (bit & 7);
      expect(isMac1Valid(suite, key, forged)).toBe(bit >> 3 >= 132);
      expect(isMac2Valid(suite, cookie, forged)).toBe(false);
    }
    expect(isMac1Valid(suite, mac1Key(suite, otherKey), message)).toBe(false);
    expect(
      isMac2Valid(
        suite,
        cookie.map(byte => byte ^ 1),
        message,
      ),
    ).toBe(false);
  });

  it('works on a response of 92 bytes and on a message within a larger buffer', () => {
    const buffer = new Uint8Array(101).fill(0xee);
    const message = buffer.subarray(5, 97);
    writeMac1(suite, key, message);
    writeMac2(suite, cookie, message);
    expect(isMac1Valid(suite, key, message.slice())).toBe(true);
    expect(isMac2Valid(suite, cookie, message.slice())).toBe(true);
    expect([...buffer.subarray(0, 65), ...buffer.subarray(97)].every(byte => byte === 0xee)).toBe(true);
  });

  it('a message too short for its MACs is invalid, and writing to one throws', () => {
    for (const length of [0, 15, 16, 31]) {
      const message = new Uint8Array(length);
      expect(isMac1Valid(suite, key, message)).toBe(false);
      expect(isMac2Valid(suite, cookie, message)).toBe(false);
      expect(() => writeMac1(suite, key, message)).toThrow(expect.objectContaining({ code: 'ERR_LENGTH' }));
      expect(() => writeMac2(suite, cookie, message)).toThrow(
        expect.objectContaining({ code: 'ERR_LENGTH' }),
      );
    }
  });

  it('a cookie is bound to the address and the port', () => {
    expect(toHex(cookieValue(suite, counting(32), ipv4, 51820))).toBe('b1db5839f9fd47f550c7fb7ecc003ab7');
    const ipv6 = hex('20010db8000000000000000000000001');
    expect(toHex(cookieValue(suite, counting(32), ipv6, 53))).toBe('9a7cfeee96ada3caccc77b9631937c93');
    const values = [
      cookieValue(suite, counting(32), ipv4, 51820),
      cookieValue(suite, counting(32), ipv4, 51821),
      cookieValue(suite, counting(32), ipv4, 51820 ^ 0x100),
      cookieValue(suite, counting(32), Uint8Array.of(192, 0, 2, 2), 51820),
      cookieValue(suite, otherKey, ipv4, 51820),
    ].map(toHex);
    expect(new Set(values).size).toBe(values.length);
  });

  it('a cookie reply opens for the one whose mac1 it answers, and for nobody else', () => {
    const ours = cookieKey(suite, publicKey);
    const mac1 = counting(16);
    const reply = createCookieReply(suite, {
      receiverIndex: 0x8899_aabb,
      cookieKey: ours,
      cookie,
      nonce: counting(24),
      mac1,
    });
    expect(reply).toHaveLength(64);
    expect(toHex(reply.subarray(0, 8))).toBe('03000000bbaa9988');
    expect(reply.subarray(8, 32)).toEqual(counting(24));
    expect(openCookieReply(suite, ours, reply, mac1)).toEqual(cookie);

    expect(openCookieReply(suite, ours, reply, counting(17).subarray(1))).toBeUndefined();
    expect(openCookieReply(suite, cookieKey(suite, otherKey), reply, mac1)).toBeUndefined();
    for (let bit = 0; bit < reply.length * 8; bit++) {
      const forged = reply.slice();
      forged[bit >> 3] ^= 1 << (bit & 7);
      const at = bit >> 3;
      // The receiver index is not authenticated: it only finds the handshake whose mac1 then must fit.
      const opens = at >= 4 && at < 8;
      expect(openCookieReply(suite, ours, forged, mac1) !== undefined, `bit ${bit}`).toBe(opens);
    }
    for (const length of [0, 32, 63]) {
      expect(openCookieReply(suite, ours, reply.subarray(0, length), mac1)).toBeUndefined();
    }
  });
});
