import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AllowedIps } from '../../sessions/allowed-ips.js';
import { SessionError } from '../../sessions/errors.js';
import { PrefixTrie } from '../../sessions/prefix-trie.js';

const v4 = (text: string) => Uint8Array.from(text.split('.').map(Number));
const v6 = (...groups: number[]) =>
  Uint8Array.from(
    Array.from({ length: 8 }, (_, i) => groups[i] ?? 0).flatMap(group => [group >> 8, group & 0xff]),
  );

function v4Packet(source: Uint8Array, destination: Uint8Array): Uint8Array {
  const packet = new Uint8Array(20);
  packet[0] = 0x45;
  packet.set(source, 12);
  packet.set(destination, 16);
  return packet;
}

function v6Packet(source: Uint8Array, destination: Uint8Array): Uint8Array {
  const packet = new Uint8Array(40);
  packet[0] = 0x60;
  packet.set(source, 8);
  packet.set(destination, 24);
  return packet;
}

/** The readable twin: one list, bit by bit. */
class LinearAllowedIps {
  rules: { ip: Uint8Array; prefix: number; value: string }[] = [];

  static covers(ip: Uint8Array, prefix: number, address: Uint8Array): boolean {
    if (ip.length !== address.length) return false;
    for (let i = 0; i < prefix; i++) {
      const bit = 0x80 >> (i & 7);
      if ((ip[i >> 3] & bit) !== (address[i >> 3] & bit)) return false;
    }
    return true;
  }

  find(ip: Uint8Array, prefix: number) {
    return this.rules.find(rule => rule.prefix === prefix && LinearAllowedIps.covers(rule.ip, prefix, ip));
  }

  insert(ip: Uint8Array, prefix: number, value: string): string | undefined {
    const rule = this.find(ip, prefix);
    if (!rule) this.rules.push({ ip, prefix, value });
    else if (rule.value !== value) {
      const old = rule.value;
      rule.value = value;
      return old;
    }
    return undefined;
  }

  remove(ip: Uint8Array, prefix: number, value: string): boolean {
    const rule = this.find(ip, prefix);
    if (rule?.value !== value) return false;
    this.rules = this.rules.filter(other => other !== rule);
    return true;
  }

  removeAll(value: string): void {
    this.rules = this.rules.filter(rule => rule.value !== value);
  }

  lookup(address: Uint8Array): string | undefined {
    let best: { prefix: number; value: string } | undefined;
    for (const rule of this.rules) {
      if (LinearAllowedIps.covers(rule.ip, rule.prefix, address) && rule.prefix >= (best?.prefix ?? 0))
        best = rule;
    }
    return best?.value;
  }

  entries(value: string): string[] {
    return this.rules
      .filter(rule => rule.value === value)
      .map(({ ip, prefix }) => {
        const masked = ip.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * i))));
        // Sorts as text in the canonical order: family, address, prefix.
        return `${ip.length === 4 ? 4 : 6} ${hex(masked)}/${String(prefix).padStart(3, '0')}`;
      })
      .sort();
  }
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

const entriesText = (table: AllowedIps<string>, value: string) =>
  table
    .entries(value)
    .map(({ ip, prefix }) => `${ip.length === 4 ? 4 : 6} ${hex(ip)}/${String(prefix).padStart(3, '0')}`);

const lookup = (table: AllowedIps<string>, ip: Uint8Array) =>
  ip.length === 4 ? table.lookupV4(ip, 0) : table.lookupV6(ip, 0);

// Few different bytes and favoured prefixes, so that rules nest, meet and differ in their last bits.
const bytes = (length: number) =>
  fc.oneof(
    fc
      .array(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), { minLength: length, maxLength: length })
      .map(a => Uint8Array.from(a)),
    fc.uint8Array({ minLength: length, maxLength: length }),
  );
const family = (length: number) =>
  fc.record({
    ip: bytes(length),
    prefix: fc.oneof(
      fc.integer({ min: 0, max: length * 8 }),
      fc.constantFrom(0, 1, 31, 32, length * 8 - 1, length * 8),
    ),
  });
const rule = fc.oneof(family(4), family(16));
const owner = fc.constantFrom('alice', 'bob', 'carol');
const command = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('insert' as const), rule, owner }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), rule, owner }) },
  // Takes away a rule that is there: `pick` chooses it.
  { weight: 3, arbitrary: fc.record({ op: fc.constant('removeOne' as const), pick: fc.nat(), owner }) },
  // Gives a rule that is there to another.
  { weight: 3, arbitrary: fc.record({ op: fc.constant('move' as const), pick: fc.nat(), owner }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('removeAll' as const), owner }) },
);

