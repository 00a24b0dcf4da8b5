// Does anything listen on a UDP port? A socket that is not connected never hears of an ICMP port unreachable, and a
// tunnel's socket is not; so a silent handshake is looked into with one of its own.
// Promises: the one byte that is sent is no WireGuard message, and every WireGuard drops it unseen.

import dgram from 'node:dgram';
import type { UdpEndpoint } from '../tunnel/endpoint.js';

/** Enough for a second datagram: on some systems the first one's error shows only at the next call. */
const AGAIN_MS = 100;

export interface PortProbe {
  /** The system said that nothing listens there. False: it listens, is filtered, or the answer is not here yet. */
  readonly refused: boolean;
  /** May be called twice. */
  close(): void;
}

/** Begins to ask. `onRefused` is called at most once. Never throws. */
export function probePort({ address, port, ip }: UdpEndpoint, onRefused: () => void): PortProbe {
  const socket = dgram.createSocket(ip.length === 4 ? 'udp4' : 'udp6');
  let refused = false;
  let closed = false;
  let again: NodeJS.Timeout | undefined;
  const close = () => {
    clearTimeout(again);
    if (!closed) socket.close();
    closed = true;
  };
  const failed = (error: NodeJS.ErrnoException | null) => {
    if (!error || closed) return;
    refused = error.code === 'ECONNREFUSED';
    close();
    if (refused) onRefused();
  };
  const send = () => {
    if (!closed) socket.send(Uint8Array.of(0), failed);
  };
  socket.on('error', failed);
  socket.connect(port, address, (error?: Error) => {
    if (error) return failed(error);
    send();
    again = setTimeout(send, AGAIN_MS);
  });
  return {
    get refused() {
      return refused;
    },
    close,
  };
}
