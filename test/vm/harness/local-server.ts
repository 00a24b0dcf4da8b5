// A Unix socket that one program will call, once.

import { type Server, type Socket, createServer } from 'node:net';

export class LocalServer {
  readonly path: string;
  /** The caller, when it has come. */
  readonly caller: Promise<Socket>;
  readonly #server: Server;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
    this.caller = new Promise(resolve => {
      server.once('connection', socket => {
        // A caller that dies is seen by its exit; its socket has nothing to add.
        socket.on('error', () => {});
        resolve(socket);
      });
    });
  }

  static async listen(path: string): Promise<LocalServer> {
    const server = createServer();
    const opened = new LocalServer(path, server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    return opened;
  }

  close(): void {
    this.#server.close();
    void this.caller.then(socket => socket.destroy());
  }
}