describe('AllowedIps', () => {
  test('answers as a linear search does, after any script of inserts, moves and removals', () => {
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 60 }),
        fc.array(fc.oneof(bytes(4), bytes(16)), { maxLength: 20 }),
        (script, probes) => {
          const table = new AllowedIps<string>();
          const oracle = new LinearAllowedIps();
          for (const step of script) {
            switch (step.op) {
              case 'insert':
                expect(table.insert(step.rule.ip, step.rule.prefix, step.owner)).toBe(
                  oracle.insert(step.rule.ip, step.rule.prefix, step.owner),
                );
                break;
              case 'remove':
                expect(table.remove(step.rule.ip, step.rule.prefix, step.owner)).toBe(
                  oracle.remove(step.rule.ip, step.rule.prefix, step.owner),
                );
                break;
              case 'removeOne':
              case 'move': {
                const existing = oracle.rules[step.pick % oracle.rules.length];
                if (!existing) break;
                const { ip, prefix } = existing;
                if (step.op === 'move') {
                  expect(table.insert(ip, prefix, step.owner)).toBe(oracle.insert(ip, prefix, step.owner));
                } else {
                  expect(table.remove(ip, prefix, step.owner)).toBe(oracle.remove(ip, prefix, step.owner));
                }
                break;
              }
              case 'removeAll':
                table.removeAll(step.owner);
                oracle.removeAll(step.owner);
                break;
            }
            expect(table.size).toBe(oracle.rules.length);
          }
          for (const address of [...probes, ...oracle.rules.map(({ ip }) => ip)]) {
            expect(lookup(table, address)).toBe(oracle.lookup(address));
          }
          for (const value of ['alice', 'bob', 'carol']) {
            expect(entriesText(table, value)).toEqual(oracle.entries(value));
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  test('the longest prefix wins, and host bits do not count', () => {
    const table = new AllowedIps<string>();
    table.insert(v4('10.1.2.3'), 8, 'net');
    table.insert(v4('10.1.2.3'), 24, 'subnet');
    table.insert(v4('10.1.2.3'), 32, 'host');
    table.insert(v4('200.0.0.1'), 0, 'all');
    const answers = ['10.9.9.9', '10.1.2.9', '10.1.2.3', '11.0.0.0', '255.255.255.255'].map(ip =>
      table.lookupV4(v4(ip), 0),
    );
    expect(answers).toEqual(['net', 'subnet', 'host', 'all', 'all']);
    expect(table.entries('net')).toEqual([{ ip: v4('10.0.0.0'), prefix: 8 }]);
    expect(table.entries('all')).toEqual([{ ip: v4('0.0.0.0'), prefix: 0 }]);
  });

  test('a prefix given to another moves, and its old owner is named', () => {
    const table = new AllowedIps<string>();
    expect(table.insert(v4('10.0.0.0'), 24, 'alice')).toBeUndefined();
    expect(table.insert(v4('10.0.0.0'), 24, 'alice')).toBeUndefined();
    expect(table.insert(v4('10.0.0.77'), 24, 'bob')).toBe('alice');
    expect(table.size).toBe(1);
    expect(table.entries('alice')).toEqual([]);
    expect(table.remove(v4('10.0.0.0'), 24, 'alice')).toBe(false);
    expect(table.lookupV4(v4('10.0.0.5'), 0)).toBe('bob');
    expect(table.remove(v4('10.0.0.0'), 24, 'bob')).toBe(true);
    expect(table.lookupV4(v4('10.0.0.5'), 0)).toBeUndefined();
  });

  test('the families are apart: ::/0 answers for no IPv4 address', () => {
    const table = new AllowedIps<string>();
    table.insert(v6(), 0, 'six');
    expect(table.lookupV4(v4('0.0.0.0'), 0)).toBeUndefined();
    expect(table.lookupV6(v6(0x2001, 0xdb8), 0)).toBe('six');
  });

  test('clear forgets everything', () => {
    const table = new AllowedIps<string>();
    table.insert(v4('10.0.0.0'), 8, 'alice');
    table.insert(v6(0xfd00), 8, 'alice');
    table.clear();
    expect([table.size, table.entries('alice').length]).toEqual([0, 0]);
    expect(table.lookupV4(v4('10.0.0.1'), 0)).toBeUndefined();
    table.insert(v4('10.0.0.0'), 8, 'alice');
    expect(table.entries('alice')).toHaveLength(1);
  });

  test('addresses and prefixes that cannot be are refused with ERR_ADDRESS', () => {
    const table = new AllowedIps<string>();
    const bad: [Uint8Array, number][] = [
      [new Uint8Array(5), 8],
      [new Uint8Array(0), 0],
      [new Uint8Array(4), 33],
      [new Uint8Array(16), 129],
      [new Uint8Array(4), -1],
      [new Uint8Array(4), 1.5],
      [new Uint8Array(4), Number.NaN],
    ];
    for (const [ip, prefix] of bad) {
      expect(() => table.insert(ip, prefix, 'alice')).toThrow(SessionError);
      expect(() => table.remove(ip, prefix, 'alice')).toThrow(
        expect.objectContaining({ code: 'ERR_ADDRESS' }),
      );
    }
    expect(table.size).toBe(0);
  });
});

describe('lookups in inner packets', () => {
  const table = new AllowedIps<string>();
  table.insert(v4('10.0.0.1'), 32, 'source4');
  table.insert(v4('10.0.0.2'), 32, 'destination4');
  table.insert(v6(0xfd00, 1), 128, 'source6');
  table.insert(v6(0xfd00, 2), 128, 'destination6');
  const four = v4Packet(v4('10.0.0.1'), v4('10.0.0.2'));
  const six = v6Packet(v6(0xfd00, 1), v6(0xfd00, 2));

  test('read the right field of either version, at any offset', () => {
    for (const offset of [0, 16, 33]) {
      for (const [packet, version] of [
        [four, 4],
        [six, 6],
      ] as const) {
        const buffer = new Uint8Array(offset + packet.length);
        buffer.set(packet, offset);
        expect(table.lookupSource(buffer, offset)).toBe(`source${version}`);
        expect(table.lookupDestination(buffer, offset)).toBe(`destination${version}`);
      }
    }
  });

  test('a packet shorter than its header, or of another version, belongs to nobody', () => {
    const everywhere = new AllowedIps<string>();
    everywhere.insert(v4('0.0.0.0'), 0, 'all');
    everywhere.insert(v6(), 0, 'all');
    for (const packet of [four, six]) {
      for (let length = 0; length < packet.length; length++) {
        expect(everywhere.lookupSource(packet.subarray(0, length), 0)).toBeUndefined();
        expect(everywhere.lookupDestination(packet.subarray(0, length), 0)).toBeUndefined();
        // The rest of the buffer, behind `end`, is not the packet's.
        expect(everywhere.lookupSource(packet, 0, length)).toBeUndefined();
        expect(everywhere.lookupDestination(packet, 0, length)).toBeUndefined();
      }
      expect(everywhere.lookupSource(packet, 0)).toBe('all');
      expect(everywhere.lookupSource(packet, packet.length)).toBeUndefined();
      for (const version of [0, 1, 5, 7, 15]) {
        const other = packet.slice();
        other[0] = (version << 4) | 5;
        expect(everywhere.lookupSource(other, 0)).toBeUndefined();
        expect(everywhere.lookupDestination(other, 0)).toBeUndefined();
      }
    }
    expect(everywhere.lookupV4(new Uint8Array(7), 4)).toBeUndefined();
    expect(everywhere.lookupV6(new Uint8Array(19), 4)).toBeUndefined();
  });
});

describe('PrefixTrie', () => {
  test('never keeps two nodes a prefix, and none when the last prefix is gone', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(family(16), owner), { minLength: 1, maxLength: 60 }), rules => {
        const trie = new PrefixTrie<string>();
        const words = (ip: Uint8Array) => {
          const view = new DataView(ip.buffer, ip.byteOffset);
          return [view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12)] as const;
        };
        for (const [{ ip, prefix }, value] of rules) trie.insert(...words(ip), prefix, value);
        for (const [{ ip, prefix }, value] of rules) {
          expect(trie.nodes).toBeLessThanOrEqual(Math.max(0, 2 * trie.size - 1));
          trie.remove(...words(ip), prefix, value);
        }
        for (const value of ['alice', 'bob', 'carol']) trie.removeAll(value);
        expect([trie.size, trie.nodes]).toEqual([0, 0]);
      }),
      { numRuns: 200 },
    );
  });

  test('holds 130,000 prefixes of as many owners, and lets each go by itself', () => {
    const count = 130_000;
    const trie = new PrefixTrie<number>();
    for (let i = 0; i < count; i++) trie.insert((0x0a000000 + i) | 0, 0, 0, 0, 32, i);
    expect(trie.size).toBe(count);
    for (let i = 0; i < count; i += 997) expect(trie.lookup((0x0a000000 + i) | 0, 0, 0, 0)).toBe(i);
    for (let i = 0; i < count; i++) trie.removeAll(i);
    expect([trie.size, trie.nodes]).toEqual([0, 0]);
  });
});
