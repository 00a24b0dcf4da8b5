// A connection that was accepted, read into memory of our own: requests carry keys, and Node frees the memory that it
// reads into by itself with whatever was in it.
// Promises: each piece is erased when its listener returns; all else is a socket as any other.
// Read on: node:net `new Socket` (`onread`), which is for connections that one makes; connection.ts.

import { Socket } from 'node:net';
import { secretBytes } from '../../../native/secret-bytes.js';

/** One for all: nothing stays in it from one reading to the next. */
const buffer = secretBytes(64 * 1024);

/** Node documents `onread` for sockets of every kind, but gives a server no way to ask for it: the handle has to move. */
interface Movable {
  _handle: unknown;
}

// oxlint-disable no-underscore-dangle -- Node calls it so.

/** `accepted`: by a server with `pauseOnConnect`, and not used since. It ends when the returned one does. */
export function readIntoOwnMemory(accepted: Socket, onBytes: (bytes: Uint8Array) => void): Socket {
  const moved = accepted as unknown as Movable;
  const { allowHalfOpen } = accepted;
  const onread = {
    buffer,
    callback: (length: number): boolean => {
      const bytes = buffer.subarray(0, length);
      try {
        onBytes(bytes);
      } finally {
        bytes.fill(0);
      }
      return true;
    },
  };
  const options = { handle: moved._handle, readable: true, writable: true, allowHalfOpen, onread };
  moved._handle = null;
  const socket = new Socket(options);
  // The server counts the other one.
  socket.once('close', () => accepted.destroy());
  return socket.resume();
}
