import { describe, expect, it } from 'vitest';
import { POLLIN, POLLOUT, SOL_SOCKET, SO_MARK, SO_RCVBUF } from '../../../tunnel/linux/libc.js';
import { Poller } from '../../../tunnel/linux/wait/poller.js';
import { type LinuxUdpOptions, LinuxUdpSocket } from '../../../tunnel/linux/net/udp.js';
import { LinuxUdpEndpoint } from '../../../tunnel/linux/net/udp-endpoint.js';
import { parseIp } from '../../../tunnel/ip.js';
import { until } from '../support/run.js';
import { atEnd, freshName, ip, libc } from './network.js';

function socket(options?: LinuxUdpOptions): LinuxUdpSocket {
  const made = LinuxUdpSocket.open(libc, options);
  atEnd(() => made.close());
  return made;
}

function receiveOne(on: LinuxUdpSocket): LinuxUdpEndpoint {
  const poller = new Poller(libc);
  for (const fd of [on.fd4, on.fd6]) poller.add(fd, POLLIN);
  if (poller.wait(2_000) === 0) throw new Error('nothing came');
  let from: LinuxUdpEndpoint | undefined;
  for (const fd of [on.fd4, on.fd6]) on.receive(fd, (_, endpoint) => (from = endpoint));
  return from!;
}

function send(on: LinuxUdpSocket, to: LinuxUdpEndpoint): void {
  expect(on.queue(new Uint8Array(40), to)).toBe(true);
  expect(on.flush()).toBe(0);
}

/** An interface of this host with an address of its own. */
function dummy(address: string): string {
  const name = freshName();
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`);
  atEnd(() => ip('link', 'del', name));
  ip('addr', 'add', address, 'dev', name, ...(address.includes(':') ? ['nodad'] : []));
  ip('link', 'set', name, 'up');
  ip('link', 'set', `${name}p`, 'up');
  return name;
}

describe('LinuxUdpSocket as root', () => {
  it('marks both sockets, at the start and later', () => {
    const marked = socket({ mark: 0x1234 });
    const marks = () => [marked.fd4, marked.fd6].map(fd => libc.getsockopt(fd, SOL_SOCKET, SO_MARK));
    expect(marks()).toEqual([0x1234, 0x1234]);
    marked.setMark(0xffff_fff0);
    expect(marks()).toEqual([0xffff_fff0, 0xffff_fff0]);
    expect(marked.mark).toBe(0xffff_fff0);
    marked.setMark(0);
    expect(marks()).toEqual([0, 0]);
  });

  it('gets the buffers that it asks for, whatever the system’s limit', () => {
    const big = socket();
    // The kernel counts its own bookkeeping in and so reports twice the bytes.
    for (const fd of [big.fd4, big.fd6]) {
      expect(libc.getsockopt(fd, SOL_SOCKET, SO_RCVBUF)).toBe(2 * 7 * 1024 * 1024);
    }
  });

  it.each([
    { family: 'IPv4', ours: '10.78.2.1', mask: 24 },
    { family: 'IPv6', ours: 'fd78:2::1', mask: 64 },
  ])('answers from the address that was written to, until it is removed: $family', ({ ours, mask }) => {
    const name = dummy(`${ours}/${mask}`);
    const [a, b] = [socket(), socket()];
    const theirs = parseIp(ours)!.ip;
    send(a, LinuxUdpEndpoint.of(theirs, b.port));
    const seen = receiveOne(b);
    expect(seen.source?.ip).toEqual(theirs);
    // The kernel by itself would answer a loopback sender from any address; the source tells that it did not choose.
    send(b, seen);
    expect(receiveOne(a).ip).toEqual(theirs);
    expect(b.counters.sourcesForgotten).toBe(0);
    // From here on the address is nobody's. Whoever is written to is reached by loopback.
    const loopback = parseIp(ours.includes(':') ? '::1' : '127.0.0.1')!.ip;
    const words = seen.words();
    words.set(new Int32Array(loopback.slice().buffer));
    const stale = new LinuxUdpEndpoint(words, seen.sourceSerial);
    ip('addr', 'del', `${ours}/${mask}`, 'dev', name);
    send(b, stale);
    expect(receiveOne(a).ip).toEqual(loopback);
    expect(b.counters).toMatchObject({ sourcesForgotten: 1, sendFailed: 0 });
  });

  it('keeps what the system has no room for, counts what it has no room for itself, and goes on', async () => {
    const name = dummy('10.78.4.1/24');
    const a = socket({ ipv6: false, socketBufferBytes: 4_608, batch: 8, offloads: false });
    const unresolved = LinuxUdpEndpoint.of(parseIp('10.78.4.2')!.ip, 9);
    // The kernel holds datagrams until it knows the neighbour, and counts them against the socket's small buffer.
    let taken = 0;
    for (let i = 0; i < 100; i++) if (a.queue(new Uint8Array(1_400), unresolved)) taken++;
    expect(a.flush()).toBe(8);
    expect(a.counters.sent).toBeGreaterThan(0);
    expect(a.counters).toMatchObject({ sent: taken - 8, queueFull: 100 - taken, sendFailed: 0 });
    const poller = new Poller(libc);
    poller.add(a.fd4, POLLOUT);
    expect(poller.wait(0)).toBe(0);
    ip('neigh', 'replace', '10.78.4.2', 'lladdr', '02:00:00:00:00:01', 'dev', name);
    await until('all have gone', () => a.flush() === 0);
    expect(a.counters).toMatchObject({ sent: taken, sendFailed: 0 });
  });

  it('reaches a link-local address by its scope', () => {
    const name = dummy('10.78.3.1/24');
    const index = libc.ifNameToIndex(name);
    expect(index).toBeGreaterThan(0);
    expect(libc.ifNameToIndex(`${name}x`)).toBe(0);
    ip('addr', 'add', 'fe80::78/64', 'dev', name, 'nodad');
    const [a, b] = [socket(), socket()];
    send(a, LinuxUdpEndpoint.of(parseIp('fe80::78')!.ip, b.port, index));
    const seen = receiveOne(b);
    expect(seen.scopeId).toBe(index);
    expect(seen.source?.interfaceIndex).toBe(index);
    send(b, seen);
    expect(receiveOne(a).toString()).toBe(`[fe80::78%${index}]:${b.port}`);
  });
});
