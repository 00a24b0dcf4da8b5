// UDP sockets for tests, closed at the end of each.

import { afterEach } from 'vitest';
import { parseIp } from '../../../tunnel/ip.js';
import { type Libc, POLLIN, requireLibc } from '../../../tunnel/linux/libc.js';
import { Poller } from '../../../tunnel/linux/wait/poller.js';
import { type DatagramHandler, type LinuxUdpOptions, LinuxUdpSocket } from '../../../tunnel/linux/net/udp.js';
import { LinuxUdpEndpoint } from '../../../tunnel/linux/net/udp-endpoint.js';

export const libc = requireLibc();
const open: LinuxUdpSocket[] = [];

afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

export function socket(options?: LinuxUdpOptions, calls: Libc = libc): LinuxUdpSocket {
  const made = LinuxUdpSocket.open(calls, options);
  open.push(made);
  return made;
}

export function to(address: string, port: number): LinuxUdpEndpoint {
  return LinuxUdpEndpoint.of(parseIp(address)!.ip, port);
}

export interface Received {
  readonly bytes: Uint8Array;
  readonly from: LinuxUdpEndpoint;
}

/** Reads until `count` datagrams came. */
export function receive(from: LinuxUdpSocket, count: number): Received[] {
  const poller = new Poller(libc);
  for (const fd of [from.fd4, from.fd6]) if (fd >= 0) poller.add(fd, POLLIN);
  const received: Received[] = [];
  const handle: DatagramHandler = ({ bytes }, endpoint) => {
    received.push({ bytes: bytes.slice(), from: endpoint });
  };
  while (received.length < count) {
    if (poller.wait(2_000) === 0) throw new Error(`${received.length} of ${count} datagrams came`);
    for (const fd of [from.fd4, from.fd6]) if (fd >= 0) from.receive(fd, handle);
  }
  return received;
}

/** Bytes that differ from those of any other number. */
export function numbered(i: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(i);
  new DataView(bytes.buffer).setUint32(0, i);
  return bytes;
}
