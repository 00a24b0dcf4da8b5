// Whether a text is an address: asked of our own reader, since a page has no `node:net`, and held against Node's.

import { isIP } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipVersion } from '../../native/ip-version.js';

const group = fc.oneof(fc.stringMatching(/^[0-9a-fA-F]{1,4}$/), fc.constantFrom('', '0', '12345', 'g'));
const byte = fc.oneof(
  fc.integer({ min: 0, max: 255 }).map(String),
  fc.constantFrom('256', '01', '', '1e1', '-1'),
);
const ipv4 = fc.array(byte, { minLength: 3, maxLength: 5 }).map(bytes => bytes.join('.'));
const ipv6 = fc
  .tuple(fc.array(group, { maxLength: 9 }), fc.constantFrom('', '::', ':'), fc.array(group, { maxLength: 8 }))
  .map(([head, middle, tail]) => `${head.join(':')}${middle}${tail.join(':')}`);
const anyText = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  ipv4,
  ipv6,
  fc.tuple(ipv6, ipv4).map(([head, tail]) => `${head}:${tail}`),
  fc.tuple(ipv6, fc.constantFrom('%', '%eth0', '%a.b', '%a%b', '% ', '%1')).map(parts => parts.join('')),
);

test('says what Node says, of addresses, of what is nearly one, and of their zones', () => {
  const seen = { 0: 0, 4: 0, 6: 0 };
  fc.assert(
    fc.property(anyText, text => {
      const version = isIP(text) as 0 | 4 | 6;
      seen[version]++;
      expect(ipVersion(text), JSON.stringify(text)).toBe(version);
    }),
    { numRuns: 20_000 },
  );
  for (const version of [0, 4, 6] as const) expect(seen[version]).toBeGreaterThan(100);
});

test.each([
  '::',
  '1::',
  '::1',
  '1:2:3:4:5:6:7:8',
  '1:2:3:4:5:6:7::',
  '::2:3:4:5:6:7:8',
  '1:2:3:4::5:6:7:8',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:1.2.3.4',
  '::1.2.3.4',
  '1.2.3.4::',
  '::1.2.3.4:5',
  '1:::2',
  '::1::',
  ':1',
  '1:',
  ':',
  '',
  '%',
  '::%',
  '::1%eth0',
  '1.2.3.4%eth0',
  '1.2.3.4.',
  '.1.2.3.4',
  '1.2.3.4\n',
  '::1\n',
  '::1%eth0\n',
  'localhost',
])('says of %j what Node says', text => {
  expect(ipVersion(text)).toBe(isIP(text));
});
