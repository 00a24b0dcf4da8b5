// The program on the gateway's side that has something to say to every peer: UDP packets, as fast as the kernel takes them.
// Promises: each is a packet of its own for the tunnel, whomever it goes to. Its time counts for nobody.
// Read on: crowd.ts (the other direction).

import { type Libc, requireLibc } from '../../tunnel/linux/libc.js';
import { LinuxUdpSocket } from '../../tunnel/linux/net/udp.js';
import { LinuxUdpEndpoint } from '../../tunnel/linux/net/udp-endpoint.js';
import { innerAddress, nextPeer } from './addresses.js';
import { answerOrders } from './orders.js';

const BATCH = 32;
/** The "discard" service (RFC 863). */
const PORT = 9;
/** Headers of IPv4 and UDP. */
const OVERHEAD_BYTES = 28;

/** All peers, from the first order on: the making takes its time. */
let targets: LinuxUdpEndpoint[] = [];

function send(libc: Libc, peers: number, seconds: number, packetBytes: number): void {
  const socket = LinuxUdpSocket.open(libc, { ipv6: false, offloads: false });
  if (targets.length !== peers) {
    targets = Array.from({ length: peers }, (_, i) => LinuxUdpEndpoint.of(innerAddress(i), PORT));
  }
  const payload = new Uint8Array(packetBytes - OVERHEAD_BYTES);
  const end = performance.now() + seconds * 1e3;
  let at = 0;
  while (performance.now() < end) {
    for (let i = 0; i < BATCH; i++) {
      socket.queue(payload, targets[at]);
      at = nextPeer(at, peers);
    }
    socket.flush();
  }
  socket.close();
}

const libc = requireLibc();
answerOrders(order => {
  if (order.do === 'send') send(libc, order.peers, order.seconds, order.packetBytes);
});
