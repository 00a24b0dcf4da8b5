import { expect, test } from 'vitest';
import { ago, bytes, duration, harmless, plural } from '../../../tunnel/daemon/human.js';

test.each([
  [0, '0 seconds'],
  [999, '0 seconds'],
  [1_000, '1 second'],
  [61_500, '1 minute, 1 second'],
  [7_200_000, '2 hours'],
  [(366 * 86_400 + 3) * 1_000, '1 year, 1 day, 3 seconds'],
  [-5, '0 seconds'],
])('%d ms are %s', (ms, text) => {
  expect(duration(ms)).toBe(text);
});

test('how long ago, as wg says it', () => {
  expect(ago(1_000, 1_500)).toBe('now');
  expect(ago(1_000, 64_000)).toBe('1 minute, 3 seconds ago');
  expect(ago(2_000, 1_000)).toContain('in the future');
});

test.each([
  [0, '0 B'],
  [1_023, '1023 B'],
  [1_024, '1.00 KiB'],
  [1_536, '1.50 KiB'],
  [5 * 2 ** 30, '5.00 GiB'],
  [2 ** 52, '4096.00 TiB'],
])('%d bytes are %s', (count, text) => {
  expect(bytes(count)).toBe(text);
});

test('one and many', () => {
  expect([0, 1, 2, 1_000].map(count => plural(count, 'fork'))).toEqual([
    '0 forks',
    '1 fork',
    '2 forks',
    '1,000 forks',
  ]);
});

// Of each kind: what moves the cursor, in both spellings; what turns the order of text (bidirectional
// marks, overrides and isolates); what cannot be seen; what ends a line; half a pair; a tag beyond the
// first plane.
const STEERING = [
  '\u001b[2J',
  '\u009b2J',
  '\u007f',
  '\r\n',
  '\u202eexe',
  '\u2066x\u2069',
  '\u200b',
  '\u2028',
  '\ud800',
  '\u{e0041}',
];

test.each(STEERING)('what steers is shown, and steers no more: %j', text => {
  const shown = harmless(`a ${text} b`);
  expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
  expect(shown).toMatch(/^a \\u[\da-f]{4}/);
  expect(shown.endsWith(' b')).toBe(true);
});

test('JSON made harmless is JSON of the same value; text that only looks strange is left as it is', () => {
  expect(JSON.parse(harmless(JSON.stringify(STEERING)))).toEqual(STEERING);
  for (const text of ['wg0: äöü 日本 🙂 ‽', 'a\\u001b', '']) expect(harmless(text)).toBe(text);
});
