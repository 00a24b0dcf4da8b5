// Files for `wg-quick up` made by a grammar: sections and keys in any order and number, blanks, case, comments and line
// ends in every way, and values of which some are wrong.
// Promises: none of the deliberate differences (corpus.ts) is among them, so that both sides must agree on every file.

import fc from 'fast-check';
import { OTHER, PRIVATE, PUBLIC, ZERO } from './corpus.js';

const THIRD = 'bWFueSBhIGtleSBpcyBqdXN0IGEgc2VudGVuY2UgISE=';

interface Key {
  readonly name: string;
  readonly good: readonly string[];
  readonly bad: readonly string[];
}

// Ranges lie outside the networks of the addresses, or `wg-quick` would need no route to them.
const OF_WG_INTERFACE: readonly Key[] = [
  { name: 'ListenPort', good: ['0', '7', '051', '+9', 'domain', 'ntp'], bad: ['', '-1', '0x10', 'no-such'] },
  {
    name: 'FwMark',
    good: ['off', 'OFF', '0', '010', '0xCA6c', '4294967295'],
    bad: ['', '0X1', '4294967296', 'on'],
  },
  { name: 'PrivateKey', good: [PRIVATE, OTHER], bad: [`${PRIVATE.slice(0, 42)}1=`, 'short'] },
];
const OF_WG_QUICK: readonly Key[] = [
  {
    name: 'Address',
    good: [
      '10.92.0.1/24',
      '10.93.0.1 10.94.0.1/30',
      'fd92::1/64,',
      '10.95/16,fd95::1',
      '0x0a.96.1.1/255.255.0.0',
      '',
    ],
    bad: ['10.92.0.1/33', 'here', '::1/128', '10.97.0.1,10.97.0.1', '10.92.0.1/24/5'],
  },
  {
    name: 'DNS',
    good: [
      '10.92.0.2',
      'fd92::2 , corp.example',
      '~.',
      '9.9.9.9, ~corp.example,',
      'a_b',
      '1.1.1 8.8.8.8',
      '',
    ],
    bad: [],
  },
  {
    name: 'MTU',
    good: ['1420', '1280', '0x58c', '02600', '+1400', ''],
    bad: ['67', '65536', 'auto', '08', '14 00'],
  },
  { name: 'Table', good: ['off', 'auto', 'main', '51820', ''], bad: [] },
  { name: 'PreUp', good: ['', ': a  b', ': "x = y, z"'], bad: [] },
  { name: 'PostUp', good: ['', ': c; : d', ': [Peer]'], bad: [] },
  { name: 'PreDown', good: ['', ': e'], bad: [] },
  { name: 'PostDown', good: ['', ': f'], bad: [] },
  { name: 'SaveConfig', good: ['true', 'False', 'TRUE'], bad: ['', 'yes', '1'] },
];
const OF_PEER: readonly Key[] = [
  { name: 'PublicKey', good: [PUBLIC, OTHER, THIRD], bad: ['', PUBLIC.slice(1)] },
  { name: 'PresharedKey', good: [OTHER, ZERO, PRIVATE], bad: ['', 'short'] },
  {
    name: 'AllowedIPs',
    good: [
      '172.16.0.0/12',
      '172.17.1.1/16,172.18.0.0/016',
      'fdaa::/16',
      'fdaa::1.2.3.4/120',
      '172.31.0.9',
      '172.17.1.2/16',
    ],
    bad: [
      '',
      '172.16.0.0/12,',
      '172.16.0.0/33',
      '172.16/12',
      '+172.16.0.0/12',
      '172.16.0.0/0xc',
      '172.16.0.0/12 172.17.0.0/16',
    ],
  },
  {
    name: 'Endpoint',
    good: [
      '192.0.2.1:51820',
      '[2001:db8::1]:7',
      '2001:DB8::2:7',
      '127.9:domain',
      '[192.0.2.3]:08',
      '[fe80::1%lo]:9',
    ],
    bad: ['', '192.0.2.1', '[2001:db8::1]', '[]:5', '192.0.2.1:no-such', '1.2.3.4.5:6', '08.1:5'],
  },
  {
    name: 'PersistentKeepalive',
    good: ['off', 'OFF', '0', '025', '65535'],
    bad: ['', '65536', '0x19', '-1', 'on'],
  },
];
const MISPLACED = [
  'Color = red',
  'ListenPort 7',
  '= 7',
  'M TU = 1400',
  '[Peers]',
  '[Peer',
  'DNS : 1.1.1.1',
  '\u00a0FwMark = 1',
];

