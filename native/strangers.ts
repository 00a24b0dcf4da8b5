// Connections to what every user of this machine can reach, as long as they have not shown that they may stay.
// Promises: there are few at a time, and whoever comes gets in: the oldest gives way. Who is kept never does.

import type { Server } from 'node:net';
import type { Duplex } from 'node:stream';

export class Strangers<T extends Duplex> {
  /** In the order of their arrival. */
  readonly #connections = new Set<T>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  /** A newcomer. Returns who had to give way, and is destroyed. */
  arrived(connection: T): T | undefined {
    let oldest: T | undefined;
    if (this.#connections.size >= this.#most) {
      [oldest] = this.#connections;
      this.#connections.delete(oldest);
      oldest.destroy();
    }
    this.#connections.add(connection);
    connection.once('close', () => this.#connections.delete(connection));
    return oldest;
  }

  /** This one does not give way any more. */
  keep(connection: T): void {
    this.#connections.delete(connection);
  }

  /** Gives back the descriptors of all that have shown nothing. */
  clear(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}

/** Of a server that does not listen yet. Returns what to call with a connection that is to stay. */
export function boundConnections(server: Server, most: number): (proven: Duplex) => void {
  const strangers = new Strangers<Duplex>(most);
  server.on('connection', socket => strangers.arrived(socket));
  return proven => strangers.keep(proven);
}
