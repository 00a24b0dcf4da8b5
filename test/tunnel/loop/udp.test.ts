import dgram from 'node:dgram';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { UdpEndpoint, WebSocketEndpoint } from '../../../tunnel/endpoint.js';
import type { TunnelError } from '../../../tunnel/errors.js';
import { type UdpOptions, UdpTransport } from '../../../tunnel/loop/udp.js';

const LOOPBACK = { ipv4: '127.0.0.1', ipv6: '::1' } as const;
const opened: UdpTransport[] = [];

async function open(options: UdpOptions = LOOPBACK): Promise<UdpTransport> {
  const transport = await UdpTransport.open(options);
  opened.push(transport);
  return transport;
}

afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(opened.splice(0).map(transport => transport.close()));
});

const until = (condition: () => boolean) => vi.waitFor(() => expect(condition()).toBe(true), 10_000);

/** Makes every bind of one family fail with `code`, the first `times` times. */
function failBinds(type: 'udp4' | 'udp6', code: string, times = Number.POSITIVE_INFINITY): void {
  const original = dgram.createSocket;
  let left = times;
  vi.spyOn(dgram, 'createSocket').mockImplementation((options: dgram.SocketOptions) => {
    const socket = original(options);
    if (options.type !== type || left-- <= 0) return socket;
    socket.bind = () => {
      queueMicrotask(() => socket.emit('error', Object.assign(new Error(`bind ${code}`), { code })));
      return socket;
    };
    return socket;
  });
}

