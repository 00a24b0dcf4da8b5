// A server's place in the file system: a Unix socket that is only its owner's from its first moment on.
// Promises: a socket that somebody answers at is not taken over, and nothing but a dead socket is removed.
// Read on: unix(7).

import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { type Server, connect } from 'node:net';
import { isMainThread } from 'node:worker_threads';

/** What fits into the address of a Unix socket, without its final zero. */
export const SOCKET_PATH_MAX = 107;

/** Makes `server` listen at `path`. `mode`: who may connect, owner alone by default. Rejects with the reason. */
export async function listenAt(server: Server, path: string, mode = 0o600): Promise<void> {
  await removeStaleSocket(path);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Only a main thread may set the mask.
    const mask = isMainThread ? process.umask(0o177) : undefined;
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
      if (server.listening) chmodSync(path, mode);
    } finally {
      if (mask !== undefined) process.umask(mask);
    }
  });
}

// A socket left behind by a process that is gone refuses connections. One that answers belongs to somebody.
async function removeStaleSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isSocket()) throw new Error('something that is not a socket has this name');
  const trouble = await new Promise<NodeJS.ErrnoException | undefined>(resolve => {
    const socket = connect(path, () => resolve(undefined));
    socket.once('error', resolve);
    socket.once('close', () => socket.destroy());
    socket.once('connect', () => socket.destroy());
  });
  if (!trouble) throw new Error('another process listens there');
  if (trouble.code === 'ENOENT') return;
  if (trouble.code !== 'ECONNREFUSED')
    throw new Error(`cannot tell whether it is in use: ${trouble.message}`);
  unlinkSync(path);
}
