// The relay of examples/websocket-relay.ts: what it opens for a connection it closes, whatever becomes of that.

import { once } from 'node:events';
import { UdpTransport } from 'wireonce/tunnel';
import { WebSocket } from 'ws';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Relay, relay } from '../../examples/websocket-relay.js';

let carried: Relay;
const unhandled = vi.fn();
beforeEach(async () => {
  process.on('unhandledRejection', unhandled);
  carried = await relay('127.0.0.1:9');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await carried.close();
  process.off('unhandledRejection', unhandled);
  expect(unhandled).not.toHaveBeenCalled();
});

async function speak(): Promise<WebSocket> {
  const socket = new WebSocket(carried.url);
  await once(socket, 'open');
  socket.send(new Uint8Array(32));
  return socket;
}

it('closes a socket that could not send, and opens another for what comes next', async () => {
  const close = vi.spyOn(UdpTransport.prototype, 'close');
  const open = vi.spyOn(UdpTransport, 'open');
  vi.spyOn(UdpTransport.prototype, 'send').mockImplementation(() => {
    throw new Error('it cannot be sent');
  });
  const socket = await speak();
  await vi.waitFor(() => expect(close).toHaveBeenCalledTimes(1), 30_000);
  socket.send(new Uint8Array(32));
  await vi.waitFor(() => expect(close).toHaveBeenCalledTimes(2), 30_000);
  expect(open).toHaveBeenCalledTimes(2);
  socket.close();
});

it.each(['client', 'relay'] as const)('has nothing to close where none opened and the %s goes', async who => {
  let fail: (reason: Error) => void = () => {};
  const open = vi.spyOn(UdpTransport, 'open').mockReturnValue(new Promise((_, reject) => (fail = reject)));
  const socket = await speak();
  await vi.waitFor(() => expect(open).toHaveBeenCalled(), 30_000);
  const gone = once(socket, 'close');
  if (who === 'client') socket.close();
  const closing = who === 'relay' ? carried.close() : undefined;
  await gone;
  fail(new Error('no port is left'));
  await closing;
  // Node tells of a rejection that nobody took when the turn is over.
  await new Promise(setImmediate);
});
