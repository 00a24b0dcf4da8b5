// The attacker: what two datagrams under one key and nonce give away, and what a peer takes from him.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { forge } from '../../demo/attack/forge.js';
import { recoverPlaintext } from '../../demo/attack/keystream.js';
import { solveOneTimeKey } from '../../demo/attack/poly1305.js';
import { PRIME, evaluate, mod, rootsOf } from '../../demo/attack/polynomials.js';
import { Wiretap } from '../../demo/wiretap.js';
import { TRANSPORT } from '../../protocol/messages.js';
import { nobleSuite } from '../../protocol/suites/noble.js';

const COUNTER = 7;
const text = (words: string) => new TextEncoder().encode(words);

/** A data message as a device makes it: filled up to whole blocks, no associated data. */
function sealed(key: Uint8Array, plaintext: Uint8Array, counter = COUNTER): Uint8Array {
  const length = Math.ceil(plaintext.length / 16) * 16;
  const datagram = new Uint8Array(TRANSPORT.packet + length + 16);
  datagram[0] = 4;
  datagram[TRANSPORT.receiver] = 9;
  datagram[TRANSPORT.counter] = counter;
  datagram.set(plaintext, TRANSPORT.packet);
  nobleSuite.seal(key, counter, 0, datagram, TRANSPORT.packet, length);
  return datagram;
}

function pair(key: Uint8Array, first: Uint8Array, second: Uint8Array) {
  const wiretap = new Wiretap();
  for (const plaintext of [first, second]) wiretap.see(sealed(key, plaintext));
  return wiretap.reuses[0];
}

const keys = fc.uint8Array({ minLength: 32, maxLength: 32 });
const packets = fc.uint8Array({ minLength: 1, maxLength: 112 });

describe('polynomials', () => {
  it('have exactly the roots that they were made of', () => {
    const numbers = fc.uniqueArray(fc.bigInt({ min: 0n, max: PRIME - 1n }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(numbers, fc.bigInt({ min: 1n, max: PRIME - 1n }), (roots, lead) => {
        let product = [lead];
        for (const root of roots)
          product = [0n, ...product].map((high, i) => mod(high - root * (product[i] ?? 0n)));
        expect(new Set(rootsOf(product))).toEqual(new Set(roots));
      }),
      { numRuns: 10 },
    );
  });

  it('without roots have none, and a double root is there once', () => {
    // 2 is no square modulo 2^130 - 5, which is 3 modulo 8.
    expect(rootsOf([mod(-2n), 0n, 1n])).toEqual([]);
    expect(rootsOf([9n, mod(-6n), 1n])).toEqual([3n]);
    expect(evaluate([1n, 2n, 3n], 2n)).toBe(17n);
    expect(() => rootsOf([])).toThrow(RangeError);
  });
});

describe('two messages under one key and nonce', () => {
  it('give the one-time key of the authenticator away', () => {
    fc.assert(
      fc.property(keys, packets, packets, (key, first, second) => {
        const reuse = pair(key, first, second);
        fc.pre(reuse !== undefined);
        expect(solveOneTimeKey(reuse.first, reuse.second)).toBeDefined();
      }),
      { numRuns: 10 },
    );
  });

  it('and a guess at one of them are enough to say anything in the machine’s name', () => {
    fc.assert(
      fc.property(keys, packets, packets, packets, (key, first, second, lie) => {
        const reuse = pair(key, first, second);
        fc.pre(reuse !== undefined && lie.length <= first.length);
        const solved = solveOneTimeKey(reuse.first, reuse.second);
        const forged = forge(reuse, solved?.key ?? { r: 0n, s: 0n }, first, lie);
        expect(
          nobleSuite.open(key, COUNTER, 0, forged, TRANSPORT.packet, forged.length - TRANSPORT.packet),
        ).toBe(true);
        expect(forged.subarray(TRANSPORT.packet, TRANSPORT.packet + lie.length)).toEqual(lie);
      }),
      { numRuns: 10 },
    );
  });

  it('and a guess at one of them give the other', () => {
    const [health, secret] = [text('GET /health HTTP/1.1 padding'), text('POST /pay  card=4111')];
    const reuse = pair(new Uint8Array(32).fill(5), health, secret);
    for (const knownIsFirst of [true, false]) {
      const [known, wanted] = knownIsFirst ? [health, secret] : [secret, health];
      expect(recoverPlaintext(reuse, known, knownIsFirst).subarray(0, wanted.length)).toEqual(wanted);
    }
  });
});

it('control: two messages under two nonces, or two keys, give no one-time key', () => {
  const [key, other] = [5, 6].map(byte => new Uint8Array(32).fill(byte));
  const first = sealed(key, text('one thing'));
  expect(solveOneTimeKey(first, sealed(key, text('another'), COUNTER + 1))).toBeUndefined();
  expect(solveOneTimeKey(first, sealed(other, text('another')))).toBeUndefined();
  expect(solveOneTimeKey(first, first)).toBeUndefined();
});
