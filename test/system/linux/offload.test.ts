// Offloads against the kernel: it splits what we join and joins what we split, and judges every checksum.

import { createHash } from 'node:crypto';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseIp } from '../../../tunnel/ip.js';
import { type Libc, POLLIN } from '../../../tunnel/linux/libc.js';
import { Poller } from '../../../tunnel/linux/wait/poller.js';
import { LinuxTun } from '../../../tunnel/linux/tun/tun.js';
import { TunIo } from '../../../tunnel/linux/tun/tun-io.js';
import { LinuxUdpSocket } from '../../../tunnel/linux/net/udp.js';
import { LinuxUdpEndpoint } from '../../../tunnel/linux/net/udp-endpoint.js';
import { ACK, type Flow, PSH, packet, readPacket } from '../../tunnel/linux/offload/packets.js';
import { until } from '../support/run.js';
import { atEnd, freshName, ip, libc, namespace, tun } from './network.js';

const bytesOf = (address: string) => parseIp(address)!.ip;

function ioOf(device: LinuxTun): TunIo {
  return new TunIo({ tun: device, onGone: () => {} });
}

/** What was not flushed yet: nobody else holds on to its memory. */
const kept: Buffer[] = [];

/** Has a copy of a packet written at the next flush, after which `kept` may be emptied. */
function writeCopy(io: TunIo, packet: Uint8Array): void {
  const copy = Buffer.from(packet);
  kept.push(copy);
  io.write(copy, 0, copy.length, libc.addressOf(copy));
}

/** A TUN device inside a namespace, with addresses, up. */
function tunIn(space: string, addresses: readonly string[], offloads: boolean): LinuxTun {
  const device = tun({ mtu: 1420, offloads });
  const name = device.name();
  ip('link', 'set', name, 'netns', space);
  for (const address of addresses) {
    ip('-n', space, 'addr', 'add', address, 'dev', name, ...(address.includes(':') ? ['nodad'] : []));
  }
  ip('-n', space, 'link', 'set', name, 'up');
  return device;
}

/** Packets of TCP or UDP that come out of a device until `count` have, each looked at by the slow reader. */
function readUntil(device: LinuxTun, io: TunIo, protocol: number, count: number): Uint8Array[] {
  const poller = new Poller(libc);
  poller.add(device.fd, POLLIN);
  const packets: Uint8Array[] = [];
  const handle = (each: Uint8Array) => {
    const at = each[0] >> 4 === 4 ? 9 : 6;
    if (each[at] === protocol) packets.push(each.slice());
  };
  while (packets.length < count) {
    if (poller.wait(3_000) === 0) throw new Error(`${packets.length} of ${count} packets came`);
    do io.read({ expect: () => {}, take: handle });
    while (io.lastRead >= 0);
  }
  return packets;
}

