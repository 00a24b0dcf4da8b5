// Generations: text and bytes round-trip, comparison sees every bit.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VmGenIdError } from '../../vmgenid/errors.js';
import {
  VM_GEN_ID_BYTES,
  formatGuid,
  generationBytes,
  generationWords,
  parseGuid,
  sameGeneration,
} from '../../vmgenid/generation.js';

const id = fc.uint8Array({ minLength: VM_GEN_ID_BYTES, maxLength: VM_GEN_ID_BYTES });

describe('generation', () => {
  it('16 bytes survive the way through words and through text', () => {
    fc.assert(
      fc.property(id, bytes => {
        expect(generationBytes(generationWords(bytes))).toEqual(bytes);
        expect(parseGuid(formatGuid(bytes))).toEqual(bytes);
        expect(parseGuid(formatGuid(bytes).toUpperCase())).toEqual(bytes);
      }),
    );
  });

  it('the first three GUID fields lie little-endian in memory, as hypervisors write them', () => {
    const bytes = parseGuid('00112233-4455-6677-8899-aabbccddeeff');
    expect(Buffer.from(bytes).toString('hex')).toBe('33221100554477668899aabbccddeeff');
  });

  it('comparison tells apart ids that differ in one bit, wherever it is', () => {
    fc.assert(
      fc.property(id, fc.nat(127), (bytes, bit) => {
        const other = bytes.slice();
        other[bit >> 3] ^= 1 << (bit & 7);
        expect(sameGeneration(generationWords(bytes), generationWords(bytes))).toBe(true);
        expect(sameGeneration(generationWords(bytes), generationWords(other))).toBe(false);
      }),
    );
  });

  it.each([
    '{00112233-4455-6677-8899-aabbccddeeff}',
    '{00112233-4455-6677-8899-AABBCCDDEEFF}\r\n',
    '00112233445566778899aabbccddeeff',
    '{00112233445566778899aabbccddeeff}',
    ' 00112233-4455-6677-8899-aabbccddeeff',
    '\t 00112233445566778899aabbccddeeff \n',
  ])('reads %j as the GUID that it is, and writes it in one way', text => {
    expect(formatGuid(parseGuid(text))).toBe('00112233-4455-6677-8899-aabbccddeeff');
  });

  it.each([
    '',
    '00112233',
    '00112233-4455-6677-8899-aabbccddeefg',
    '{00112233-4455-6677-8899-aabbccddeeff',
    '00112233-4455-6677-8899-aabbccddeeff}',
    '{{00112233-4455-6677-8899-aabbccddeeff}}',
    '{ 00112233-4455-6677-8899-aabbccddeeff }',
    '0011-22334455-6677-8899-aabbccddeeff',
    '00112233-445566778899-aabbccddeeff',
    '00112233-4455-6677-8899-aabbccddeeff0',
    '00112233-4455-6677-8899-aabbccddeeff 1',
    '00112233 4455 6677 8899 aabbccddeeff',
    '0x00112233445566778899aabbccddeeff',
  ])('refuses %j as a GUID', text => {
    expect(() => parseGuid(text)).toThrow(expect.objectContaining({ code: 'ERR_GENERATION_TEXT' }));
  });

  it('whatever is cut off of a spelling, or lies half over another, is no GUID', () => {
    const guid = formatGuid(Uint8Array.from({ length: 16 }, (_, i) => i));
    const bare = guid.replaceAll('-', '');
    const spellings = [guid, bare, `{${guid}}`, `{${bare}}`, ` ${guid}`];
    for (const whole of spellings) {
      for (let length = 0; length < whole.length; length++) {
        expect(() => parseGuid(whole.slice(0, length))).toThrow(/not a GUID/);
        for (const under of spellings) {
          const half = whole.slice(0, length) + under.slice(length);
          if (!spellings.includes(half)) expect(() => parseGuid(half)).toThrow(/not a GUID/);
        }
      }
    }
  });

  it.each([0, 15, 17])('refuses an id of %i bytes', length => {
    expect(() => generationWords(new Uint8Array(length))).toThrow(VmGenIdError);
  });
});
