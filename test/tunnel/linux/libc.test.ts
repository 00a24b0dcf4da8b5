import { once } from 'node:events';
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { TunnelError } from '../../../tunnel/errors.js';
import { EAGAIN, EBADF, EINVAL, errnoName, systemCallError } from '../../../tunnel/linux/errno.js';
import {
  F_GETFL,
  type Libc,
  O_NONBLOCK,
  O_RDWR,
  POLLIN,
  checked,
  requireLibc,
} from '../../../tunnel/linux/libc.js';
import { EventFd, MAX_POLLED, Poller } from '../../../tunnel/linux/wait/poller.js';

const libc = requireLibc();

describe('system calls', () => {
  it('return what the kernel returned, or its error as a negative number', () => {
    const fd = libc.open('/dev/zero', O_RDWR | O_NONBLOCK);
    expect(fd).toBeGreaterThan(2);
    expect(libc.fcntl(fd, F_GETFL) & O_NONBLOCK).toBe(O_NONBLOCK);
    const buffer = new Uint8Array(100).fill(1);
    expect(libc.readInto(fd, buffer, 10, 20)).toBe(20);
    expect([buffer[9], buffer[10], buffer[29], buffer[30]]).toEqual([1, 0, 0, 1]);
    expect(libc.close(fd)).toBe(0);
    expect(libc.readInto(fd, buffer, 0, 1)).toBe(-EBADF);
    expect(libc.open('/nowhere/at/all', O_RDWR)).toBe(-2);
  });

  it('write to the right place in a view, in small buffers and in shared ones', () => {
    const fd = libc.open('/dev/zero', O_RDWR);
    const buffers = [
      new Uint8Array(8),
      Buffer.alloc(40),
      Buffer.from('from the pool that buffers share'),
      new Uint8Array(new SharedArrayBuffer(64)),
      new Uint8Array(1000).subarray(500, 600),
    ];
    for (const buffer of buffers) {
      buffer.fill(7);
      expect(libc.readInto(fd, buffer, 3, 4)).toBe(4);
      expect(Array.from(buffer.subarray(0, 8))).toEqual([7, 7, 7, 0, 0, 0, 0, 7]);
    }
    // One after the other in turn, so that the remembered address is not the one in use.
    for (let round = 0; round < 3; round++) {
      for (const buffer of buffers) {
        buffer[0] = 9;
        expect(libc.readInto(fd, buffer, 0, 1)).toBe(1);
        expect(buffer[0]).toBe(0);
      }
    }
    libc.close(fd);
  });

  it('touch no memory outside a buffer, nor of one that was given away', () => {
    const fd = libc.open('/dev/zero', O_RDWR);
    const buffer = new Uint8Array(100);
    expect(libc.readInto(fd, buffer, 0, 100)).toBe(100);
    expect(libc.readInto(fd, buffer, 0, 101)).toBe(-EINVAL);
    expect(libc.readInto(fd, buffer, -1, 4)).toBe(-EINVAL);
    expect(libc.writeFrom(fd, buffer, 99, 2)).toBe(-EINVAL);
    structuredClone(buffer, { transfer: [buffer.buffer] });
    expect(libc.readInto(fd, buffer, 0, 1)).toBe(-EINVAL);
    libc.close(fd);
  });

  it('throw in set-up with the call and the name of the error', () => {
    expect(() => checked(-1, 'bind', 'port 80')).toThrowError(
      expect.objectContaining({ code: 'ERR_SYSTEM_CALL', call: 'bind', errno: 'EPERM' }),
    );
    expect(checked(5, 'bind')).toBe(5);
    expect(systemCallError('ioctl TUNSETIFF', -16, 'interface wg0', 'ERR_TUN')).toBeInstanceOf(TunnelError);
    expect([errnoName(-EAGAIN), errnoName(77), errnoName(4000)]).toEqual(['EAGAIN', 'EBADFD', 'errno 4000']);
  });
});

describe('Poller', () => {
  it('says which descriptors are ready, and 0 when the time is over', () => {
    const poller = new Poller(libc);
    const [a, b] = [EventFd.create(libc), EventFd.create(libc)];
    const [placeA, placeB] = [poller.add(a.fd), poller.add(b.fd)];
    expect(poller.wait(0)).toBe(0);
    b.signal();
    expect(poller.wait(1_000)).toBe(1 << placeB);
    expect(poller.happened(placeB)).toBe(POLLIN);
    a.signal();
    expect(poller.wait(1_000)).toBe((1 << placeA) | (1 << placeB));
    poller.setEvents(placeB, 0);
    expect(poller.wait(1_000)).toBe(1 << placeA);
    poller.remove(placeA);
    expect(poller.wait(1)).toBe(0);
    expect(poller.add(a.fd)).toBe(placeA);
    expect(poller.wait(1_000)).toBe(1 << placeA);
    expect(() => poller.add(a.fd)).toThrowError(
      expect.objectContaining({ code: 'ERR_SYSTEM_CALL', call: 'epoll_ctl', errno: 'EEXIST' }),
    );
    a.close();
    b.close();
    poller.close();
  });

  it('watches as many as it says', () => {
    const poller = new Poller(libc);
    const events = Array.from({ length: MAX_POLLED + 1 }, () => EventFd.create(libc));
    for (const event of events.slice(1)) poller.add(event.fd);
    for (const event of events) event.signal();
    expect(poller.wait(1_000)).toBe(2 ** MAX_POLLED - 1);
    expect(() => poller.add(events[0].fd)).toThrow(RangeError);
    for (const event of events) event.close();
    poller.close();
  });

  it('says what fails for ever, which whoever waits in a loop would else ask for without end', () => {
    const broken = new Proxy(libc, {
      get: (target, name: keyof Libc) => {
        const value = target[name];
        if (name === 'epollWait') return () => -EBADF;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const poller = new Poller(broken);
    expect(() => poller.wait(0)).toThrow(
      expect.objectContaining({ code: 'ERR_SYSTEM_CALL', errno: 'EBADF' }),
    );
    poller.close();
  });
});

describe('EventFd', () => {
  it('counts many signals as one', () => {
    const event = EventFd.create(libc);
    expect(event.drain()).toBe(false);
    event.signal();
    event.signal();
    expect(event.drain()).toBe(true);
    expect(event.drain()).toBe(false);
    event.close();
  });

  it('ends the wait of another thread', async () => {
    const event = EventFd.create(libc);
    // Plain JavaScript, since a worker does not go through the test runner: poll(2) on the descriptor, without an end.
    const worker = new Worker(
      `const { workerData, parentPort } = require('node:worker_threads');
       const koffi = require(workerData.koffi);
       const poll = koffi.load(null).func('poll', 'int', ['void *', 'ulong', 'int']);
       const pollfd = new Int32Array(new ArrayBuffer(8));
       pollfd.set([workerData.fd, 1]);
       parentPort.postMessage('waiting');
       parentPort.postMessage(poll(pollfd, 1, -1));`,
      { eval: true, workerData: { fd: event.fd, koffi: createRequire(import.meta.url).resolve('koffi') } },
    );
    expect(await once(worker, 'message')).toEqual(['waiting']);
    const woken = once(worker, 'message');
    event.signal();
    expect(await woken).toEqual([1]);
    await worker.terminate();
    event.close();
  });
});
