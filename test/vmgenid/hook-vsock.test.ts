// A hook on a vsock port lets in the one context ID that it is for. What the kernel tells is made up here:
// the port is a Unix socket under a real handle of Node's, and `getpeername` says what the test wants.

import { mkdtempSync, rmSync } from 'node:fs';
import { type Socket, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Koffi, loadKoffi } from '../../native/koffi.js';

const AF_UNIX = 1;
const AF_VSOCK = 40;
const CID_AT = 8;
const FAILED = -1;

/** Whoever calls next: the family and context ID that the kernel has for it; undefined: it has gone. */
let caller: { family: number; cid: number } | undefined;
let folder: string;
let path: string;
const open: { close(): unknown }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-vsock-'));
  path = join(folder, 'port');
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The system calls of a machine whose vsock is the socket at `path`. */
function unixInPlaceOfVsock(koffi: Koffi): Koffi {
  const libc = koffi.load(null);
  const address = Buffer.concat([Buffer.of(AF_UNIX, 0), Buffer.from(`${path}\0`)]);
  const socket = libc.func('socket', 'int', ['int', 'int', 'int']);
  const bind = libc.func('bind', 'int', ['int', 'uint8_t *', 'int']);
  const calls: Record<string, (...args: number[]) => number> = {
    socket: (_family, type) => socket(AF_UNIX, type, 0),
    bind: fd => bind(fd, address, address.length),
    getpeername: (_fd, to) => {
      if (!caller) return FAILED;
      const view = new DataView(koffi.view(to, 16));
      view.setUint16(0, caller.family, true);
      view.setUint32(CID_AT, caller.cid, true);
      return 0;
    },
  };
  const load = () => ({ func: (name: string) => calls[name] });
  return { ...koffi, load, address: koffi.address, errno: koffi.errno } as unknown as Koffi;
}

async function listen(at: string) {
  vi.resetModules();
  const { koffi, reason } = loadKoffi();
  if (!koffi) throw new Error(reason);
  vi.doMock('../../native/koffi.js', () => ({ loadKoffi: () => ({ koffi: unixInPlaceOfVsock(koffi) }) }));
  try {
    const { HookSource } = await import('../../vmgenid/sources/hook.js');
    const { VmGenId } = await import('../../vmgenid/driver.js');
    const vm = new VmGenId([new HookSource(at)]);
    open.push(vm);
    await vm.start();
    expect(vm.sources[0].reason).toBeUndefined();
    return vm;
  } finally {
    vi.doUnmock('../../native/koffi.js');
  }
}

/** What somebody hears who announces a fork. */
async function call(as: typeof caller): Promise<string> {
  caller = as;
  const socket: Socket = connect(path);
  socket.on('error', () => undefined);
  socket.write('POST /fork HTTP/1.1\r\nHost: clone\r\nContent-Length: 0\r\n\r\n');
  let heard = '';
  socket.on('data', chunk => (heard += String(chunk)));
  await new Promise(resolve => socket.once('close', resolve));
  return heard;
}

const vsock = (cid: number) => ({ family: AF_VSOCK, cid });

it.each([
  ['vsock:7000', 2],
  ['vsock:3:7000', 3],
  ['vsock:1:7000', 1],
])('%s is for context ID %i alone', async (at, own) => {
  const vm = await listen(at);
  const strangers = [0, 1, 2, 3, 4, own + 1, own + 256, own + 65_536, 0xffff_ffff].filter(cid => cid !== own);
  for (const stranger of [...strangers.map(vsock), { family: AF_UNIX, cid: own }, undefined])
    expect([stranger, await call(stranger)]).toEqual([stranger, '']);
  expect(vm.epoch).toBe(1);
  expect(await call(vsock(own))).toMatch(/^HTTP\/1\.1 200 .*"epoch":2/s);
  expect(vm.epoch).toBe(2);
});
