// AF_VSOCK for Node: a port on which the host of this machine can call, without a network.
// Promises: who calls is told by the context ID that the kernel gives; who may not is closed before a byte of it is read.
// Read on: vsock(7); linux/vm_sockets.h; libuv src/unix/pipe.c uv_pipe_open(), which asks for no address family.

/*
 * `net.Server` refuses a descriptor whose family it does not know, though all that libuv does with a stream it does with this
 * one: accept, read, write. So the descriptor is opened as Node's own pipe handle, the one below every Unix socket.
 */

import { constants } from 'node:os';
import { Socket } from 'node:net';
import { closeSync } from 'node:fs';
import { loadKoffi } from './koffi.js';

const AF_VSOCK = 40;
const SOCK_STREAM = 1;
const VMADDR_CID_ANY = 0xffff_ffff;
/** struct sockaddr_vm: family, two bytes, port, context ID, flags, padding. */
const SOCKADDR = { bytes: 16, port: 4, cid: 8 } as const;

export interface VsockOptions {
  /** 0 to 2^32 - 2. */
  readonly port: number;
  /** Connections that wait in the kernel. */
  readonly backlog: number;
  /** Whether somebody of this context ID may connect. */
  readonly admits: (cid: number) => boolean;
  readonly onConnection: (socket: Socket) => void;
  /** A connection could not be taken, as where no descriptor is left. */
  readonly onError: (error: Error) => void;
}

/** Listens, and keeps no program running. Returns what ends it. Throws the system's error, or why there are no system calls. */
export function listenVsock({ port, backlog, admits, onConnection, onError }: VsockOptions): () => void {
  const calls = loadCalls();
  const fd = calls.socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd === -1) throw systemError('socket', calls.errno());
  let handle: PipeHandle | undefined;
  try {
    const address = new DataView(new ArrayBuffer(SOCKADDR.bytes));
    address.setUint16(0, AF_VSOCK, true);
    address.setUint32(SOCKADDR.port, port, true);
    address.setUint32(SOCKADDR.cid, VMADDR_CID_ANY, true);
    const bytes = new Uint8Array(address.buffer);
    if (calls.bind(fd, calls.addressOf(bytes), bytes.length) === -1) throw systemError('bind', calls.errno());
    const { Pipe, constants: kinds } = pipeHandles();
    handle = new Pipe(kinds.SERVER);
    const refused = handle.open(fd);
    if (refused) throw systemError('open', -refused);
  } catch (error) {
    handle?.close();
    closeSync(fd);
    throw error;
  }
  // From here on the descriptor is the handle's.
  handle.onconnection = (status, client) => {
    if (status) return onError(systemError('accept', -status));
    const cid = calls.cidOf(client.fd);
    if (cid === undefined || !admits(cid)) return client.close();
    onConnection(new Socket({ handle: client, allowHalfOpen: true } as object));
  };
  const refused = handle.listen(backlog);
  if (refused) {
    handle.close();
    throw systemError('listen', -refused);
  }
  handle.unref();
  return () => handle.close();
}

/** What is used of a handle of Node's. What fails answers a negative error number. */
interface PipeHandle {
  readonly fd: number;
  onconnection: (status: number, client: PipeHandle) => void;
  open(fd: number): number;
  listen(backlog: number): number;
  close(): void;
  unref(): void;
}

interface PipeHandles {
  readonly Pipe: new (kind: number) => PipeHandle;
  readonly constants: { readonly SERVER: number };
}

function pipeHandles(): PipeHandles {
  const { binding } = process as unknown as { binding(name: string): PipeHandles };
  return binding.call(process, 'pipe_wrap');
}

const SOCK_CLOEXEC = 0x8_0000;

interface Calls {
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: number, length: number): number;
  addressOf(bytes: Uint8Array): number;
  /** Of whoever is at the other end; undefined when that one has gone. */
  cidOf(fd: number): number | undefined;
  errno(): number;
}

let loaded: Calls | undefined;

function loadCalls(): Calls {
  loaded ??= bindCalls();
  return loaded;
}

function bindCalls(): Calls {
  const { koffi, reason } = loadKoffi();
  if (!koffi) throw new Error(reason);
  const libc = koffi.load(null);
  const addressOf = (bytes: Uint8Array) => Number(koffi.address(bytes));
  const getpeername = libc.func('getpeername', 'int', ['int', 'uintptr_t', 'uintptr_t']);
  const peer = new DataView(new ArrayBuffer(SOCKADDR.bytes));
  const length = new DataView(new ArrayBuffer(8));
  const [peerAt, lengthAt] = [peer, length].map(({ buffer }) => addressOf(new Uint8Array(buffer)));
  return {
    socket: libc.func('socket', 'int', ['int', 'int', 'int']),
    bind: libc.func('bind', 'int', ['int', 'uintptr_t', 'int']),
    addressOf,
    cidOf(fd) {
      length.setUint32(0, SOCKADDR.bytes, true);
      if (getpeername(fd, peerAt, lengthAt) === -1 || peer.getUint16(0, true) !== AF_VSOCK) return undefined;
      return peer.getUint32(SOCKADDR.cid, true);
    },
    errno: () => koffi.errno(),
  };
}

function systemError(call: string, errno: number): NodeJS.ErrnoException {
  const [code] = Object.entries(constants.errno).find(([, value]) => value === errno) ?? [`errno ${errno}`];
  return Object.assign(new Error(`${call} vsock: ${code}`), { code, errno, syscall: call });
}
