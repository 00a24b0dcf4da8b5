import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DatagramPool } from '../../../../tunnel/linux/net/datagram-pool.js';
import { IPPROTO_IP } from '../../../../tunnel/linux/libc.js';
import { EAGAIN } from '../../../../tunnel/linux/errno.js';
import { ReceiveBatch } from '../../../../tunnel/linux/net/receive-batch.js';
import { SendBatch } from '../../../../tunnel/linux/net/send-batch.js';
import type { LinuxUdpSocket } from '../../../../tunnel/linux/net/udp.js';
import { LinuxUdpEndpoint } from '../../../../tunnel/linux/net/udp-endpoint.js';
import { parseIp } from '../../../../tunnel/ip.js';
import { libc, numbered, receive, socket, to } from '../sockets.js';

const IP_RECVERR = 11;

describe.each([
  { family: 'IPv4', address: '127.0.0.1' },
  { family: 'IPv6', address: '::1' },
])('LinuxUdpSocket over $family', ({ address }) => {
  it('carries batches in order, whole, whatever their number and length', () => {
    const [a, b] = [socket(), socket()];
    for (const count of [1, 2, 63, 64, 65, 200]) {
      const sent = Array.from({ length: count }, (_, i) => numbered(i, 32 + ((i * 37) % 1400)));
      for (const datagram of sent) expect(a.queue(datagram, to(address, b.port))).toBe(true);
      expect(a.flush()).toBe(0);
      expect(receive(b, count).map(({ bytes }) => bytes)).toEqual(sent);
    }
  });

  it('tells from where and by which way a datagram came, and answers that way', () => {
    const [a, b] = [socket(), socket()];
    a.queue(numbered(1, 40), to(address, b.port));
    a.flush();
    const [{ from }] = receive(b, 1);
    expect(from.equals(to(address, a.port))).toBe(true);
    expect(from.toString()).toBe(to(address, a.port).toString());
    expect(from.source?.ip).toEqual(parseIp(address)!.ip);
    expect(from.source?.interfaceIndex).toBe(libc.ifNameToIndex('lo'));
    b.queue(numbered(2, 40), from);
    b.flush();
    const [answer] = receive(a, 1);
    expect(answer.from.equals(to(address, b.port))).toBe(true);
    expect(b.counters).toMatchObject({ sent: 1, received: 1, sourcesForgotten: 0 });
  });

  it('makes one endpoint for all datagrams of one sender', () => {
    const [a, b] = [socket(), socket()];
    for (let i = 0; i < 20; i++) a.queue(numbered(i, 40), to(address, b.port));
    a.flush();
    expect(new Set(receive(b, 20).map(({ from }) => from)).size).toBe(1);
  });

  it('carries the longest datagram, and counts one that is longer', () => {
    const [a, b] = [socket(), socket()];
    const longest = address === '::1' ? 65_527 : 65_507;
    expect(a.queue(numbered(3, longest + 1), to(address, b.port))).toBe(false);
    expect(a.queue(new Uint8Array(0), to(address, b.port))).toBe(false);
    expect(a.counters.badLength).toBe(2);
    expect(a.queue(numbered(3, longest), to(address, b.port))).toBe(true);
    a.flush();
    // More than 65,507 needs a network that carries it whole; the kernel may refuse, and says so.
    if (a.counters.sent === 1) expect(receive(b, 1)[0].bytes).toEqual(numbered(3, longest));
    else expect(a.lastError).toBe('EMSGSIZE');
  });

  it('goes on when nobody listens at the other end', () => {
    const [a, b] = [socket(), socket()];
    const closed = socket();
    const nobody = to(address, closed.port);
    closed.close();
    for (let i = 0; i < 10; i++) {
      a.queue(numbered(i, 40), nobody);
      a.flush();
    }
    a.queue(numbered(11, 40), to(address, b.port));
    expect(a.flush()).toBe(0);
    expect(receive(b, 1)[0].bytes).toEqual(numbered(11, 40));
  });

  it('forgets a source that is no longer ours, and sends all the same', () => {
    const [a, b] = [socket(), socket()];
    a.queue(numbered(1, 40), to(address, b.port));
    a.flush();
    // As if the address had been removed since: 192.0.2.1 and 2001:db8::1 belong to nobody.
    const stale = receive(b, 1)[0].from.words();
    if (stale.length === 4) stale[2] = 0x0102_00c0;
    else stale.set([0xb80d_0120, 0, 0, 0x0100_0000], 6);
    const endpoint = new LinuxUdpEndpoint(stale, receiveEpoch(a, b, address));
    b.queue(numbered(5, 40), endpoint);
    b.queue(numbered(6, 40), endpoint);
    b.flush();
    expect(receive(a, 2).map(({ bytes }) => bytes)).toEqual([numbered(5, 40), numbered(6, 40)]);
    expect(b.counters).toMatchObject({ sent: 2, sendFailed: 0, sourcesForgotten: 1 });
    b.queue(numbered(7, 40), endpoint);
    b.flush();
    expect(receive(a, 1)[0].bytes).toEqual(numbered(7, 40));
    expect(b.counters.sourcesForgotten).toBe(1);
  });

  it('forgets all sources when routes change, and learns them anew', () => {
    const [a, b] = [socket(), socket()];
    const epoch = receiveEpoch(a, b, address);
    b.forgetSources();
    expect(receiveEpoch(a, b, address)).not.toBe(epoch);
  });
});

