import { describe, expect, it } from 'vitest';
import { DatagramPool } from '../../../../tunnel/linux/net/datagram-pool.js';
import type { Libc } from '../../../../tunnel/linux/libc.js';
import type { LinuxUdpSocket } from '../../../../tunnel/linux/net/udp.js';
import type { LinuxUdpEndpoint } from '../../../../tunnel/linux/net/udp-endpoint.js';
import { loadKoffi } from '../../../../native/koffi.js';
import { libc, numbered, receive, socket, to } from '../sockets.js';

const koffi = loadKoffi().koffi!;

/** The system calls, with some of sendmmsg's answered by `refuse`: an error number, or nothing to let it pass. */
function refusing(refuse: (isRun: boolean) => number | undefined, runs: boolean[] = []): Libc {
  return new Proxy(libc, {
    get: (target, name) => {
      const value = target[name as keyof Libc] as unknown;
      if (name !== 'sendmmsg') return typeof value === 'function' ? value.bind(target) : value;
      return (fd: number, headers: number, count: number, flags: number) => {
        const header = new DataView(koffi.view(headers, 56));
        const isRun = header.getBigUint64(24, true) > 1n;
        runs.push(isRun);
        const errno = refuse(isRun);
        return errno === undefined ? target.sendmmsg(fd, headers, count, flags) : -errno;
      };
    },
  });
}

describe.each([
  { family: 'IPv4', address: '127.0.0.1' },
  { family: 'IPv6', address: '::1' },
])('segmentation offload over $family', ({ address }) => {
  const sizes = [
    Array.from({ length: 45 }, () => 1_452),
    [1_000, 1_000, 1_000, 400, 1_000, 1_000],
    [100, 200, 200, 300, 300, 300, 50, 50, 50],
    Array.from({ length: 150 }, () => 64),
    Array.from({ length: 20 }, () => 9_032),
    [60_000, 60_000, 60_000, 4],
  ];
  const bytesOf = (lengths: readonly number[]) => lengths.map((length, i) => numbered(i, length));

  function exchange(from: LinuxUdpSocket, to_: LinuxUdpSocket, sent: readonly Uint8Array[]): Uint8Array[] {
    for (const datagram of sent) expect(from.queue(datagram, endpointOf(to_))).toBe(true);
    expect(from.flush()).toBe(0);
    return receive(to_, sent.length).map(({ bytes }) => bytes);
  }

  // One object, as a peer has one: only then are datagrams known to go the same way.
  const known = new Map<number, LinuxUdpEndpoint>();
  function endpointOf({ port }: LinuxUdpSocket): LinuxUdpEndpoint {
    const endpoint = known.get(port) ?? to(address, port);
    known.set(port, endpoint);
    return endpoint;
  }

  it('is found, and can be left out', () => {
    expect(socket().offloads).toEqual(['UDP_SEGMENT', 'UDP_GRO']);
    expect(socket({ offloads: false }).offloads).toEqual([]);
  });

  it.each([
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ])('carries every datagram whole and in order: sender %s, receiver %s', (sender, receiver) => {
    const [a, b] = [socket({ offloads: sender }), socket({ offloads: receiver })];
    for (const lengths of sizes) expect(exchange(a, b, bytesOf(lengths))).toEqual(bytesOf(lengths));
    expect(a.counters).toMatchObject({ runsRefused: 0, sendFailed: 0, queueFull: 0 });
  });

  it('makes one message of a run, and none of datagrams to different peers', () => {
    const runs: boolean[] = [];
    const counting = refusing(() => undefined, runs);
    const a = socket({}, counting);
    const [b, c] = [socket(), socket()];
    exchange(a, b, bytesOf([500, 500, 500]));
    expect(runs).toEqual([true]);
    for (const target of [b, c, b, c]) a.queue(numbered(1, 500), endpointOf(target));
    a.flush();
    expect(runs).toEqual([true, false]);
    expect(receive(b, 2).length + receive(c, 2).length).toBe(4);
  });

  it('is switched off where the kernel breaks it, and nothing is lost by that', () => {
    const EIO = 5;
    const a = socket(
      {},
      refusing(isRun => (isRun ? EIO : undefined)),
    );
    const b = socket();
    for (const lengths of sizes.slice(0, 3))
      expect(exchange(a, b, bytesOf(lengths))).toEqual(bytesOf(lengths));
    expect(a.counters).toMatchObject({ runsRefused: 1, sendFailed: 0, sent: 45 + 6 + 9 });
    expect(a.counters.runsRefused).toBe(1);
    a.forgetSources();
    expect(exchange(a, b, bytesOf(sizes[0]))).toEqual(bytesOf(sizes[0]));
    expect(a.counters.runsRefused).toBe(1);
  });

  it('is left out for lengths that the way does not carry, until routes change', () => {
    const EINVAL = 22;
    const a = socket(
      {},
      refusing(isRun => (isRun ? EINVAL : undefined)),
    );
    const b = socket();
    expect(exchange(a, b, bytesOf([900, 900, 900]))).toEqual(bytesOf([900, 900, 900]));
    expect(exchange(a, b, bytesOf([900, 900, 1_000, 1_000]))).toEqual(bytesOf([900, 900, 1_000, 1_000]));
    expect(a.counters.runsRefused).toBe(1);
    expect(exchange(a, b, bytesOf([800, 800]))).toEqual(bytesOf([800, 800]));
    expect(a.counters.runsRefused).toBe(2);
    a.forgetSources();
    expect(exchange(a, b, bytesOf([900, 900]))).toEqual(bytesOf([900, 900]));
    expect(a.counters).toMatchObject({ runsRefused: 3, sendFailed: 0 });
    expect(a.offloads).toEqual(['UDP_SEGMENT', 'UDP_GRO']);
  });

  it('waits with what is left of a broken run when the system has no room, and then goes on', () => {
    const [EIO, EAGAIN] = [5, 11];
    let calls = 0;
    const a = socket(
      {},
      refusing(isRun => (isRun ? EIO : ++calls % 2 === 1 ? EAGAIN : undefined)),
    );
    const b = socket();
    for (const datagram of bytesOf([700, 700, 700, 20])) a.queue(datagram, endpointOf(b));
    expect(a.flush()).toBe(4);
    expect(a.flush()).toBe(0);
    expect(receive(b, 4).map(({ bytes }) => bytes)).toEqual(bytesOf([700, 700, 700, 20]));
  });

  it('counts every datagram of a run that the system refuses', () => {
    const EPERM = 1;
    const a = socket(
      {},
      refusing(isRun => (isRun ? EPERM : undefined)),
    );
    const b = socket();
    for (const datagram of bytesOf([700, 700, 700])) a.queue(datagram, endpointOf(b));
    a.queue(numbered(9, 800), endpointOf(b));
    expect(a.flush()).toBe(0);
    expect(a.counters).toMatchObject({ sendFailed: 3, sent: 1 });
    expect(receive(b, 1)[0].bytes).toEqual(numbered(9, 800));
  });

  it('gives every buffer back', () => {
    const pool = new DatagramPool(libc);
    const [a, b] = [socket({ pool }), socket()];
    for (const lengths of sizes) exchange(a, b, bytesOf(lengths));
    for (const datagram of bytesOf(sizes[0])) a.queue(datagram, endpointOf(b));
    a.close();
    const taken = new Set(Array.from({ length: 256 }, () => pool.take(1_500)));
    expect(taken.has(undefined)).toBe(false);
    expect(taken.size).toBe(256);
    expect(pool.take(1_500)).toBeUndefined();
  });
});
