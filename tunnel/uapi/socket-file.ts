// The socket's place in the file system: `/var/run/wireguard/NAME.sock`.
// Promises: nobody but the owner can connect, from the first moment on; a live socket is never taken over, and only a
// dead one is removed; at the end only the own file goes.
// Read on: wireguard-go ipc/uapi_unix.go UAPIOpen(); unix(7).

import { chmod, link, lstat, mkdir, mkdtemp, rm, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { TunnelError } from '../errors.js';

/** unix(7): `sun_path` has 108 bytes, one of them for the zero. macOS has four fewer. */
const MAX_PATH_BYTES = process.platform === 'linux' ? 107 : 103;
/** A file that comes and goes under our hands this often is somebody else's game. */
const ATTEMPTS = 5;

/** Whether somebody answers at a socket's path. */
export async function isServed(path: string): Promise<boolean> {
  const stats = await lstat(path).catch(ignoreMissing);
  return stats !== undefined && stats.isSocket() && (await isLive(path));
}

/** Which file it is, however its name is used later. */
export interface FileIdentity {
  readonly dev: number;
  readonly ino: number;
}

/** Where `wg` looks for sockets. */
export const SOCKET_FOLDER = '/var/run/wireguard';

export function socketPath(interfaceName: string, folder = SOCKET_FOLDER): string {
  return `${folder}/${interfaceName}.sock`;
}

/**
 * Makes `server` listen at `path`, mode 0600; a missing folder is made with 0755. Throws `ERR_UAPI_IN_USE` when
 * somebody answers there, `ERR_UAPI_LISTEN` when it cannot be.
 *
 * The socket is bound in a private folder and linked to its name when it is ready. So its mode needs no process-wide
 * umask, the name appears only once somebody answers, and of two that start at once one gets it.
 */
export async function listenAt(server: Server, path: string): Promise<FileIdentity> {
  const folder = dirname(path);
  const privateFolder = join(folder, '.uapi-');
  const longest = Math.max(Buffer.byteLength(path), Buffer.byteLength(`${privateFolder}XXXXXX/s`));
  if (longest > MAX_PATH_BYTES) {
    throw new TunnelError('ERR_UAPI_LISTEN', `the path of the socket is too long for the system: ${path}`);
  }
  let made: string | undefined;
  try {
    await mkdir(folder, { recursive: true, mode: 0o755 });
    made = await mkdtemp(privateFolder);
    const bound = join(made, 's');
    await listen(server, bound);
    await chmod(bound, 0o600);
    const { dev, ino } = await lstat(bound);
    await publish(bound, path);
    return { dev, ino };
  } catch (error) {
    server.close();
    if (error instanceof TunnelError) throw error;
    throw new TunnelError('ERR_UAPI_LISTEN', `cannot listen at ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    if (made !== undefined) await rm(made, { recursive: true, force: true });
  }
}

/** Makes `server` listen on a socket that another process bound, such as `WG_UAPI_FD`. Throws `ERR_UAPI_LISTEN`. */
export async function listenOn(server: Server, fd: number): Promise<void> {
  try {
    await listen(server, { fd });
  } catch (error) {
    throw new TunnelError('ERR_UAPI_LISTEN', `descriptor ${fd} is no listening socket`, { cause: error });
  }
}

/** The file of that name; `undefined` when there is none. */
export async function identify(path: string): Promise<FileIdentity | undefined> {
  const stats = await lstat(path).catch(ignoreMissing);
  return stats && { dev: stats.dev, ino: stats.ino };
}

/** Whether `path` is still the file that it was. */
export async function isStill(path: string, identity: FileIdentity): Promise<boolean> {
  const now = await identify(path);
  return now !== undefined && now.ino === identity.ino && now.dev === identity.dev;
}

/** Removes the file, unless another has taken its name. */
export async function removeIfStill(path: string, identity: FileIdentity): Promise<void> {
  if (await isStill(path, identity)) await unlink(path).catch(ignoreMissing);
}

function listen(server: Server, where: string | { fd: number }): Promise<void> {
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
  throw new TunnelError('ERR_UAPI_IN_USE', `others make and remove ${path} at the same time`);
}

/** Removes the socket of a process that died. Throws when it lives, or is no socket. */
async function clearStale(path: string): Promise<void> {
  const stats = await lstat(path).catch(ignoreMissing);
  if (!stats) return;
  if (!stats.isSocket()) {
    throw new TunnelError('ERR_UAPI_LISTEN', `${path} exists and is no socket: remove it first`);
  }
  if (await isLive(path)) {
    throw new TunnelError(
      'ERR_UAPI_IN_USE',
      `another program answers at ${path}: the interface runs already`,
    );
  }
  await removeIfStill(path, stats);
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
