// The UAPI's server: a Unix socket on which `wg` and others read and change a device.
// Promises: requests of all clients are applied one after another, each whole or not at all; no client, slow or
// hostile, holds up another; the socket is the owner's alone, and only our own is removed at the end.
// Read on: wireguard-go ipc/uapi_linux.go and device/uapi.go; wireguard.com/xplatform.

import { type FSWatcher, watch } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { SocketFile, SocketFileError, listen, listenAt } from '../../../native/socket-file.js';
import { TunnelError } from '../../errors.js';
import { oneByOne } from '../../one-by-one.js';
import type { DrillAnswer } from '../drill.js';
import type { DeviceStatus } from '../status.js';
import { UapiConnection, type UapiConnectionOwner } from './connection.js';
import type { UapiLimits } from './parse.js';
import type { UapiBackend, UapiChanges, UapiState } from './types.js';

const MAX_CONNECTIONS = 64;
const TIMEOUT_MS = 30_000;

export interface UapiServerOptions extends UapiLimits {
  /** Is told what was refused and why, without secrets. */
  readonly log?: (message: string) => void;
  /**
   * Called once when somebody else has removed or replaced the socket. wireguard-go ends then, since nobody could
   * reach it any more.
   */
  readonly onRemoved?: () => void;
  /** Clients at a time. One more sends the oldest idle one away, or is refused when all are busy. Default 64. */
  readonly maxConnections?: number;
  /** For a request to come whole, and for a piece of an answer to be taken, in milliseconds. Default 30 seconds. */
  readonly timeoutMs?: number;
}

export class UapiServer {
  readonly #backend: UapiBackend;
  readonly #options: UapiServerOptions;
  readonly #server: Server;
  readonly #owner: UapiConnectionOwner;
  readonly #connections = new Set<UapiConnection>();
  readonly #inTurn = oneByOne();
  #file: SocketFile | undefined;
  #watcher: FSWatcher | undefined;
  #closing: Promise<void> | undefined;

  private constructor(backend: UapiBackend, options: UapiServerOptions) {
    this.#backend = backend;
    this.#options = options;
    // A client may close its half and still wait for its answer, as `nc -N` does.
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, socket =>
      this.#accept(socket),
    );
    const { status, drill } = backend;
    this.#owner = {
      get: () => this.#inTurn<UapiState>(() => this.#backend.get()),
      set: (changes: UapiChanges) => this.#inTurn<void>(() => this.#backend.set(changes)),
      status: status && (() => this.#inTurn<DeviceStatus>(() => status.call(backend))),
      drill: drill && (() => this.#inTurn<DrillAnswer>(() => drill.call(backend))),
      log: message => this.#log(message),
      closed: connection => this.#connections.delete(connection),
    };
  }

  /**
   * Listens at `path` with mode 0600, and makes its folder with 0755 if it is missing. A dead socket there is
   * replaced. Throws `ERR_UAPI_IN_USE` when somebody answers at it, `ERR_UAPI_LISTEN` when it cannot be made.
   */
  static async listen(
    path: string,
    backend: UapiBackend,
    options: UapiServerOptions = {},
  ): Promise<UapiServer> {
    const server = new UapiServer(backend, options);
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      server.#started(await listenAt(server.#server, path));
    } catch (error) {
      const code = error instanceof SocketFileError && error.isInUse ? 'ERR_UAPI_IN_USE' : 'ERR_UAPI_LISTEN';
      throw new TunnelError(code, `UAPI socket ${path}: ${(error as Error).message}`, { cause: error });
    }
    return server;
  }

  /**
   * Serves a socket that listens already, such as the one that `WG_UAPI_FD` names. With `path`, its file is watched,
   * and removed at the end. Throws `ERR_UAPI_LISTEN`.
   */
  static async adopt(
    fd: number,
    path: string | undefined,
    backend: UapiBackend,
    options: UapiServerOptions = {},
  ): Promise<UapiServer> {
    const server = new UapiServer(backend, options);
    try {
      await listen(server.#server, { fd });
    } catch (error) {
      throw new TunnelError('ERR_UAPI_LISTEN', `descriptor ${fd} is no listening socket`, { cause: error });
    }
    server.#started(path === undefined ? undefined : await SocketFile.at(path));
    return server;
  }

  /** Clients connected now. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Lets the request that is being applied finish, sends every client away and removes the socket. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #started(file: SocketFile | undefined): void {
    this.#file = file;
    // Accepting can fail later, as when descriptors run out. The socket stays.
    this.#server.on('error', error => this.#log(`UAPI: ${error.message}`));
    if (file && this.#options.onRemoved) this.#watch(file);
  }

  async #close(): Promise<void> {
    this.#watcher?.close();
    await this.#file?.remove();
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()));
    await this.#inTurn(() => undefined);
    // The answer to it leaves now.
    await new Promise(resolve => setImmediate(resolve));
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }

  #accept(socket: Socket): void {
    const max = this.#options.maxConnections ?? MAX_CONNECTIONS;
    if (this.#connections.size >= max) {
      const idle = [...this.#connections].find(connection => connection.idle);
      if (!idle || this.#closing) {
        this.#log(`UAPI: more than ${max} clients at once; one was refused`);
        socket.destroy();
        return;
      }
      this.#connections.delete(idle);
      idle.destroy();
    }
    const { timeoutMs = TIMEOUT_MS, ...limits } = this.#options;
    this.#connections.add(new UapiConnection(socket, this.#owner, { ...limits, timeoutMs }));
  }

  #watch(file: SocketFile): void {
    const name = basename(file.path);
    const lost = (error: Error) => this.#log(`UAPI: the socket is no longer watched: ${error.message}`);
    const look = () =>
      void file.isStill().then(still => {
        if (still || this.#watcher !== watcher || this.#closing) return;
        this.#watcher = undefined;
        watcher.close();
        this.#options.onRemoved?.();
      }, lost);
    const watcher = watch(dirname(file.path), { persistent: false }, (_event, changed) => {
      // Some systems do not say which file.
      if (changed === null || changed === name) look();
    });
    watcher.on('error', lost);
    this.#watcher = watcher;
    // Whoever could connect before it was watched may have removed it.
    look();
  }

  #log(message: string): void {
    this.#options.log?.(message);
  }
}
