import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { F_GETFL, F_SETFL, O_NONBLOCK, POLLERR, POLLIN } from '../../../tunnel/linux/libc.js';
import { Poller } from '../../../tunnel/linux/wait/poller.js';
import { LinuxTun, tunOutcome } from '../../../tunnel/linux/tun/tun.js';
import { parseIp } from '../../../tunnel/ip.js';
import { echoRequest, readEcho } from '../support/echo.js';
import { run } from '../support/run.js';
import { atEnd, freshName, ip, libc, namespace, tun } from './network.js';

const OURS = '10.78.0.1';
const THEIRS = '10.78.0.2';
const bytesOf = (address: string) => parseIp(address)!.ip;

/** Reads packets until one is an echo message of this kind; its sequence number. */
function nextEcho(device: LinuxTun, kind: 'request' | 'reply', headerBytes = 0): number {
  const poller = new Poller(libc);
  poller.add(device.fd, POLLIN);
  const buffer = new Uint8Array(65_600);
  for (;;) {
    const length = device.read(buffer, 8, 65_000);
    if (length < 0) {
      expect(tunOutcome(length)).toBe('again');
      if (poller.wait(3_000) === 0) throw new Error(`no echo ${kind} came`);
      continue;
    }
    const echo = readEcho(buffer.subarray(8 + headerBytes, 8 + length));
    if (echo?.kind === kind) return echo.sequence;
  }
}

/** Answers one request of the kernel's `ping`, and returns what `ping` printed. */
async function answersPing(device: LinuxTun, ...inNamespace: string[]): Promise<string> {
  const command = [...inNamespace, 'ping', '-c', '1', '-W', '5', THEIRS];
  const ping = run(command[0], command.slice(1));
  const poller = new Poller(libc);
  poller.add(device.fd, POLLIN);
  const buffer = new Uint8Array(2_000);
  const deadline = performance.now() + 5_000;
  for (;;) {
    const length = device.read(buffer, 0, buffer.length);
    if (length > 0 && readEcho(buffer.subarray(0, length))?.kind === 'request') {
      // The reply: addresses swapped, type 0; the sum of the checksum's field and the type stays the same.
      const [source, destination] = [buffer.slice(12, 16), buffer.slice(16, 20)];
      buffer.set(destination, 12);
      buffer.set(source, 16);
      buffer[20] = 0;
      const view = new DataView(buffer.buffer);
      const sum = view.getUint16(22) + 0x0800;
      view.setUint16(22, (sum & 0xffff) + (sum >>> 16));
      expect(device.write(buffer, 0, length)).toBe(length);
      return ping;
    }
    if (performance.now() > deadline) throw new Error('the ping never came');
    await new Promise(resolve => setTimeout(resolve, 2));
    poller.wait(0);
  }
}

