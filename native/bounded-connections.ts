// Connections of a server that every user of this machine can reach.
// Promises: there are few at a time, and whoever comes gets in: the oldest gives way, unless it has shown
// that it may stay.

import type { Server } from 'node:net';
import type { Duplex } from 'node:stream';

/** Call before it listens. Returns what to call with a connection that is to stay. */
export function boundConnections(server: Server, most: number): (proven: Duplex) => void {
  const strangers = new Set<Duplex>();
  server.on('connection', socket => {
    if (strangers.size >= most) {
      const [oldest] = strangers;
      strangers.delete(oldest);
      oldest.destroy();
    }
    strangers.add(socket);
    socket.once('close', () => strangers.delete(socket));
  });
  return proven => void strangers.delete(proven);
}
