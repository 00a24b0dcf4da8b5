// Route netlink, as far as one interface needs it: requests as bytes, and what the kernel says as values.
// Promises: pure; bytes of any content make no trouble: reading stops where a length cannot be.
// Read on: RFC 3549; man 7 rtnetlink; Linux include/uapi/linux/{netlink,rtnetlink,if_link,net_namespace}.h.

export const NETLINK_ROUTE = 0;
export const SOCKADDR_NL_BYTES = 12;
/** What a monitor listens to: links, addresses and routes of both families (RTMGRP_...). */
export const MONITOR_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_NEWNSID = 88;
const RTM_GETNSID = 90;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_REPLACE = 0x100;
const NLM_F_DUMP = 0x300;
const NLM_F_CREATE = 0x400;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
/** Nobody else has it: it is good at once, without asking the link. */
const IFA_F_NODAD = 2;
const AF_INET = 2;
const AF_INET6 = 10;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_TARGET_NETNSID = 46;
const NETNSA_NSID = 1;
const NETNSA_FD = 3;
const IFF_UP = 1;
const HEADER_BYTES = 16;
const IFINFO_BYTES = 16;
const IFADDR_BYTES = 8;
/** struct rtgenmsg is one byte; attributes begin at a multiple of four. */
const NSID_BYTES = 4;
const ATTRIBUTE_BYTES = 4;
// The upper two bits of a type are flags.
const TYPE_MASK = 0x3fff;

export interface LinkMessage {
  readonly type: 'link' | 'linkRemoved';
  readonly sequence: number;
  readonly index: number;
  readonly up: boolean;
  readonly name: string | undefined;
  /** Bytes. */
  readonly mtu: number | undefined;
}

/** An address that an interface has, or was given. */
export interface AddressMessage {
  readonly type: 'address';
  readonly sequence: number;
  readonly index: number;
  /** 0: good everywhere. */
  readonly scope: number;
  /** 4 or 16 bytes. */
  readonly ip: Uint8Array;
  readonly prefix: number;
}

export type NetlinkMessage =
  | LinkMessage
  | AddressMessage
  /** A route was added or removed, or an address removed. */
  | { readonly type: 'routing' }
  /** The number by which a namespace goes here; -1 when it has none. */
  | { readonly type: 'namespaceId'; readonly sequence: number; readonly id: number }
  /** An answer without content, or the end of several. `errno`: positive, or 0 for success. */
  | { readonly type: 'answer'; readonly sequence: number; readonly errno: number };

/** Everything known in a datagram from the kernel, in order. */
export function parseNetlink(bytes: Uint8Array): NetlinkMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER_BYTES || at + length > bytes.length) break;
    const message = parseMessage(view, at, at + length);
    if (message) messages.push(message);
    at += aligned(length);
  }
  return messages;
}

function parseMessage(view: DataView, start: number, end: number): NetlinkMessage | undefined {
  const sequence = view.getUint32(start + 8, true);
  const body = start + HEADER_BYTES;
  const type = view.getUint16(start + 4, true);
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return parseLink(view, body, end, type === RTM_NEWLINK ? 'link' : 'linkRemoved', sequence);
    case RTM_NEWADDR:
      return parseAddress(view, body, end, sequence) ?? { type: 'routing' };
    case RTM_DELADDR:
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return { type: 'routing' };
    case RTM_NEWNSID: {
      const at = findAttribute(view, body + NSID_BYTES, end, NETNSA_NSID, 4);
      return at < 0 ? undefined : { type: 'namespaceId', sequence, id: view.getInt32(at, true) };
    }
    case NLMSG_DONE:
    case NLMSG_ERROR:
      if (body + 4 > end) return undefined;
      return { type: 'answer', sequence, errno: -view.getInt32(body, true) | 0 };
    default:
      return undefined;
  }
}

function parseLink(
  view: DataView,
  body: number,
  end: number,
  type: LinkMessage['type'],
  sequence: number,
): LinkMessage | undefined {
  const attributes = body + IFINFO_BYTES;
  if (attributes > end) return undefined;
  const mtu = findAttribute(view, attributes, end, IFLA_MTU, 4);
  const name = findAttribute(view, attributes, end, IFLA_IFNAME, 1);
  return {
    type,
    sequence,
    index: view.getInt32(body + 4, true),
    up: (view.getUint32(body + 8, true) & IFF_UP) !== 0,
    name: name < 0 ? undefined : textOf(view, name),
    mtu: mtu < 0 ? undefined : view.getUint32(mtu, true),
  };
}

