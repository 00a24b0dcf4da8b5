import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Suite, TAG_BYTES } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { nativeSuites } from '../support/suites.js';

const bytes = (minLength: number, maxLength = minLength) => fc.uint8Array({ minLength, maxLength });
const word = fc.oneof(
  fc.constantFrom(0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
);

const input = fc.record({
  key: bytes(32),
  other: bytes(32),
  xnonce: bytes(24),
  low: word,
  high: word,
  offset: fc.integer({ min: 0, max: 40 }),
  message: bytes(0, 300),
  aad: fc.option(bytes(0, 80), { nil: undefined }),
  macKey: bytes(1, 32),
  hmacKey: bytes(0, 100),
  parts: fc.array(bytes(0, 150), { maxLength: 4 }),
  flip: fc.option(fc.nat(), { nil: undefined }),
});

/** Everything that a suite can say about one input. */
function answers(suite: Suite, given: typeof input extends fc.Arbitrary<infer T> ? T : never): unknown {
  const { key, other, xnonce, low, high, offset, message, aad, macKey, hmacKey, parts, flip } = given;
  const sealedLength = message.length + TAG_BYTES;
  const buffer = new Uint8Array(offset + sealedLength + 3).fill(0x55);
  buffer.set(message, offset);
  suite.seal(key, low, high, buffer, offset, message.length, aad);
  const sealed = buffer.slice();
  if (flip !== undefined) buffer[offset + (flip % sealedLength)] ^= 1 << (flip & 7);
  const opens = suite.open(key, low, high, buffer, offset, sealedLength, aad);
  const opened = opens ? buffer.slice(offset, offset + message.length) : undefined;

  const sealedX = suite.sealX(key, xnonce, message, aad ?? other);
  const forgedX = sealedX.slice();
  if (flip !== undefined) forgedX[flip % sealedLength] ^= 1 << (flip & 7);
  const openedX = suite.openX(key, xnonce, forgedX, aad ?? other);

  const outs = Array.from({ length: 4 }, () => new Uint8Array(32));
  const mac = new Uint8Array(16);
  suite.publicKey(key, outs[0]);
  const agreed = suite.sharedSecret(key, other, outs[1]);
  suite.hash(outs[2], ...parts);
  suite.mac(mac, macKey, ...parts);
  suite.hmac(outs[3], hmacKey, ...parts);
  return { sealed, opens, opened, sealedX, openedX, agreed, outs, mac };
}

describe.each(nativeSuites)('the $name suite', suite => {
  it('makes the same bytes and the same decisions as the reference', () => {
    fc.assert(
      fc.property(input, given => {
        expect(answers(suite, given)).toEqual(answers(nobleSuite, given));
      }),
      { numRuns: 150 },
    );
  });

  it('opens what the reference seals, and the other way round, as long as nothing was changed', () => {
    fc.assert(
      fc.property(
        bytes(32),
        word,
        word,
        bytes(0, 200),
        fc.option(fc.nat(), { nil: undefined }),
        (key, low, high, message, flip) => {
          for (const [sealer, opener] of [
            [nobleSuite, suite],
            [suite, nobleSuite],
          ]) {
            const buffer = new Uint8Array(message.length + TAG_BYTES);
            buffer.set(message);
            sealer.seal(key, low, high, buffer, 0, message.length);
            if (flip !== undefined) buffer[flip % buffer.length] ^= 1 << (flip & 7);
            expect(opener.open(key, low, high, buffer, 0, buffer.length)).toBe(flip === undefined);
            if (flip === undefined) expect(buffer.subarray(0, message.length)).toEqual(message);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('seals every length that a datagram may have as the reference does', () => {
    const key = bytesOf(32, 7);
    // All around the block sizes of vector units, then in steps that no block size divides.
    const lengths = [...Array.from({ length: 1100 }, (_, i) => i), 1424, 1440, 8191, 16_385, 65_535];
    for (let length = 1100; length < 65_535; length += 1213) lengths.push(length);
    const ours = new Uint8Array(65_535 + TAG_BYTES);
    const theirs = new Uint8Array(65_535 + TAG_BYTES);
    for (const length of lengths) {
      const message = bytesOf(length, 3);
      ours.set(message);
      theirs.set(message);
      suite.seal(key, length, 1, ours, 0, length);
      nobleSuite.seal(key, length, 1, theirs, 0, length);
      const end = length + TAG_BYTES;
      expect(Buffer.compare(ours.subarray(0, end), theirs.subarray(0, end)), `${length} bytes`).toBe(0);
      expect(suite.open(key, length, 1, ours, 0, end), `${length} bytes`).toBe(true);
      expect(Buffer.compare(ours.subarray(0, length), message), `${length} bytes`).toBe(0);
    }
  });
});

const bytesOf = (length: number, step: number) => Uint8Array.from({ length }, (_, i) => step * i);
