import { readFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { portOfService } from '../../../tunnel/config/service-names.js';
import { CORPUS, DIFFERENCES, concernsWgQuick } from '../../support/wg-quick/corpus.js';
import { ourVerdict } from '../../support/wg-quick/outcome.js';
import { readRecord } from '../../support/wg-quick/record.js';

const RECORD = readRecord();
const SERVICES = new URL('../../support/wg-quick/services', import.meta.url).pathname;

// Machines without Debian's list of services pass too.
vi.mock('../../../tunnel/config/service-names.js', async original => {
  const real = await original<typeof import('../../../tunnel/config/service-names.js')>();
  return { portOfService: (name: string, file = SERVICES) => real.portOfService(name, file) };
});

const read = (text: string) => ourVerdict(text, concernsWgQuick(text));

describe('what wg-quick takes we take, with the same result; what it refuses we refuse', () => {
  test('the record has every file, and some of each verdict', () => {
    expect([...RECORD.keys()].toSorted()).toEqual(CORPUS.map(({ name }) => name).toSorted());
    const refused = CORPUS.filter(({ name }) => RECORD.get(name) === 'refused').length;
    expect(refused).toBeGreaterThan(CORPUS.length / 5);
    expect(refused).toBeLessThan(CORPUS.length / 2);
  });

  test.each(CORPUS)('$name', ({ name, text }) => {
    expect(read(text)).toEqual(RECORD.get(name));
  });

  // Controls: a reader that sees another file than the one that is there. Each must be found out by the record.
  test.each<[string, (text: string) => string]>([
    ['that drops a byte order mark', text => text.replace('\uFEFF', '')],
    ['that takes every line end', text => text.replaceAll('\r', '\n')],
    ['that takes the blanks of Unicode', text => text.replaceAll('\u00a0', ' ')],
    ['that has no blanks inside values', text => text.replaceAll(/(?<=\d) (?=[\d/:])/g, '_')],
    [
      'that keeps the first of two peers',
      text => text.replace(/(\[Peer\]\nPublicKey = (.*)\n[^]*)\[Peer\]\nPublicKey = \2\n[^]*/, '$1'),
    ],
    ['that keeps the first of two keys', text => text.replace(/^(MTU) = (\d+)\nMTU = \d+$/m, '$1 = $2')],
    ['that has no empty values', text => text.replaceAll(/^(PreUp|MTU|DNS|Table) = ?$/gm, 'Color = red')],
    ['that splits at commas alone', text => text.replaceAll(/^((?:Address|DNS) = \S*) (?=\d)/gm, '$1-')],
    ['that knows numbers alone', text => text.replaceAll('= domain', '= no-such')],
    ['that takes a PSK of zeros for a key', text => text.replaceAll(/^(PresharedKey = A)AA/gm, '$1BA')],
    ['that reads no NUL', text => text.replaceAll('\0', '!')],
    ['that knows small letters alone', text => text.replaceAll(/= (True|FALSE|OFF)/g, '= no')],
  ])('a reader %s would be found out', (_, misread) => {
    expect(CORPUS.filter(({ name, text }) => !isSame(read(misread(text)), RECORD.get(name)))).not.toEqual([]);
  });
});

function isSame(a: unknown, b: unknown): boolean {
  try {
    expect(a).toEqual(b);
    return true;
  } catch {
    return false;
  }
}

describe('where we differ on purpose', () => {
  const docs = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');

  test.each(DIFFERENCES)('$says: is in the documentation, and is so', ({ says, cases, ours }) => {
    expect(docs).toContain(`| ${says} |`);
    for (const { name, text } of cases) expect(read(text) === 'refused', name).toBe(ours === 'refused');
  });

  test('the documentation lists no other', () => {
    const table = /\| file \|[^\n]*\n[^\n]*\n((?:\|[^\n]*\n)+)/.exec(docs)?.[1] ?? '';
    const rows = table.trimEnd().split('\n');
    expect(rows.map(row => row.split(' | ')[0].slice(2))).toEqual(DIFFERENCES.map(({ says }) => says));
  });
});

describe('portOfService', () => {
  test.each([
    ['domain', 53],
    ['Domain', undefined],
    ['www', undefined],
    ['alias-of-ntp', 123],
    ['commented', undefined],
    ['53', undefined],
    ['', undefined],
  ])('%s is %s', (name, port) => {
    expect(portOfService(name)).toBe(port);
  });

  test('without a list there are no services', () => {
    expect(portOfService('domain', '/no/such/file')).toBeUndefined();
  });
});