describe('a kernel that forwards', () => {
  const streams = (['tcp', 'udp'] as const).flatMap(protocol =>
    ([4, 6] as const).flatMap(version => [true, false].map(offloads => ({ protocol, version, offloads }))),
  );

  it.each(streams)(
    'hands on $protocol over IPv$version as it was: offloads $offloads',
    ({ protocol, version, offloads }) => {
      const space = namespace();
      const a = tunIn(space, ['10.78.0.1/24', 'fd78::1/64'], true);
      const b = tunIn(space, ['10.79.0.1/24', 'fd79::1/64'], offloads);
      ip('netns', 'exec', space, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
      const flow: Flow = {
        version,
        protocol,
        source: bytesOf(version === 4 ? '10.78.0.2' : 'fd78::2'),
        destination: bytesOf(version === 4 ? '10.79.0.2' : 'fd79::2'),
        sourcePort: 1_234,
        destinationPort: 4_321,
      };
      const sizes = [...Array.from({ length: 40 }, () => 1_300), 77];
      const payloads = sizes.map((size, i) => Uint8Array.from({ length: size }, (_, k) => k * 3 + i));
      let sequence = 2 ** 32 - 5_000;
      const sent = payloads.map((payload, i) => {
        const last = i === payloads.length - 1;
        const made = packet({
          flow,
          payload,
          sequence: sequence % 2 ** 32,
          id: (0xfff0 + i) & 0xffff,
          flags: last ? ACK | PSH : ACK,
        });
        sequence += payload.length;
        return made;
      });
      const [into, out] = [ioOf(a), ioOf(b)];
      for (const each of sent) writeCopy(into, each);
      into.flush();
      kept.length = 0;
      expect(into.counters).toMatchObject({ packetsOut: 41, writes: 1, undeliverable: 0 });
      const number = protocol === 'tcp' ? 6 : 17;
      const received = readUntil(b, out, number, 41).map(readPacket);
      const expected = sent.map(readPacket);
      expect(received.map(({ payload }) => Buffer.from(payload).toString('hex'))).toEqual(
        payloads.map(payload => Buffer.from(payload).toString('hex')),
      );
      for (const field of ['flow', 'id', 'sequence', 'flags'] as const) {
        expect(received.map(each => each[field])).toEqual(expected.map(each => each[field]));
      }
      // The kernel kept it in one piece for whoever asked for that.
      if (offloads) expect(out.counters.reads).toBeLessThan(20);
      else expect(out.counters.reads).toBeGreaterThanOrEqual(41);
      expect(out.counters.unsplittable).toBe(0);
    },
  );
});

/** A program of Node inside a namespace, which says when it is ready, and what came of it. */
class Inside {
  readonly child: ChildProcess;
  readonly done: Promise<string>;
  output = '';

  constructor(space: string, program: string) {
    this.child = spawn('ip', ['netns', 'exec', space, process.execPath, '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    atEnd(() => this.child.kill('SIGKILL'));
    this.child.stdout?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.done = new Promise(resolve => this.child.on('close', () => resolve(this.output)));
  }
}

describe('a kernel that is handed a damaged packet among sound ones', () => {
  it.each([4, 6] as const)('refuses that one and takes the others: IPv%i', async version => {
    const space = namespace();
    const device = tunIn(space, ['10.78.0.1/24', 'fd78::1/64'], true);
    const io = ioOf(device);
    const server = new Inside(
      space,
      `const socket = require('node:dgram').createSocket('udp6');
       const got = [];
       socket.on('message', message => got.push(message[0]) === 8 && (console.log(got.join()), process.exit(0)));
       socket.bind(7000, () => console.log('ready'));`,
    );
    await until('the receiver is ready', () => server.output.includes('ready'));
    const flow: Flow = {
      version,
      protocol: 'udp',
      source: bytesOf(version === 4 ? '10.78.0.2' : 'fd78::2'),
      destination: bytesOf(version === 4 ? '10.78.0.1' : 'fd78::1'),
      sourcePort: 1_234,
      destinationPort: 7_000,
    };
    for (let i = 0; i < 9; i++) {
      const made = packet({ flow, payload: new Uint8Array(800).fill(i), id: i });
      if (i === 4) made[made.length - 1] ^= 0x11;
      writeCopy(io, made);
    }
    io.flush();
    kept.length = 0;
    // The damaged one begins a run that nothing is joined to.
    expect(io.counters).toMatchObject({ packetsOut: 9, writes: 3 });
    expect((await server.done).trim().split('\n')).toEqual(['ready', '0,1,2,3,5,6,7,8']);
    const counters = ip('netns', 'exec', space, 'nstat', '-asz', 'UdpInCsumErrors', 'Udp6InCsumErrors');
    expect(counters).toMatch(new RegExp(`^Udp${version === 4 ? '' : '6'}InCsumErrors +1 `, 'm'));
  });
});

describe('a wire of packets between two kernels', () => {
  it.each([
    { from: true, to: true, address: '10.78.0.2' },
    { from: true, to: true, address: 'fd78::2' },
    { from: true, to: false, address: '10.78.0.2' },
    { from: false, to: true, address: 'fd78::2' },
  ])(
    'carries TCP whole, every packet with the right sums: offloads $from, $to, to $address',
    async ({ from, to, address }) => {
      const bytes = 12_000_000;
      const [left, right] = [namespace(), namespace()];
      const a = tunIn(left, ['10.78.0.1/24', 'fd78::1/64'], from);
      const b = tunIn(right, ['10.78.0.2/24', 'fd78::2/64'], to);
      const [ioA, ioB] = [ioOf(a), ioOf(b)];
      const server = new Inside(
        right,
        `const hash = require('node:crypto').createHash('sha256');
       require('node:net').createServer(socket => {
         socket.on('data', chunk => hash.update(chunk));
         socket.on('end', () => { console.log(hash.digest('hex')); process.exit(0); });
       }).listen(5001, '::', () => console.log('ready'));`,
      );
      const poller = new Poller(libc);
      poller.add(a.fd, POLLIN);
      poller.add(b.fd, POLLIN);
      let checked = 0;
      const pump = (source: TunIo, sink: TunIo) => {
        for (let reads = 0; reads < 16; reads++) {
          const take = (each: Uint8Array) => {
            // TCP and UDP alone; what a reader of the tests’ own finds wrong it throws.
            const protocol = each[0] >> 4 === 4 ? each[9] : each[6];
            if (protocol === 6 && checked++ < 3_000) readPacket(each);
            writeCopy(sink, each);
          };
          source.read({ expect: () => {}, take });
          if (source.lastRead < 0) break;
        }
        sink.flush();
        kept.length = 0;
      };
      const run = async (until: () => boolean) => {
        const deadline = performance.now() + 30_000;
        while (!until()) {
          if (performance.now() > deadline) throw new Error('too slow');
          poller.wait(2);
          pump(ioA, ioB);
          pump(ioB, ioA);
          await new Promise(resolve => setImmediate(resolve));
        }
      };
      await run(() => server.output.includes('ready'));
      const client = new Inside(
        left,
        `const data = Buffer.alloc(${bytes}, 'wireonce offloads');
       const socket = require('node:net').connect(5001, '${address}', () => socket.end(data));`,
      );
      let over = false;
      void Promise.all([client.done, server.done]).then(() => (over = true));
      await run(() => over);
      const expected = createHash('sha256').update(Buffer.alloc(bytes, 'wireonce offloads')).digest('hex');
      expect((await server.done).trim().split('\n')).toEqual(['ready', expected]);
      expect(checked).toBeGreaterThan(3_000);
      // Far fewer reads than packets where the kernel leaves the splitting to us, and fewer writes always.
      if (from) expect(ioA.counters.packetsIn / ioA.counters.reads).toBeGreaterThan(4);
      else expect(ioA.counters.packetsIn).toBe(ioA.counters.reads);
      if (from && to) expect(ioB.counters.packetsOut / ioB.counters.writes).toBeGreaterThan(4);
    },
  );
});

describe('what a kernel does not have', () => {
  /** The system calls, with one ioctl refused when `refuses` says so. */
  function without(refuses: (request: number, argument: number) => boolean): Libc {
    return new Proxy(libc, {
      get: (target, name) => {
        const value = target[name as keyof Libc] as unknown;
        if (name !== 'ioctl') return typeof value === 'function' ? value.bind(target) : value;
        return (fd: number, request: number, argument: number) =>
          refuses(request, argument) ? -22 : target.ioctl(fd, request, argument);
      },
    });
  }
  const TUNSETOFFLOAD = 0x4004_54d0;
  const make = (calls: Libc, offloads = true) => {
    const device = LinuxTun.create(calls, { name: freshName(), offloads });
    atEnd(() => device.close());
    return device;
  };

  it('is left out, and the rest is used', () => {
    expect(make(libc).offloads).toEqual(['TUN_TSO', 'TUN_USO']);
    const noUso = make(without((request, bits) => request === TUNSETOFFLOAD && (bits & 0x60) !== 0));
    expect([noUso.offloads, noUso.vnetHeaderBytes]).toEqual([['TUN_TSO'], 10]);
    const none = make(without(request => request === TUNSETOFFLOAD));
    expect([none.offloads, none.vnetHeaderBytes]).toEqual([[], 10]);
    let refused = false;
    const noHeader = make(
      without(request => {
        if (request !== 0x4004_54ca || refused) return false;
        refused = true;
        return true;
      }),
    );
    expect([noHeader.offloads, noHeader.vnetHeaderBytes]).toEqual([[], 0]);
    expect([make(libc, false).offloads, make(libc, false).vnetHeaderBytes]).toEqual([[], 0]);
  });

  it('is found on a descriptor that somebody else opened, whatever was asked of it before', () => {
    const F_DUPFD_CLOEXEC = 1030;
    const made = tun({ vnetHeader: true });
    const adopt = (offloads: boolean) => {
      const adopted = LinuxTun.adopt(libc, libc.fcntl(made.fd, F_DUPFD_CLOEXEC), { offloads });
      atEnd(() => adopted.close());
      return adopted.offloads;
    };
    expect(adopt(true)).toEqual(['TUN_TSO', 'TUN_USO']);
    expect(adopt(false)).toEqual([]);
  });
});

describe('a way that carries no such datagrams whole', () => {
  it.each([
    { family: 'IPv4', ours: '10.78.3.1', theirs: '10.78.3.2', mask: 24 },
    { family: 'IPv6', ours: 'fd78:3::1', theirs: 'fd78:3::2', mask: 64 },
  ])('gets them one by one: $family', async ({ ours, theirs, mask }) => {
    const name = freshName();
    ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`);
    atEnd(() => ip('link', 'del', name));
    ip('link', 'set', name, 'mtu', '1280');
    ip('addr', 'add', `${ours}/${mask}`, 'dev', name, ...(ours.includes(':') ? ['nodad'] : []));
    ip('link', 'set', name, 'up');
    ip('link', 'set', `${name}p`, 'up');
    ip('neigh', 'add', theirs, 'lladdr', '02:00:00:00:00:01', 'dev', name);
    const about = (what: string) => readFileSync(`/sys/class/net/${name}/${what}`, 'utf8').trim();
    // Until the kernel has noticed the other end, what is sent is lost.
    await until('the link is up', () => about('operstate') === 'up');
    const transmitted = () => Number(about('statistics/tx_packets'));
    const socket = LinuxUdpSocket.open(libc);
    atEnd(() => socket.close());
    const to = LinuxUdpEndpoint.of(bytesOf(theirs), 9);
    const before = transmitted();
    for (let i = 0; i < 20; i++) socket.queue(new Uint8Array(1_452), to);
    expect(socket.flush()).toBe(0);
    expect(socket.counters).toMatchObject({ runsRefused: 1, sendFailed: 0, sent: 20 });
    // Two fragments each.
    await until('all have gone', () => transmitted() - before >= 40);
    for (let i = 0; i < 20; i++) socket.queue(new Uint8Array(1_200), to);
    socket.flush();
    expect(socket.counters).toMatchObject({ runsRefused: 1, sendFailed: 0, sent: 40 });
  });
});
