// The peer of a demonstration, in another process: what is said to it besides datagrams. It is never cloned.
// Promises: words over a WebSocket of its own, as JSON; the datagrams go by another.
// Read on: web/server/laboratory.ts (the peer), fork-story.ts (who talks to it).

import { decodeKey, encodeKey } from '../tunnel/keys.js';

/** What a page says first. */
export interface Introduction {
  /** Public key of the machine, base64. */
  readonly machine: string;
  /** Whether the peer notices a counter that is used twice, which no other WireGuard does. */
  readonly tripwire: boolean;
}

/** What the peer says. */
export type PeerSays =
  | { readonly type: 'ready'; readonly publicKey: string; readonly path: string }
  /**
   * A packet came out of the tunnel, base64. `from`: the address of the connection that its sender is
   * believed to be at.
   */
  | { readonly type: 'packet'; readonly packet: string; readonly from: string }
  | { readonly type: 'dropped'; readonly reason: string }
  | { readonly type: 'peerCloned'; readonly counter: string };

/** Where the words go. */
export const LABORATORY_PATH = '/laboratory';

type Socket = Pick<WebSocket, 'addEventListener' | 'send' | 'close'>;
export type SocketClass = new (url: string) => WebSocket;

export interface RemotePeer {
  readonly publicKey: Uint8Array;
  /** Where its datagrams go: `ws://...`. */
  readonly url: string;
  onSays: (said: PeerSays) => void;
  close(): void;
}

/** A peer made for this machine. `origin`: `ws://host:port`. Rejects when there is none. */
export function callRemotePeer(
  origin: string,
  machine: Uint8Array,
  tripwire: boolean,
  Socket: SocketClass = globalThis.WebSocket,
): Promise<RemotePeer> {
  const socket: Socket = new Socket(`${origin}${LABORATORY_PATH}`);
  return new Promise((resolve, reject) => {
    let peer: RemotePeer | undefined;
    socket.addEventListener('open', () => {
      const introduction: Introduction = { machine: encodeKey(machine), tripwire };
      socket.send(JSON.stringify(introduction));
    });
    socket.addEventListener('close', () => reject(new Error('the peer hung up')));
    socket.addEventListener('message', ({ data }) => {
      const said = JSON.parse(String(data)) as PeerSays;
      if (said.type !== 'ready') return peer?.onSays(said);
      peer = {
        publicKey: decodeKey(said.publicKey),
        url: `${origin}${said.path}`,
        onSays: () => {},
        close: () => socket.close(),
      };
      resolve(peer);
    });
  });
}