describe('UdpTransport', () => {
  test.each(['ipv4', 'ipv6'] as const)('carries datagrams both ways over %s', async family => {
    const [a, b] = [await open(), await open()];
    if (!b.status[family].bound) return;
    const got: string[] = [];
    b.onDatagram = (datagram, from) => {
      got.push(`b ${Buffer.from(datagram)}`);
      expect(from.port).toBe(a.port);
      b.send(Buffer.from('answer'), from);
    };
    a.onDatagram = datagram => got.push(`a ${Buffer.from(datagram)}`);
    expect(a.send(Buffer.from('question'), UdpEndpoint.of(LOOPBACK[family], b.port))).toBe(true);
    await until(() => got.length === 2);
    expect(got).toEqual(['b question', 'a answer']);
    expect([a.counters.sent, a.counters.received]).toEqual([1, 1]);
    expect(b.localAddresses).toContain(UdpEndpoint.of(LOOPBACK[family], b.port).toString());
  });

  test('the caller may use its buffer again when send returns', async () => {
    const [a, b] = [await open(), await open()];
    const got: number[] = [];
    b.onDatagram = datagram => got.push(datagram[0]);
    const buffer = new Uint8Array(64);
    const to = UdpEndpoint.of('127.0.0.1', b.port);
    for (let i = 1; i <= 20; i++) {
      buffer.fill(i);
      a.send(buffer, to);
    }
    buffer.fill(0xff);
    await until(() => got.length === 20);
    expect(got).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  });

  test('one sender is one endpoint object', async () => {
    const [a, b] = [await open(), await open()];
    const from = new Set<unknown>();
    let received = 0;
    b.onDatagram = (_, endpoint) => {
      received++;
      from.add(endpoint);
    };
    for (let i = 0; i < 10; i++) a.send(Uint8Array.of(i), UdpEndpoint.of('127.0.0.1', b.port));
    await until(() => received === 10);
    expect(from.size).toBe(1);
  });

  test('a datagram that is too long is counted and reported, and the next one arrives', async () => {
    const [a, b] = [await open(), await open()];
    const errors: TunnelError[] = [];
    a.onError = error => errors.push(error);
    const to = UdpEndpoint.of('127.0.0.1', b.port);
    expect(a.send(new Uint8Array(70_000), to)).toBe(false);
    expect(a.counters.dropped.badLength).toBe(1);
    // Within the limit of IPv6, but above that of IPv4: the system says EMSGSIZE.
    expect(a.send(new Uint8Array(65_520), to)).toBe(true);
    await until(() => errors.length === 1);
    expect(errors[0]).toMatchObject({ code: 'ERR_UDP_SEND', cause: { code: 'EMSGSIZE' } });
    expect(a.counters.dropped.sendFailed).toBe(1);
    a.send(Uint8Array.of(1), to);
    await until(() => b.counters.received === 1);
  });

  test('errors of the system do not end it: unreachable networks, closed ports, reports from the socket', async () => {
    const sockets: dgram.Socket[] = [];
    const original = dgram.createSocket;
    vi.spyOn(dgram, 'createSocket').mockImplementation((options: dgram.SocketOptions) => {
      const socket = original(options);
      sockets.push(socket);
      return socket;
    });
    const [a, b] = [await open(), await open()];
    const errors: TunnelError[] = [];
    a.onError = error => errors.push(error);
    const closedPort = (await open()).port;
    await opened.pop()?.close();
    a.send(Uint8Array.of(1), UdpEndpoint.of('127.0.0.1', closedPort));
    // A socket bound to loopback has no way to a documentation network.
    a.send(Uint8Array.of(1), UdpEndpoint.of('192.0.2.1', 9));
    await until(() => errors.length >= 1);
    expect(errors[0].code).toBe('ERR_UDP_SEND');
    sockets[0].emit('error', Object.assign(new Error('recvmsg ECONNREFUSED'), { code: 'ECONNREFUSED' }));
    expect(errors.at(-1)).toMatchObject({ code: 'ERR_UDP_RECEIVE' });
    a.send(Uint8Array.of(1), UdpEndpoint.of('127.0.0.1', b.port));
    await until(() => b.counters.received === 1);
  });

  test('refuses what is not for it, by value', async () => {
    const a = await open({ ipv4: '127.0.0.1', ipv6: false });
    const datagram = Uint8Array.of(1);
    expect(a.send(datagram, WebSocketEndpoint.dial('ws://h'))).toBe(false);
    expect(a.send(datagram, UdpEndpoint.of('::1', 9))).toBe(false);
    expect(a.send(datagram, UdpEndpoint.of('127.0.0.1', 0))).toBe(false);
    await a.close();
    expect(a.send(datagram, UdpEndpoint.of('127.0.0.1', 9))).toBe(false);
    expect(a.counters.dropped).toMatchObject({ notOurs: 1, noFamily: 1, sendFailed: 1, closed: 1 });
    expect(a.owns(UdpEndpoint.of('127.0.0.1', 9))).toBe(true);
    await a.close();
  });

  test('without IPv6 on the machine it goes on with IPv4 and says why', async () => {
    failBinds('udp6', 'EAFNOSUPPORT');
    const a = await open();
    expect(a.status.ipv4.bound).toBe(true);
    expect(a.status.ipv6).toEqual({ bound: false, reason: 'bind EAFNOSUPPORT' });
    expect(a.localAddresses).toEqual([`127.0.0.1:${a.port}`]);
  });

  test('without IPv4 it goes on with IPv6, and without both it says so', async () => {
    failBinds('udp4', 'EAFNOSUPPORT');
    const a = await open();
    expect(a.status.ipv4.bound).toBe(false);
    expect(a.port).toBeGreaterThan(0);
    await expect(open({ ...LOOPBACK, ipv6: false })).rejects.toThrow(/no UDP socket: .*EAFNOSUPPORT/);
  });

  test('takes another port when the one that IPv4 gave is not free in IPv6', async () => {
    failBinds('udp6', 'EADDRINUSE', 3);
    const a = await open();
    expect(a.status.ipv4.bound && a.status.ipv6.bound).toBe(true);
    expect(vi.mocked(dgram.createSocket)).toHaveBeenCalledTimes(8);
  });

  test('a given port that is taken, and an address that is not ours, are errors', async () => {
    const a = await open({ ipv4: '127.0.0.1', ipv6: false });
    await expect(open({ ...LOOPBACK, port: a.port })).rejects.toMatchObject({
      code: 'ERR_UDP_BIND',
      cause: { code: 'EADDRINUSE' },
    });
    const b = await open({ ipv4: false, ipv6: '::1' });
    await expect(open({ ...LOOPBACK, port: b.port })).rejects.toMatchObject({ code: 'ERR_UDP_BIND' });
    await expect(open({ ipv4: '192.0.2.1' })).rejects.toThrow(/cannot bind to UDP port 0 of IPv4/);
  });

  test('asks for large buffers, and smaller ones are no error', async () => {
    const a = await open();
    const { ipv4 } = a.status;
    expect(ipv4.bound && ipv4.receiveBufferBytes).toBeGreaterThan(0);
    vi.spyOn(dgram.Socket.prototype, 'setRecvBufferSize').mockImplementation(() => {
      throw new Error('ENOBUFS');
    });
    expect((await open()).status.ipv4.bound).toBe(true);
  });
});
