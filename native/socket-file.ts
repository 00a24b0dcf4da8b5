// A server's place in the file system: a Unix socket, such as `/var/run/wireguard/NAME.sock`.
// Promises: nobody but its owner, and whoever its mode lets, can connect, from the first moment on; a live socket is never
// taken over, and only a dead one is removed; at the end only the own file goes.
// Read on: wireguard-go ipc/uapi_unix.go UAPIOpen(); unix(7).

import type { Stats } from 'node:fs';
import { chmod, link, lstat, mkdtemp, rm, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname, join } from 'node:path';

/** unix(7): `sun_path` has 108 bytes, one of them for the zero. macOS has four fewer. */
export const SOCKET_PATH_MAX = process.platform === 'linux' ? 107 : 103;
/** A socket is bound in a folder of this name first, and six characters more. */
const PRIVATE_FOLDER = '.sock-';
/** A file that comes and goes under our hands this often is somebody else's game. */
const ATTEMPTS = 5;

/** A file of that name, as long as no other takes its place. */
export class SocketFile {
  readonly path: string;
  readonly #identity: Pick<Stats, 'dev' | 'ino'>;

  constructor(path: string, identity: Pick<Stats, 'dev' | 'ino'>) {
    this.path = path;
    this.#identity = identity;
  }

  /** `undefined` when there is none. */
  static async at(path: string): Promise<SocketFile | undefined> {
    const stats = await lstat(path).catch(ignoreMissing);
    return stats && new SocketFile(path, stats);
  }

  /** Whether its name still stands for it. */
  async isStill(): Promise<boolean> {
    const now = await lstat(this.path).catch(ignoreMissing);
    return now !== undefined && now.ino === this.#identity.ino && now.dev === this.#identity.dev;
  }

  /** Removes it, but no other that has its name by now. */
  async remove(): Promise<void> {
    if (await this.isStill()) await unlink(this.path).catch(ignoreMissing);
  }
}

export class SocketFileError extends Error {
  /** Somebody answers there. */
  readonly isInUse: boolean;

  constructor(message: string, isInUse = false) {
    super(message);
    this.isInUse = isInUse;
  }
}

/** Whether somebody answers at a socket's path. */
export async function isServed(path: string): Promise<boolean> {
  const stats = await lstat(path).catch(ignoreMissing);
  return stats !== undefined && stats.isSocket() && (await isLive(path));
}

/**
 * Makes `server` listen at `path`, whose folder is there. `mode`: who may connect, owner alone by default. Rejects with a
 * `SocketFileError` for what has that name, or with the system's error. The file stays until it is removed.
 *
 * The socket is bound in a private folder and linked to its name when it is ready. So its mode needs no process-wide
 * umask, the name appears only once somebody answers, and of two that start at once one gets it.
 */
export async function listenAt(server: Server, path: string, mode = 0o600): Promise<SocketFile> {
  const privateFolder = join(dirname(path), PRIVATE_FOLDER);
  const longest = Math.max(Buffer.byteLength(path), Buffer.byteLength(`${privateFolder}XXXXXX/s`));
  if (longest > SOCKET_PATH_MAX) throw new SocketFileError('the path is too long for a socket');
  let made: string | undefined;
  try {
    made = await mkdtemp(privateFolder);
    const bound = join(made, 's');
    await listen(server, bound);
    await chmod(bound, mode);
    const file = new SocketFile(path, await lstat(bound));
    await publish(bound, path);
    return file;
  } catch (error) {
    server.close();
    throw error;
  } finally {
    if (made !== undefined) await rm(made, { recursive: true, force: true });
  }
}

/** Makes `server` listen at a path in a folder of its own, or on a socket that another process bound. */
export function listen(server: Server, where: string | { fd: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Gives the bound socket its name. */
async function publish(bound: string, path: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const error = await link(bound, path).then(
      () => undefined,
      (failure: NodeJS.ErrnoException) => failure,
    );
    if (!error) return;
    if (error.code !== 'EEXIST') throw error;
    await clearStale(path);
  }
  throw new SocketFileError('others make and remove it at the same time', true);
}

/** Removes the socket of a process that died. Throws when it lives, or is no socket. */
async function clearStale(path: string): Promise<void> {
  const stats = await lstat(path).catch(ignoreMissing);
  if (!stats) return;
  if (!stats.isSocket()) throw new SocketFileError('it exists and is no socket: remove it first');
  if (await isLive(path)) throw new SocketFileError('another program answers there', true);
  await new SocketFile(path, stats).remove();
}

/** Whether a process listens there. Only a clear no is a no. */
function isLive(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      // A full queue of connections: somebody is there, and busy.
      else if (error.code === 'EAGAIN') resolve(true);
      else reject(error);
    });
  });
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