describe('a TUN device', () => {
  it('gives the kernel our packets and us the kernel’s', async () => {
    const device = tun({ mtu: 1420 });
    ip('addr', 'add', `${OURS}/24`, 'dev', device.name());
    ip('link', 'set', device.name(), 'up');
    const request = echoRequest(bytesOf(THEIRS), bytesOf(OURS), 1, 42);
    const buffer = new Uint8Array(2_000);
    buffer.set(request, 100);
    expect(device.write(buffer, 100, request.length)).toBe(request.length);
    expect(nextEcho(device, 'reply')).toBe(42);
    expect(await answersPing(device)).toContain(' 0% packet loss');
  });

  it('puts a header in front of each packet when asked', () => {
    const device = tun({ vnetHeader: true });
    expect(device.vnetHeaderBytes).toBe(10);
    ip('addr', 'add', `${OURS}/24`, 'dev', device.name());
    ip('link', 'set', device.name(), 'up');
    const request = echoRequest(bytesOf(THEIRS), bytesOf(OURS), 1, 43);
    const buffer = new Uint8Array(10 + request.length);
    buffer.set(request, 10);
    expect(device.write(buffer, 0, buffer.length)).toBe(buffer.length);
    expect(nextEcho(device, 'reply', 10)).toBe(43);
  });

  it('cuts a packet to the room that it gets', () => {
    const device = tun();
    ip('addr', 'add', `${OURS}/24`, 'dev', device.name());
    ip('link', 'set', device.name(), 'up');
    const request = echoRequest(bytesOf(THEIRS), bytesOf(OURS), 1, 44);
    device.write(request, 0, request.length);
    const poller = new Poller(libc);
    poller.add(device.fd, POLLIN);
    poller.wait(2_000);
    const buffer = new Uint8Array(100).fill(0xee);
    expect(device.read(buffer, 50, 10)).toBe(10);
    expect([buffer[49], buffer[60]]).toEqual([0xee, 0xee]);
  });

  it('has the MTU and the queue that it was made with, and another MTU when told', () => {
    const device = tun({ mtu: 1420 });
    const of = (what: string) => Number(readFileSync(`/sys/class/net/${device.name()}/${what}`, 'utf8'));
    expect(device.mtu()).toBe(1420);
    expect(of('tx_queue_len')).toBe(1_000);
    device.setMtu(9_000);
    expect([device.mtu(), of('mtu')]).toEqual([9_000, 9_000]);
    ip('link', 'set', device.name(), 'mtu', '1280');
    expect(device.mtu()).toBe(1280);
    for (const mtu of [0, 1.5, 1_000_000]) {
      expect(() => device.setMtu(mtu)).toThrowError(expect.objectContaining({ code: 'ERR_TUN' }));
    }
    expect(device.mtu()).toBe(1280);
  });

  it('says again, down and gone, and knows its state', () => {
    const device = tun();
    const name = device.name();
    const buffer = new Uint8Array(2_000);
    const request = echoRequest(bytesOf(THEIRS), bytesOf(OURS), 1, 1);
    const writes = () => {
      const result = device.write(request, 0, request.length);
      return result < 0 ? tunOutcome(result) : result;
    };
    const reads = () => tunOutcome(device.read(buffer, 0, buffer.length));
    expect([device.state(), reads(), writes()]).toEqual(['down', 'again', 'down']);
    ip('link', 'set', name, 'up');
    expect([device.state(), writes()]).toEqual(['up', request.length]);
    expect(tunOutcome(device.write(new Uint8Array(20), 0, 20))).toBe('refused');
    expect(tunOutcome(device.write(new Uint8Array(20), 0, 21))).toBe('refused');
    ip('link', 'set', name, 'down');
    expect([device.state(), writes()]).toEqual(['down', 'down']);
    ip('link', 'set', name, 'up');
    expect([device.state(), writes()]).toEqual(['up', request.length]);
    ip('link', 'del', name);
    expect([device.state(), reads(), writes()]).toEqual(['gone', 'gone', 'gone']);
    expect(() => device.name()).toThrowError(expect.objectContaining({ code: 'ERR_TUN', errno: 'EBADFD' }));
    expect(() => device.mtu()).toThrowError(expect.objectContaining({ code: 'ERR_TUN' }));
  });

  it('ends a wait when it is deleted', () => {
    const device = tun();
    const poller = new Poller(libc);
    const place = poller.add(device.fd, POLLIN);
    expect(poller.wait(0)).toBe(0);
    ip('link', 'del', device.name());
    expect(poller.wait(0)).toBe(1 << place);
    expect(poller.happened(place) & POLLERR).toBe(POLLERR);
  });

  it('follows a new name', () => {
    const device = tun();
    const renamed = freshName();
    ip('link', 'set', device.name(), 'name', renamed);
    expect(device.name()).toBe(renamed);
    device.setMtu(1300);
    expect(device.mtu()).toBe(1300);
  });

  it('works on in another network namespace, and is not taken for its namesake at home', async () => {
    const device = tun({ mtu: 1420 });
    const name = device.name();
    const elsewhere = namespace();
    ip('link', 'set', name, 'netns', elsewhere);
    const namesake = tun({ name, mtu: 1300 });
    ip('-n', elsewhere, 'addr', 'add', `${OURS}/24`, 'dev', name);
    expect(device.state()).toBe('down');
    ip('-n', elsewhere, 'link', 'set', name, 'up');
    expect([device.state(), namesake.state()]).toEqual(['up', 'down']);
    expect(await answersPing(device, 'ip', 'netns', 'exec', elsewhere)).toContain(' 0% packet loss');
    expect(() => device.mtu()).toThrowError(/another network namespace/);
    expect(() => device.setMtu(1400)).toThrowError(/another network namespace/);
    expect(namesake.mtu()).toBe(1300);
    ip('-n', elsewhere, 'link', 'del', name);
    expect(device.state()).toBe('gone');
  });

  it('goes with its descriptor, and leaves none behind', () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    const device = tun();
    const name = device.name();
    device.close();
    device.close();
    expect(() => ip('link', 'show', name)).toThrow(/does not exist/);
    expect(descriptors()).toBe(before);
  });
});

describe('making a TUN device', () => {
  it('refuses a name that is taken or none, and leaves no descriptor behind', () => {
    const device = tun();
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    expect(() => LinuxTun.create(libc, { name: device.name() })).toThrowError(
      expect.objectContaining({ code: 'ERR_TUN', call: 'ioctl TUNSETIFF', errno: 'EBUSY' }),
    );
    expect(() => LinuxTun.create(libc, { name: 'lo' })).toThrowError(
      expect.objectContaining({ code: 'ERR_TUN' }),
    );
    for (const name of ['', 'sixteen-letters-', 'a/b', 'a b', '..', 'a:b']) {
      expect(() => LinuxTun.create(libc, { name })).toThrowError(
        expect.objectContaining({ code: 'ERR_TUN' }),
      );
    }
    expect(() => LinuxTun.create(libc, { name: freshName(), mtu: 10_000_000 })).toThrowError(
      expect.objectContaining({ code: 'ERR_TUN', call: 'ioctl SIOCSIFMTU', errno: 'EINVAL' }),
    );
    expect(descriptors()).toBe(before);
  });

  it('takes over a descriptor that somebody else opened', () => {
    const made = tun({ vnetHeader: true });
    const flags = libc.fcntl(made.fd, F_GETFL);
    libc.fcntl(made.fd, F_SETFL, flags & ~O_NONBLOCK);
    const F_DUPFD_CLOEXEC = 1030;
    const adopted = LinuxTun.adopt(libc, libc.fcntl(made.fd, F_DUPFD_CLOEXEC), { mtu: 1400 });
    atEnd(() => adopted.close());
    expect([adopted.name(), adopted.vnetHeaderBytes, adopted.mtu()]).toEqual([made.name(), 10, 1400]);
    // Would wait for ever if it still blocked.
    expect(tunOutcome(adopted.read(new Uint8Array(100), 0, 100))).toBe('again');
  });

  it('refuses a descriptor of something else', () => {
    const other = libc.eventfd(0, 0);
    expect(() => LinuxTun.adopt(libc, other)).toThrowError(expect.objectContaining({ code: 'ERR_TUN' }));
    expect(() => LinuxTun.adopt(libc, 1_000_000)).toThrowError(
      expect.objectContaining({ code: 'ERR_TUN', errno: 'EBADF' }),
    );
  });
});
