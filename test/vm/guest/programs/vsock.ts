// Hooks that listen on the guest's vsock, and a caller who comes by its loopback, as context ID 1.

import { Socket } from 'node:net';
import { loadKoffi } from '../../../../native/koffi.js';
import { type VmGenId, openVmGenId } from '../../../../vmgenid/index.js';
import { serve } from '../serve.js';

const AF_VSOCK = 40;
const SOCK_STREAM = 1;
const VMADDR_CID_LOCAL = 1;
const SOCKADDR_BYTES = 16;

const open: VmGenId[] = [];

serve({
  async listen(hook: string): Promise<string> {
    const vmgenid = await openVmGenId({ hook });
    open.push(vmgenid);
    const source = vmgenid.sources.find(({ name }) => name.startsWith('hook'));
    return source?.reason ?? 'listens';
  },
  call: ({ port, path }: { port: number; path: string }) =>
    answered(connectTo(port), `GET ${path} HTTP/1.1\r\nHost: clone\r\n\r\n`),
});

/** All that came until the other side hung up. */
function answered(socket: Socket, request: string): Promise<string> {
  return new Promise(resolve => {
    let answer = '';
    socket.on('data', text => (answer += text.toString()));
    // Who is not let in is hung up on, at whatever point he is.
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
    socket.write(request);
  });
}

function connectTo(port: number): Socket {
  const { koffi, reason } = loadKoffi();
  if (!koffi) throw new Error(reason);
  const libc = koffi.load(null);
  const fd = libc.func('socket', 'int', ['int', 'int', 'int'])(AF_VSOCK, SOCK_STREAM, 0);
  const address = new DataView(new ArrayBuffer(SOCKADDR_BYTES));
  address.setUint16(0, AF_VSOCK, true);
  address.setUint32(4, port, true);
  address.setUint32(8, VMADDR_CID_LOCAL, true);
  const at = Number(koffi.address(new Uint8Array(address.buffer)));
  if (libc.func('connect', 'int', ['int', 'uintptr_t', 'int'])(fd, at, SOCKADDR_BYTES) === -1) {
    throw new Error(`connect: error ${koffi.errno()}`);
  }
  // Node knows no such family; see native/vsock.ts.
  const { binding } = process as unknown as {
    binding(name: string): {
      Pipe: new (kind: number) => { open(fd: number): number };
      constants: { SOCKET: number };
    };
  };
  const { Pipe, constants } = binding.call(process, 'pipe_wrap');
  const handle = new Pipe(constants.SOCKET);
  handle.open(fd);
  return new Socket({ handle } as object);
}
