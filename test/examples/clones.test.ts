import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Lab, recoverPlaintext, seededEntropy } from '../../examples/clone-lab.js';
import { main as guarded } from '../../examples/guarded-twin.js';
import { NEXT, main as unguarded } from '../../examples/unguarded-catastrophe.js';

const silent = () => {};
const program = (name: string) =>
  readFileSync(new URL(`../../examples/${name}.ts`, import.meta.url), 'utf8').split('\n');

describe('a machine that does not look', () => {
  it('seals two packets under one key and one counter, and the wire gives the second one away', async () => {
    const printed: string[] = [];
    const { reuses, recovered, handshakes, heardByServer } = await unguarded(line => printed.push(line));
    expect(reuses).toHaveLength(1);
    const [{ first, second, receiverIndex, counter }] = reuses;
    // Type, receiver index and counter: the 16 bytes in front of the ciphertext.
    expect(first.subarray(0, 16)).toEqual(second.subarray(0, 16));
    expect(first).not.toEqual(second);
    expect(recovered).toEqual([NEXT[1]]);
    expect(printed.join('\n')).toContain(`receiver ${receiverIndex}) and one counter (${counter})`);
    expect(printed.join('\n')).toContain(`read off the wire without a key: ${NEXT[1]}`);
    // No new handshake; to the server the second clone is a replay of the first.
    expect(handshakes).toEqual([1, 1]);
    expect(heardByServer).toEqual(['hello', NEXT[0]]);
  });

  it('is one machine until the snapshot: what both copies send is equal to the byte', async () => {
    const { copies, reuses } = await unguarded(silent);
    expect(copies).toBeGreaterThan(0);
    expect(reuses.every(({ counter }) => counter > 0n)).toBe(true);
  });
});

describe('its guarded twin', () => {
  it('uses no key and counter twice, and both clones are heard after a handshake of their own', async () => {
    const { reuses, recovered, handshakes, heardByServer, copies } = await guarded(silent);
    expect(reuses).toEqual([]);
    expect(recovered).toEqual([]);
    expect(handshakes).toEqual([2, 2]);
    expect(heardByServer).toEqual(['hello', ...NEXT]);
    expect(copies).toBeGreaterThan(0);
  });

  it('differs from the other program by one line, its header and its verdict', () => {
    const [one, other] = ['unguarded-catastrophe', 'guarded-twin'].map(program);
    expect(one).toHaveLength(other.length);
    const verdict = one.findIndex(line => line.startsWith('if (import.meta.filename'));
    const differing = one.slice(0, verdict).flatMap((line, i) => (line === other[i] ? [] : [line]));
    const [code, ...more] = differing.filter(line => !line.startsWith('//'));
    expect(code).toMatch(/new VmGenId\(\[\]\)/);
    expect(more).toEqual([]);
  });
});

describe('the laboratory', () => {
  it('overhears a reuse only where bytes differ under one receiver and one counter', async () => {
    const lab = new Lab();
    const packet = (receiver: number, counter: number, content: number) => {
      const datagram = new Uint8Array(48).fill(content, 16);
      datagram.set([4, 0, 0, 0, receiver, 0, 0, 0, counter]);
      return datagram;
    };
    const nowhere = { ip: new Uint8Array(4), port: 0, equals: () => false, toString: () => 'nowhere' };
    const say = (datagram: Uint8Array) => lab.networkCard.sendDatagram(datagram, nowhere);
    for (const other of [packet(1, 0, 7), packet(1, 1, 8), packet(2, 0, 9), packet(1, 0, 7)]) say(other);
    expect(lab).toMatchObject({ datagrams: 3, copies: 1, reuses: [] });
    say(packet(1, 0, 5));
    expect(lab.reuses).toMatchObject([{ receiverIndex: 1, counter: 0n }]);
    // Keystream 7 ^ 3: what hides under 5 is 5 ^ 7 ^ 3.
    expect(recoverPlaintext(lab.reuses[0], new Uint8Array(16).fill(3))).toEqual(new Uint8Array(16).fill(1));
    await lab.close();
  });

  it('gives one stream per seed', () => {
    const draw = (seed: string) => {
      const source = seededEntropy(seed);
      const bytes = new Uint8Array(100);
      source.read(bytes.subarray(0, 40));
      source.read(bytes.subarray(40));
      return bytes;
    };
    expect(draw('one')).toEqual(draw('one'));
    expect(draw('one')).not.toEqual(draw('two'));
    const bytes = draw('one');
    expect(bytes.subarray(0, 32)).not.toEqual(bytes.subarray(32, 64));
  });
});
