// Route netlink of the fake kernel: answers about the one interface there is, and word of what happens to it.
// Read on: man 7 rtnetlink; Linux net/core/rtnetlink.c, net/core/net_namespace.c.

import { EADDRNOTAVAIL, EAGAIN, ENODEV, ENOBUFS, EINVAL } from '../../../tunnel/linux/errno.js';
import { AF_INET, AF_INET6, POLLERR, POLLIN } from '../../../tunnel/linux/libc.js';
import type { FakeFile } from './file.js';
import type { FakeAddress, FakeTun } from './tun-device.js';
import { viewOf } from './udp-socket.js';

const TYPES = {
  error: 2,
  done: 3,
  newLink: 16,
  removedLink: 17,
  getLink: 18,
  newAddress: 20,
  removedAddress: 21,
  getAddresses: 22,
  newRoute: 24,
  newNsid: 88,
  getNsid: 90,
};
const ATTRIBUTES = { name: 3, mtu: 4, targetNsid: 46, nsid: 1, fd: 3, address: 1, local: 2 };
const IFF_UP = 1;

export interface NetlinkHost {
  readonly tun: () => FakeTun | undefined;
  readonly home: number;
  /** The numbers by which namespaces go, by inode; and the inode behind a descriptor, or `-errno`. */
  readonly nsids: Map<number, number>;
  readonly inode: (fd: number) => number;
  /** What a request of this name is to fail with; 0 for nothing. */
  readonly fault: (call: string) => number;
}

export class FakeNetlinkSocket implements FakeFile {
  readonly kind = 'netlink';
  groups = 0;
  /** Messages were lost. */
  hasOverrun = false;
  readonly #host: NetlinkHost;
  readonly #waiting: Uint8Array[] = [];

  constructor(host: NetlinkHost) {
    this.#host = host;
  }

  ready(): number {
    return (this.#waiting.length > 0 ? POLLIN : 0) | (this.hasOverrun ? POLLIN | POLLERR : 0);
  }

  read(into: Uint8Array): number {
    if (this.hasOverrun) {
      this.hasOverrun = false;
      return -ENOBUFS;
    }
    const next = this.#waiting.shift();
    if (!next) return -EAGAIN;
    into.set(next);
    return next.length;
  }

  write(bytes: Uint8Array): number {
    const view = viewOf(bytes);
    const [type, sequence] = [view.getUint16(4, true), view.getUint32(8, true)];
    this.#waiting.push(this.#answer(type, sequence, bytes));
    return bytes.length;
  }

  /** The interface is another than it was. `removed`: it left this namespace. */
  linkChanged(tun: FakeTun, removed = false): void {
    this.#tell(linkMessage(tun, removed ? TYPES.removedLink : TYPES.newLink, 0));
  }

  routesChanged(): void {
    this.#tell(message(TYPES.newRoute, 0, new Uint8Array(12)));
  }

  #tell(bytes: Uint8Array): void {
    if (this.groups !== 0) this.#waiting.push(bytes);
  }

  #answer(type: number, sequence: number, bytes: Uint8Array): Uint8Array {
    const { nsids, inode } = this.#host;
    switch (type) {
      case TYPES.getLink: {
        const found = attributes(bytes, 32);
        const name = Buffer.from(found.get(ATTRIBUTES.name) ?? [])
          .toString()
          .replace('\0', '');
        const target = found.get(ATTRIBUTES.targetNsid);
        const tun = this.#host.tun();
        const where = target ? viewOf(target).getInt32(0, true) : undefined;
        const isThere =
          where === undefined
            ? tun?.namespace === this.#host.home
            : nsids.get(tun?.namespace ?? -1) === where;
        if (!tun || tun.name !== name || !isThere) return errorMessage(sequence, ENODEV);
        return linkMessage(tun, TYPES.newLink, sequence);
      }
      case TYPES.getNsid: {
        const nsid = nsids.get(inode(intOf(attributes(bytes, 20).get(ATTRIBUTES.fd)))) ?? -1;
        return message(
          TYPES.newNsid,
          sequence,
          Buffer.concat([new Uint8Array(4), attribute(ATTRIBUTES.nsid, int(nsid))]),
        );
      }
      case TYPES.newNsid:
        nsids.set(inode(intOf(attributes(bytes, 20).get(ATTRIBUTES.fd))), nsids.size);
        return errorMessage(sequence, 0);
      case TYPES.newAddress:
      case TYPES.removedAddress:
        return errorMessage(sequence, this.#changeAddress(type, bytes));
      case TYPES.getAddresses: {
        const all = this.#host.tun()?.addresses ?? [];
        const parts = all.map(address => addressMessage(address, this.#host.tun()?.index ?? 0, sequence));
        return Buffer.concat([...parts, message(TYPES.done, sequence, int(0))]);
      }
      default:
        return errorMessage(sequence, EINVAL);
    }
  }

  /** An error number, or 0. */
  #changeAddress(type: number, bytes: Uint8Array): number {
    const isNew = type === TYPES.newAddress;
    const failed = this.#host.fault(isNew ? 'netlink newAddress' : 'netlink removedAddress');
    if (failed !== 0) return failed;
    const tun = this.#host.tun();
    const ip = attributes(bytes, 24).get(ATTRIBUTES.local) ?? new Uint8Array(0);
    if (!tun || viewOf(bytes).getUint32(20, true) !== tun.index) return ENODEV;
    const at = tun.addresses.findIndex(address => Buffer.compare(address.ip, ip) === 0);
    if (isNew && at < 0) tun.addresses.push({ ip, prefix: bytes[17], scope: bytes[19] });
    if (isNew) return 0;
    if (at < 0) return EADDRNOTAVAIL;
    tun.addresses.splice(at, 1);
    return 0;
  }
}

function linkMessage(tun: FakeTun, type: number, sequence: number): Uint8Array {
  const info = Buffer.alloc(16);
  info.writeInt32LE(tun.index, 4);
  info.writeUInt32LE(tun.up ? IFF_UP : 0, 8);
  const name = attribute(ATTRIBUTES.name, Buffer.from(`${tun.name}\0`));
  return message(type, sequence, Buffer.concat([info, name, attribute(ATTRIBUTES.mtu, int(tun.mtu))]));
}

function addressMessage({ ip, prefix, scope }: FakeAddress, index: number, sequence: number): Uint8Array {
  const info = Buffer.from([ip.length === 4 ? AF_INET : AF_INET6, prefix, 0, scope, index, 0, 0, 0]);
  return message(TYPES.newAddress, sequence, Buffer.concat([info, attribute(ATTRIBUTES.local, ip)]));
}

function errorMessage(sequence: number, errno: number): Uint8Array {
  return message(TYPES.error, sequence, Buffer.concat([int(-errno), new Uint8Array(16)]));
}

function message(type: number, sequence: number, body: Uint8Array): Uint8Array {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt32LE(sequence, 8);
  return new Uint8Array(Buffer.concat([header, body]));
}

function attribute(type: number, content: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(4 + Math.ceil(content.length / 4) * 4);
  bytes.writeUInt16LE(4 + content.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(content, 4);
  return bytes;
}

function attributes(bytes: Uint8Array, start: number): Map<number, Uint8Array> {
  const view = viewOf(bytes);
  const found = new Map<number, Uint8Array>();
  for (let at = start; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4) break;
    found.set(view.getUint16(at + 2, true), bytes.slice(at + 4, at + length));
    at += Math.ceil(length / 4) * 4;
  }
  return found;
}

function int(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

function intOf(bytes: Uint8Array | undefined): number {
  return bytes ? viewOf(bytes).getInt32(0, true) : -1;
}