/** The time of b's routes, as it is written on what it receives. */
function receiveEpoch(a: LinuxUdpSocket, b: LinuxUdpSocket, address: string): number {
  a.queue(numbered(0, 40), to(address, b.port));
  a.flush();
  return receive(b, 1)[0].from.sourceSerial;
}

describe('LinuxUdpSocket', () => {
  it('has one port for both families', () => {
    const both = socket();
    expect(both.port).toBeGreaterThan(0);
    expect(both.fd4).toBeGreaterThan(0);
    expect(both.fd6).toBeGreaterThan(0);
    const other = socket();
    other.queue(numbered(1, 40), to('127.0.0.1', both.port));
    other.queue(numbered(2, 40), to('::1', both.port));
    other.flush();
    expect(
      receive(both, 2)
        .map(({ from }) => from.ip.length)
        .toSorted((x, y) => x - y),
    ).toEqual([4, 16]);
  });

  it('refuses a port that is taken, and leaves no descriptor behind', () => {
    const { port } = socket();
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    expect(() => socket({ port })).toThrowError(
      expect.objectContaining({ code: 'ERR_UDP_BIND', errno: 'EADDRINUSE' }),
    );
    expect(() => socket({ ipv4: '192.0.2.1' })).toThrowError(
      expect.objectContaining({ code: 'ERR_UDP_BIND', errno: 'EADDRNOTAVAIL' }),
    );
    expect(() => socket({ ipv6: '127.0.0.1' })).toThrowError(
      expect.objectContaining({ code: 'ERR_UDP_BIND' }),
    );
    expect(() => socket({ ipv4: false, ipv6: false })).toThrowError(
      expect.objectContaining({ code: 'ERR_UDP_BIND' }),
    );
    expect(descriptors()).toBe(before);
  });

  it('counts what it cannot send, by reason', () => {
    const v4 = socket({ ipv6: false });
    expect(v4.fd6).toBe(-1);
    expect(v4.queue(numbered(1, 40), to('::1', 9))).toBe(false);
    expect(v4.queue(numbered(1, 40), to('127.0.0.1', 0))).toBe(false);
    // A broadcast without SO_BROADCAST: the system refuses it, every time.
    expect(v4.queue(numbered(1, 40), to('255.255.255.255', 9))).toBe(true);
    expect(v4.queue(numbered(1, 40), to('127.0.0.1', v4.port))).toBe(true);
    expect(v4.flush()).toBe(0);
    expect(v4.counters).toMatchObject({ noFamily: 1, sendFailed: 2, sent: 1 });
    expect(v4.lastError).toBe('EACCES');
  });

  it('takes errors that the network left on it as no datagrams, and sends again what they stopped', () => {
    const [a, b] = [socket(), socket()];
    // Asks for what is off by default: ICMP errors are reported by the next call on the socket, whatever it is.
    expect(libc.setsockopt(a.fd4, IPPROTO_IP, IP_RECVERR, 1)).toBe(0);
    const closed = socket();
    const nobody = to('127.0.0.1', closed.port);
    closed.close();
    a.queue(numbered(1, 40), nobody);
    a.flush();
    a.queue(numbered(2, 40), to('127.0.0.1', b.port));
    a.flush();
    expect(receive(b, 1)[0].bytes).toEqual(numbered(2, 40));
    expect(a.counters).toMatchObject({ sent: 2, sendFailed: 0 });
    a.queue(numbered(3, 40), nobody);
    a.flush();
    expect(a.receive(a.fd4, () => expect.unreachable())).toBe(0);
    expect(a.counters.waitingErrors).toBe(1);
    expect(a.lastError).toBe('ECONNREFUSED');
    b.queue(numbered(4, 40), to('127.0.0.1', a.port));
    b.flush();
    expect(receive(a, 1)[0].bytes).toEqual(numbered(4, 40));
  });

  it('may be closed twice', () => {
    const once = socket();
    once.close();
    once.close();
    expect(once.receive(once.fd4, () => expect.unreachable())).toBe(0);
    expect(once.lastError).toBe('EBADF');
  });
});

