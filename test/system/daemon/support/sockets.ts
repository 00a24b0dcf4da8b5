// UDP sockets of this process in the network namespaces of machines: a socket stays where it was made.
// Promises: closed by `closeMachines`. This thread is back in its own namespace before anything else runs.
// Read on: setns(2), which moves the calling thread alone; Node's sockets are made in the thread that binds them.

import { createSocket, type Socket } from 'node:dgram';
import { closeSync, openSync } from 'node:fs';
import { loadKoffi } from '../../../../native/koffi.js';
import { atEnd } from './machine.js';

const CLONE_NEWNET = 0x4000_0000;

/** Bound when this returns. */
export function udpSocket(namespace: string, address: string, port: number): Socket {
  const family = address.includes(':') ? 6 : 4;
  const socket = createSocket({
    type: `udp${family}`,
    // Answers at once: so the socket is bound within the call, while the thread is in the namespace.
    lookup: (host, _options, callback) => callback(null, host, family),
    recvBufferSize: 4 * 1024 * 1024,
  });
  let failure: Error | undefined;
  socket.on('error', error => (failure ??= error));
  inNamespace(namespace, () => socket.bind(port, address));
  if (failure) throw failure;
  atEnd(() => socket.close());
  return socket;
}

function inNamespace(name: string, action: () => void): void {
  const { koffi, reason } = loadKoffi();
  if (!koffi) throw new Error(reason);
  const setns = koffi.load(null).func('setns', 'int', ['int', 'int']);
  const enter = (fd: number) => {
    if (setns(fd, CLONE_NEWNET) !== 0) throw new Error(`setns: ${koffi.errno()}`);
  };
  const home = openSync('/proc/thread-self/ns/net', 'r');
  const there = openSync(`/run/netns/${name}`, 'r');
  try {
    enter(there);
    try {
      action();
    } finally {
      enter(home);
    }
  } finally {
    closeSync(there);
    closeSync(home);
  }
}
