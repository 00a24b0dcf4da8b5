import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addAddressRequest,
  addressesRequest,
  assignNamespaceIdRequest,
  linkRequest,
  namespaceIdRequest,
  parseNetlink,
  removeAddressRequest,
} from '../../../../tunnel/linux/net/netlink.js';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_NEWROUTE = 24;
const RTM_NEWNSID = 88;

function attribute(type: number, content: Uint8Array): Buffer {
  const bytes = Buffer.alloc(Math.ceil((4 + content.length) / 4) * 4);
  bytes.writeUInt16LE(4 + content.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(content, 4);
  return bytes;
}

function message(type: number, sequence: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, body, Buffer.alloc((4 - (body.length % 4)) % 4)]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

function ifinfo(index: number, flags: number): Buffer {
  return Buffer.concat([u32(0), u32(index), u32(flags), u32(0)]);
}

const link = message(
  RTM_NEWLINK,
  7,
  ifinfo(12, 0x11091),
  attribute(3, Buffer.from('wg0\0')),
  attribute(4, u32(1420)),
);

describe('parseNetlink', () => {
  it('reads index, state, name and MTU of a link', () => {
    expect(parseNetlink(link)).toEqual([
      { type: 'link', sequence: 7, index: 12, up: true, name: 'wg0', mtu: 1420 },
    ]);
  });

  it('reads every message of a datagram, and passes over what it does not know', () => {
    const removed = message(RTM_DELLINK, 0, ifinfo(12, 0));
    const route = message(RTM_NEWROUTE, 0, Buffer.alloc(12));
    const unknown = message(4711, 0, Buffer.alloc(5));
    expect(parseNetlink(Buffer.concat([removed, unknown, route, link])).map(({ type }) => type)).toEqual([
      'linkRemoved',
      'routing',
      'link',
    ]);
  });

  it('reads the id of a namespace, and that there is none', () => {
    const of = (id: number) => parseNetlink(message(RTM_NEWNSID, 3, u32(0), attribute(1, u32(id))));
    expect(of(5)).toEqual([{ type: 'namespaceId', sequence: 3, id: 5 }]);
    expect(of(-1)).toEqual([{ type: 'namespaceId', sequence: 3, id: -1 }]);
  });

  it('reads refusals and acknowledgements', () => {
    expect(parseNetlink(message(2, 9, u32(-19), Buffer.alloc(16)))).toEqual([
      { type: 'answer', sequence: 9, errno: 19 },
    ]);
    expect(parseNetlink(message(2, 9, u32(0), Buffer.alloc(16)))).toEqual([
      { type: 'answer', sequence: 9, errno: 0 },
    ]);
  });

  const IP = Uint8Array.of(0xfd, 0x5e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7);
  const V4 = Uint8Array.of(10, 0, 0, 7);
  const ifaddr = (family: number, prefix: number, scope: number, index: number) =>
    Buffer.concat([Buffer.from([family, prefix, 0, scope]), u32(index)]);

  it('reads addresses, of several the own one, and the end of them', () => {
    const v6 = message(20, 4, ifaddr(10, 64, 0, 5), attribute(1, IP));
    const other = Uint8Array.of(10, 0, 0, 8);
    const v4 = message(20, 4, ifaddr(2, 24, 253, 5), attribute(1, other), attribute(2, V4));
    expect(parseNetlink(Buffer.concat([v6, v4, message(3, 4, u32(0))]))).toEqual([
      { type: 'address', sequence: 4, index: 5, scope: 0, ip: IP, prefix: 64 },
      { type: 'address', sequence: 4, index: 5, scope: 253, ip: V4, prefix: 24 },
      { type: 'answer', sequence: 4, errno: 0 },
    ]);
  });

  it('an address that is cut off, or was removed, is a change of routes all the same', () => {
    for (const bytes of [
      message(20, 0, ifaddr(10, 64, 0, 5), attribute(1, V4)),
      message(20, 0, Buffer.alloc(4)),
      message(21, 0, ifaddr(10, 64, 0, 5), attribute(1, IP)),
    ])
      expect(parseNetlink(bytes)).toEqual([{ type: 'routing' }]);
  });

  it('what is asked for an address is read back as it', () => {
    for (const [ip, prefix] of [
      [IP, 64],
      [V4, 24],
    ] as const) {
      const expected = { type: 'address', sequence: 9, index: 77, scope: 0, ip, prefix };
      expect(parseNetlink(addAddressRequest(9, 77, { ip, prefix }))).toEqual([expected]);
      const removed = Buffer.from(removeAddressRequest(9, 77, { ip, prefix }));
      expect(removed.readUInt16LE(4)).toBe(21);
      removed.writeUInt16LE(20, 4);
      expect(parseNetlink(removed)).toEqual([expected]);
    }
  });

  it('stops where a length cannot be, and keeps what came before', () => {
    const short = Buffer.from(link);
    short.writeUInt32LE(8, 0);
    const long = Buffer.from(link);
    long.writeUInt32LE(link.length + 1, 0);
    for (const broken of [short, long, link.subarray(0, 20), link.subarray(0, 3)]) {
      expect(parseNetlink(broken)).toEqual([]);
      expect(parseNetlink(Buffer.concat([link, broken]))).toHaveLength(1);
    }
  });

  it('takes a link whose attributes are cut off as one without them', () => {
    const bare = { type: 'link', sequence: 0, index: 3, up: false, name: undefined, mtu: undefined };
    expect(parseNetlink(message(RTM_NEWLINK, 0, ifinfo(3, 0)))).toEqual([bare]);
    const zero = Buffer.alloc(4);
    expect(parseNetlink(message(RTM_NEWLINK, 0, ifinfo(3, 0), zero))).toEqual([bare]);
    expect(parseNetlink(message(RTM_NEWLINK, 0, ifinfo(3, 0), attribute(4, Buffer.alloc(2))))).toEqual([
      bare,
    ]);
  });

  it('makes no trouble of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), bytes => {
        parseNetlink(bytes);
      }),
    );
    const position = fc.nat(link.length - 1);
    fc.assert(
      fc.property(fc.array(fc.tuple(position, fc.nat(255)), { maxLength: 8 }), changes => {
        const changed = Buffer.from(link);
        for (const [at, byte] of changes) changed[at] = byte;
        for (const { type } of parseNetlink(changed)) expect(type).toBeTypeOf('string');
      }),
    );
  });
});