/** One mistake in some 40 lines: half of the files should be taken. */
function rarely<T>(usual: fc.Arbitrary<T>, rare: readonly T[]): fc.Arbitrary<T> {
  if (rare.length === 0) return usual;
  return fc.oneof({ weight: 39, arbitrary: usual }, { weight: 1, arbitrary: fc.constantFrom(...rare) });
}

const blank = fc.constantFrom('', '', ' ', '\t', '  ', ' \f', '\v');
const comment = fc.constantFrom('', '', '', '# PostUp = : never', ' #\u00fc', '#[Peer]');

function anyCase(text: string): fc.Arbitrary<string> {
  return fc.constantFrom(text, text, text.toLowerCase(), text.toUpperCase());
}

function lineOf(key: Key): fc.Arbitrary<string> {
  const value = rarely(fc.constantFrom(...key.good), key.bad);
  return fc
    .tuple(blank, anyCase(key.name), blank, blank, value, blank, comment)
    .map(([a, name, b, c, text, d, end]) => `${a}${name}${b}=${c}${text}${d}${end}`);
}

/** `wg` takes blanks anywhere. */
function spreadLineOf(key: Key): fc.Arbitrary<string> {
  return fc
    .tuple(lineOf(key), fc.nat(60), blank)
    .map(([line, at, inserted]) => `${line.slice(0, at)}${inserted}${line.slice(at)}`);
}

const lines = (of: readonly fc.Arbitrary<string>[], maxLength: number) =>
  fc.array(rarely(fc.oneof(...of), MISPLACED), { maxLength });

const interfaceTitle = fc.tuple(blank, anyCase('[Interface]'), blank, comment).map(parts => parts.join(''));
const peerTitle = fc
  .tuple(blank, fc.constantFrom('[Peer]', '[peer]', '[ P eer ]'), blank, comment)
  .map(parts => parts.join(''));
const ownLines = lines([...OF_WG_INTERFACE.map(spreadLineOf), ...OF_WG_QUICK.map(lineOf)], 8);
const own = fc
  .tuple(interfaceTitle, ownLines, fc.constantFrom(PRIVATE, OTHER), ownLines)
  .map(([title, before, key, after]) => [title, ...before, `PrivateKey=${key}`, ...after]);
const moreOwn = fc.tuple(interfaceTitle, ownLines).map(([title, more]) => [title, ...more]);
const peerLines = lines(OF_PEER.map(spreadLineOf), 4);
const peer = fc
  .tuple(
    peerTitle,
    peerLines,
    rarely(
      fc.constantFrom(PUBLIC, OTHER, THIRD).map(key => `PublicKey = ${key}`),
      ['#'],
    ),
    peerLines,
  )
  .map(([title, before, key, after]) => [title, ...before, key, ...after]);

export const wgQuickFile: fc.Arbitrary<string> = fc
  .tuple(
    own,
    fc.array(fc.oneof({ weight: 4, arbitrary: peer }, { weight: 1, arbitrary: moreOwn }), { maxLength: 4 }),
    fc.boolean(),
    fc.constantFrom('\n', '\n', '\r\n', '\n\n'),
    fc.constantFrom('', '\n'),
  )
  .map(([first, others, isLast, lineEnd, end]) => {
    const sections = isLast ? [...others, first] : [first, ...others];
    return sections.flat().join(lineEnd) + end;
  });