describe('ReceiveBatch', () => {
  it('marks a datagram that its slot cannot hold', () => {
    const [a, b] = [socket(), socket()];
    a.queue(numbered(1, 300), to('127.0.0.1', b.port));
    a.queue(numbered(2, 200), to('127.0.0.1', b.port));
    a.flush();
    const batch = new ReceiveBatch(libc, 4, 256);
    expect(batch.receive(b.fd4)).toBe(2);
    expect([batch.truncated(0), batch.truncated(1)]).toEqual([true, false]);
    expect(batch.part(1, 0, 200).bytes).toEqual(numbered(2, 200));
  });

  it('asks for fewer messages while they are long, for more again when they are short, and tells when that was all', () => {
    const [a, b] = [socket({ offloads: false }), socket({ offloads: false })];
    const batch = new ReceiveBatch(libc, 16);
    const send = (count: number, length: number) => {
      for (let i = 0; i < count; i++) a.queue(numbered(i, length), to('127.0.0.1', b.port));
      a.flush();
    };
    const receive = () => [batch.receive(b.fd4), batch.isFull];
    send(20, 60_000);
    expect([receive(), receive(), receive()]).toEqual([
      [16, true],
      [4, false],
      [-EAGAIN, false],
    ]);
    send(6, 60_000);
    expect([receive(), receive()]).toEqual([
      [5, true],
      [1, false],
    ]);
    send(20, 100);
    expect([receive(), receive()]).toEqual([
      [5, true],
      [15, false],
    ]);
  });
});

describe('SendBatch', () => {
  it('sends in order across the end of its ring, and drops the first alone', () => {
    const [a, b] = [socket(), socket()];
    const target = to('127.0.0.1', b.port);
    const pool = new DatagramPool(libc);
    const batch = new SendBatch(libc, pool, 8);
    const push = (i: number) => {
      const slot = pool.take(40 + i)!;
      slot.bytes.set(numbered(i, 40 + i));
      batch.push(slot, target, false);
    };
    for (let i = 0; i < 8; i++) push(i);
    expect(batch.full).toBe(true);
    for (let i = 0; i < 3; i++) batch.drop();
    for (let i = 8; i < 11; i++) push(i);
    expect([batch.full, batch.pending]).toEqual([true, 8]);
    expect([batch.send(a.fd4), batch.send(a.fd4), batch.pending]).toEqual([5, 3, 0]);
    const sent = Array.from({ length: 8 }, (_, i) => numbered(i + 3, 43 + i));
    expect(receive(b, 8).map(({ bytes }) => bytes)).toEqual(sent);
  });
});

describe('LinuxUdpEndpoint', () => {
  it('compares by address, port and scope, not by the way', () => {
    const v4 = (...words: number[]) => new LinuxUdpEndpoint(Int32Array.from(words));
    expect(v4(1, 2, 3, 4).equals(v4(1, 2, 9, 9))).toBe(true);
    expect(v4(1, 2, 3, 4).equals(v4(9, 2, 3, 4))).toBe(false);
    expect(v4(1, 2, 3, 4).equals(v4(1, 9, 3, 4))).toBe(false);
    const changed = (at: number) => Int32Array.from({ length: 11 }, (_, i) => (i === at ? 99 : i));
    const same = [-1, 6, 7, 8, 9, 10].map(at => new LinuxUdpEndpoint(changed(at)));
    expect(same.every(endpoint => endpoint.equals(same[0]))).toBe(true);
    const others = [0, 1, 2, 3, 4, 5].map(at => new LinuxUdpEndpoint(changed(at)));
    expect(others.some(endpoint => endpoint.equals(same[0]))).toBe(false);
    const v6 = (scope: number) => LinuxUdpEndpoint.of(parseIp('fe80::1')!.ip, 51_820, scope);
    expect(v6(2).equals(v6(2))).toBe(true);
    expect(v6(2).equals(v6(3))).toBe(false);
    expect(v6(2).toString()).toBe('[fe80::1%2]:51820');
  });

  it('is made from addresses as every UDP endpoint', () => {
    expect(to('192.0.2.1', 51_820).toString()).toBe('192.0.2.1:51820');
    expect(to('2001:db8::1', 51_820).toString()).toBe('[2001:db8::1]:51820');
    expect(to('::ffff:192.0.2.1', 7).ip).toEqual(new Uint8Array([192, 0, 2, 1]));
    expect(to('192.0.2.1', 1).source).toBeUndefined();
    expect(() => LinuxUdpEndpoint.of(new Uint8Array(5), 1)).toThrowError(
      expect.objectContaining({ code: 'ERR_ENDPOINT' }),
    );
  });
});