function parseAddress(
  view: DataView,
  body: number,
  end: number,
  sequence: number,
): AddressMessage | undefined {
  const attributes = body + IFADDR_BYTES;
  if (attributes > end) return undefined;
  const bytes = view.getUint8(body) === AF_INET6 ? 16 : 4;
  // Where both are there, IFA_ADDRESS is that of the other end.
  const local = findAttribute(view, attributes, end, IFA_LOCAL, bytes);
  const at = local < 0 ? findAttribute(view, attributes, end, IFA_ADDRESS, bytes) : local;
  if (at < 0) return undefined;
  return {
    type: 'address',
    sequence,
    index: view.getUint32(body + 4, true),
    scope: view.getUint8(body + 3),
    ip: new Uint8Array(view.buffer, view.byteOffset + at, bytes).slice(),
    prefix: view.getUint8(body + 1),
  };
}

/** Where the content of the first attribute of a type with at least `bytes` bytes begins, or -1. */
function findAttribute(view: DataView, start: number, end: number, type: number, bytes: number): number {
  for (let at = start; at + ATTRIBUTE_BYTES <= end; ) {
    const length = view.getUint16(at, true);
    if (length < ATTRIBUTE_BYTES || at + length > end) return -1;
    if ((view.getUint16(at + 2, true) & TYPE_MASK) === type && length >= ATTRIBUTE_BYTES + bytes) {
      return at + ATTRIBUTE_BYTES;
    }
    at += aligned(length);
  }
  return -1;
}

function textOf(view: DataView, content: number): string {
  const length = view.getUint16(content - ATTRIBUTE_BYTES, true) - ATTRIBUTE_BYTES;
  const text = Buffer.from(view.buffer, view.byteOffset + content, length);
  const end = text.indexOf(0);
  return text.toString('utf8', 0, end < 0 ? length : end);
}

/** Asks for a link by name; with `namespaceId` for one of that namespace instead of ours. */
export function linkRequest(sequence: number, name: string, namespaceId?: number): Uint8Array {
  const attributes = [attribute(IFLA_IFNAME, Buffer.from(`${name}\0`))];
  if (namespaceId !== undefined) attributes.push(attribute(IFLA_TARGET_NETNSID, int32(namespaceId)));
  return request(RTM_GETLINK, NLM_F_REQUEST, sequence, IFINFO_BYTES, attributes);
}

/** Asks for the number by which the namespace behind a descriptor goes in ours. */
export function namespaceIdRequest(sequence: number, namespaceFd: number): Uint8Array {
  return request(RTM_GETNSID, NLM_F_REQUEST, sequence, NSID_BYTES, [
    attribute(NETNSA_FD, int32(namespaceFd)),
  ]);
}

/** Has the kernel give it a number. Answered by `answer`. */
export function assignNamespaceIdRequest(sequence: number, namespaceFd: number): Uint8Array {
  const attributes = [attribute(NETNSA_NSID, int32(-1)), attribute(NETNSA_FD, int32(namespaceFd))];
  return request(RTM_NEWNSID, NLM_F_REQUEST | NLM_F_ACK, sequence, NSID_BYTES, attributes);
}

/** Asks for all addresses of all interfaces: a message for each, and an `answer` at the end. */
export function addressesRequest(sequence: number): Uint8Array {
  return request(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, sequence, IFADDR_BYTES, []);
}

/** Gives an interface an address, or leaves it there. Answered by `answer`. */
export function addAddressRequest(sequence: number, index: number, address: NetlinkAddress): Uint8Array {
  const flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
  return addressRequest(RTM_NEWADDR, flags, sequence, index, address);
}

/** Takes it away. Answered by `answer`. */
export function removeAddressRequest(sequence: number, index: number, address: NetlinkAddress): Uint8Array {
  return addressRequest(RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK, sequence, index, address);
}

type NetlinkAddress = Pick<AddressMessage, 'ip' | 'prefix'>;

function addressRequest(
  type: number,
  flags: number,
  sequence: number,
  index: number,
  { ip, prefix }: NetlinkAddress,
): Uint8Array {
  const attributes = [attribute(IFA_LOCAL, ip), attribute(IFA_ADDRESS, ip)];
  const bytes = request(type, flags, sequence, IFADDR_BYTES, attributes);
  bytes.set([ip.length === 4 ? AF_INET : AF_INET6, prefix, IFA_F_NODAD, 0], HEADER_BYTES);
  bytes.writeUInt32LE(index, HEADER_BYTES + 4);
  return bytes;
}

function request(
  type: number,
  flags: number,
  sequence: number,
  bodyBytes: number,
  attributes: readonly Uint8Array[],
): Buffer {
  const bytes = Buffer.concat([new Uint8Array(HEADER_BYTES + bodyBytes), ...attributes]);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(sequence, 8);
  return bytes;
}

function attribute(type: number, content: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(aligned(ATTRIBUTE_BYTES + content.length));
  bytes.writeUInt16LE(ATTRIBUTE_BYTES + content.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(content, ATTRIBUTE_BYTES);
  return bytes;
}

function int32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function aligned(length: number): number {
  return Math.ceil(length / 4) * 4;
}
