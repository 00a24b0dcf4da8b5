// ICMP packets: the bytes of other programs, and errors quoted by routers.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Echo, checksum, echoPacket, parseIcmp } from '../../cli/icmp.js';
import { address } from '../support/echo-peer.js';

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const PAYLOAD = hex('1011121314');
const V4_ECHO: Echo = {
  kind: 'request',
  source: address('10.0.0.2'),
  destination: address('10.0.0.1'),
  id: 0x1234,
  sequence: 1,
  payload: PAYLOAD,
  hopLimit: 64,
};
const V6_ECHO: Echo = {
  ...V4_ECHO,
  source: address('fd00::2'),
  destination: address('fd00::1'),
  sequence: 0xffff,
};
// Computed by another program, with the checksums of RFC 1071 and RFC 8200 section 8.1.
const V4_BYTES = '4500002100004000400126da0a0000020a0000010800afa6123400011011121314';
const V6_BYTES =
  '60000000000d3a40fd000000000000000000000000000002fd000000000000000000000000000001' +
  '80003d5b1234ffff1011121314';

/** An ICMP error of `from` that quotes a packet of ours. */
function icmpError(
  from: string,
  to: Uint8Array,
  type: number,
  code: number,
  word: number,
  quoted: Uint8Array,
) {
  const source = address(from);
  const packet = echoPacket({
    kind: 'reply',
    source,
    destination: to,
    id: 0,
    sequence: 0,
    payload: quoted,
    hopLimit: 61,
  });
  const at = source.length === 4 ? 20 : 40;
  const view = new DataView(packet.buffer);
  const oldSum = view.getUint16(at + 2);
  const oldHead = view.getUint16(at);
  packet[at] = type;
  packet[at + 1] = code;
  view.setUint32(at + 4, word);
  // RFC 1624: the change of a checksum follows from the change of the words.
  let sum = (~oldSum & 0xffff) + (~oldHead & 0xffff) + view.getUint16(at) + (word >>> 16) + (word & 0xffff);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(at + 2, ~sum & 0xffff);
  return packet;
}

describe('ICMP echo', () => {
  test('the checksum of a published IPv4 header', () => {
    expect(checksum(hex('4500 0073 0000 4000 4011 0000 c0a8 0001 c0a8 00c7'))).toBe(0xb861);
    expect(checksum(hex('4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7'))).toBe(0);
  });

  test('requests have the bytes that another program computed', () => {
    expect(Buffer.from(echoPacket(V4_ECHO)).toString('hex')).toBe(V4_BYTES);
    expect(Buffer.from(echoPacket(V6_ECHO)).toString('hex')).toBe(V6_BYTES);
    expect(parseIcmp(hex(V4_BYTES))).toEqual(V4_ECHO);
    expect(parseIcmp(hex(V6_BYTES))).toEqual(V6_ECHO);
  });

  test('what is written is read back, and one changed byte of the message is not', () => {
    const byte = fc.integer({ min: 1, max: 255 });
    const echo = fc.record({
      kind: fc.constantFrom('request' as const, 'reply' as const),
      id: fc.nat(0xffff),
      sequence: fc.nat(0xffff),
      payload: fc.uint8Array({ maxLength: 64 }).map(bytes => Uint8Array.from(bytes)),
      hopLimit: byte,
    });
    fc.assert(
      fc.property(echo, fc.boolean(), fc.nat(), byte, (fields, isV4, where, change) => {
        const ends = isV4 ? V4_ECHO : V6_ECHO;
        const whole: Echo = { ...fields, source: ends.source, destination: ends.destination };
        const packet = echoPacket(whole);
        expect(parseIcmp(packet)).toEqual(whole);
        const header = isV4 ? 20 : 40;
        packet[header + (where % (packet.length - header))] ^= change;
        expect(parseIcmp(packet)).toBeUndefined();
      }),
    );
  });

  test('no packet, however broken, makes it throw', () => {
    const start = fc.constantFrom(hex(V4_BYTES), hex(V6_BYTES));
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 20 }), fc.nat(80), (bytes, noise, length) => {
        const packet = bytes.slice(0, length);
        packet.set(noise.subarray(0, packet.length));
        parseIcmp(packet);
      }),
    );
    expect(parseIcmp(new Uint8Array(0))).toBeUndefined();
  });

  test('a fragment and another protocol are not taken', () => {
    const fragment = hex(V4_BYTES);
    fragment[6] = 0x20;
    expect(parseIcmp(fragment)).toBeUndefined();
    const udp = hex(V6_BYTES);
    udp[6] = 17;
    expect(parseIcmp(udp)).toBeUndefined();
  });
});

describe('ICMP errors', () => {
  test.each([
    [3, 0, 0, 'Destination Net Unreachable'],
    [3, 1, 0, 'Destination Host Unreachable'],
    [3, 3, 0, 'Destination Port Unreachable'],
    [3, 4, 1280, 'Frag needed and DF set (mtu = 1280)'],
    [3, 13, 0, 'Packet filtered'],
    [3, 77, 0, 'Dest Unreachable, Bad Code: 77'],
    [11, 0, 0, 'Time to live exceeded'],
    [11, 1, 0, 'Frag reassembly time exceeded'],
    [12, 0, 0x1400_0000, 'Parameter problem: pointer = 20'],
  ])('IPv4 type %i code %i reads as ping has it', (type, code, word, text) => {
    const packet = icmpError('10.0.0.254', V4_ECHO.source, type, code, word, hex(V4_BYTES));
    expect(parseIcmp(packet)).toMatchObject({
      kind: 'error',
      text,
      source: address('10.0.0.254'),
      destination: V4_ECHO.destination,
      id: 0x1234,
      sequence: 1,
    });
    // Eight bytes of the request are all that RFC 792 promises.
    expect(
      parseIcmp(icmpError('10.0.0.254', V4_ECHO.source, type, code, word, hex(V4_BYTES).subarray(0, 28))),
    ).toBeDefined();
    expect(
      parseIcmp(icmpError('10.0.0.254', V4_ECHO.source, type, code, word, hex(V4_BYTES).subarray(0, 27))),
    ).toBeUndefined();
  });

  test.each([
    [1, 0, 0, 'Destination unreachable: No route'],
    [1, 3, 0, 'Destination unreachable: Address unreachable'],
    [1, 9, 0, 'Destination unreachable: Unknown code 9'],
    [2, 0, 1280, 'Packet too big: mtu=1280'],
    [3, 0, 0, 'Time exceeded: Hop limit'],
    [3, 1, 0, 'Time exceeded: Defragmentation failure'],
    [4, 1, 40, 'Parameter problem: Unknown header at 40'],
  ])('IPv6 type %i code %i reads as ping has it', (type, code, word, text) => {
    const packet = icmpError('fd00::ff', V6_ECHO.source, type, code, word, hex(V6_BYTES));
    expect(parseIcmp(packet)).toMatchObject({ kind: 'error', text, id: 0x1234, sequence: 0xffff });
  });

  test('an error about something that is no echo request is not taken', () => {
    const reply = echoPacket({ ...V4_ECHO, kind: 'reply' });
    expect(parseIcmp(icmpError('10.0.0.254', V4_ECHO.source, 3, 1, 0, reply))).toBeUndefined();
    // Redirects and source quench say nothing about arrival.
    expect(parseIcmp(icmpError('10.0.0.254', V4_ECHO.source, 5, 1, 0, hex(V4_BYTES)))).toBeUndefined();
  });
});
