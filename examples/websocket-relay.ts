// A relay between WebSockets and UDP: a page reaches any WireGuard through it, which need not know what a WebSocket is.
// What to see: it has no key, and cannot read or change what it carries; to the peer each connection is an endpoint of its
// own. It authenticates nobody, so the listener grants what it grants to strangers: enough for a page.
// Run: npm run build && node dist/examples/websocket-relay.js 127.0.0.1:51820 8080

import { realpathSync } from 'node:fs';
import { UdpEndpoint, UdpTransport, WebSocketListener } from 'wireonce/tunnel';

export interface Relay {
  /** What a page dials. */
  readonly url: string;
  close(): Promise<void>;
}

/** Carries what comes by WebSocket to `address`, such as 192.0.2.1:51820, and back what that answers. `port`: 0 for a free one. */
export async function relay(address: string, port = 0): Promise<Relay> {
  const peer = UdpEndpoint.parse(address);
  const listener = await WebSocketListener.listen({ host: '127.0.0.1', port });
  const sockets = new Map<object, Promise<UdpTransport>>();
  listener.onDatagram = (datagram, from) => {
    const known = sockets.get(from);
    const socket =
      known ??
      UdpTransport.open().then(udp => {
        udp.onDatagram = (answer, source) => source.equals(peer) && listener.send(answer, from);
        return udp;
      });
    if (!known) sockets.set(from, socket);
    const copy = new Uint8Array(datagram);
    socket.then(udp => udp.send(copy, peer)).catch(() => forget(from));
  };
  const forget = async (from: object) => {
    const socket = sockets.get(from);
    sockets.delete(from);
    // If it did not open, there is none to close.
    await socket?.then(
      udp => udp.close(),
      () => {},
    );
  };
  listener.onGone = from => void forget(from);
  return {
    url: `ws://127.0.0.1:${listener.port}/`,
    close: async () => {
      await listener.close();
      await Promise.all(Array.from(sockets.keys(), forget));
    },
  };
}

if (import.meta.filename === realpathSync(process.argv[1] ?? '.')) {
  const [peer = '127.0.0.1:51820', port = '8080'] = process.argv.slice(2);
  const { url } = await relay(peer, Number(port));
  console.log(`${url} leads to ${peer}`);
}