describe('requests', () => {
  it('carry their length, their sequence and the name', () => {
    for (const request of [linkRequest(77, 'wg0'), linkRequest(77, 'wg0', 3), namespaceIdRequest(77, 4)]) {
      const bytes = Buffer.from(request);
      expect(bytes.readUInt32LE(0)).toBe(bytes.length);
      expect(bytes.length % 4).toBe(0);
      expect(bytes.readUInt32LE(8)).toBe(77);
    }
    expect(Buffer.from(linkRequest(1, 'wg0')).includes('wg0\0')).toBe(true);
  });

  it('ask for an acknowledgement where the kernel would not answer otherwise', () => {
    const address = { ip: new Uint8Array(4), prefix: 24 };
    for (const request of [
      assignNamespaceIdRequest(1, 4),
      addAddressRequest(1, 5, address),
      removeAddressRequest(1, 5, address),
    ])
      expect(Buffer.from(request).readUInt16LE(6) & 4).toBe(4);
  });

  it('ask for all addresses, and for one without a check whether others have it', () => {
    expect(Buffer.from(addressesRequest(1)).readUInt16LE(6) & 0x300).toBe(0x300);
    expect(addAddressRequest(1, 5, { ip: new Uint8Array(16), prefix: 64 })[16 + 2] & 2).toBe(2);
  });
});
