// Traffic through an interface of the guest, to the other end of a tunnel: UDP, many datagrams per system call, or joined
// ones, which an interface with offloads gets as one piece; and bulk TCP.

import {
  AF_INET,
  IOVEC_BYTES,
  IPPROTO_UDP,
  MMSGHDR_BYTES,
  MSG_DONTWAIT,
  SOCKADDR_IN_BYTES,
  SOCK_CLOEXEC_NONBLOCK,
  SOCK_DGRAM,
  UDP_SEGMENT,
  checked,
  requireLibc,
} from '../../../../tunnel/linux/libc.js';
import { Load, type LoadOptions } from '../load.js';
import { PAYLOAD_BYTES, Payloads } from '../payloads.js';
import { serve } from '../serve.js';
import { TcpFlow } from '../tcp-flow.js';

const DISCARD_PORT = 9;
const LARGEST_BURST = 256;
const SLOT_BYTES = 128;
/** Datagrams that are joined: as many as any kernel splits (UDP_MAX_SEGMENTS). */
const JOINED = 64;
/** Where in a message header the pointer to its pieces lies, and their number. */
const MSG_IOV = 16;
const MSG_IOVLEN = 24;

const libc = requireLibc();
const payloads = new Payloads();
const socket = openSocket();
/** Whatever is longer than a payload is split into datagrams of that size. */
const splitting = openSocket();
checked(libc.setsockopt(splitting, IPPROTO_UDP, UDP_SEGMENT, PAYLOAD_BYTES), 'setsockopt UDP_SEGMENT');

function openSocket(): number {
  return checked(libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC_NONBLOCK, 0), 'socket');
}

/**
 * The memory of a burst: a message for every datagram, or for so many that are joined. The headers point into it, so that
 * all of it is held as long as the whole.
 */
class Burst {
  readonly joined: boolean;
  readonly packets = libc.alloc(LARGEST_BURST * SLOT_BYTES);
  readonly pieces = libc.alloc(LARGEST_BURST * IOVEC_BYTES);
  readonly messages = libc.alloc(LARGEST_BURST * MMSGHDR_BYTES);

  constructor(joined: boolean) {
    this.joined = joined;
    const perMessage = joined ? JOINED : 1;
    for (let i = 0; i < LARGEST_BURST; i++) {
      this.pieces.setU64(i * IOVEC_BYTES, this.packets.address + i * SLOT_BYTES);
      this.pieces.setU64(i * IOVEC_BYTES + 8, PAYLOAD_BYTES);
      if (i * perMessage >= LARGEST_BURST) continue;
      this.messages.setU64(i * MMSGHDR_BYTES + MSG_IOV, this.pieces.address + i * perMessage * IOVEC_BYTES);
      this.messages.setU64(i * MMSGHDR_BYTES + MSG_IOVLEN, perMessage);
    }
  }

  send(count: number): void {
    const messages = this.joined ? Math.ceil(count / JOINED) : count;
    const datagrams = this.joined ? messages * JOINED : count;
    for (let i = 0; i < datagrams; i++) {
      if (this.joined && i % JOINED > 0) payloads.writeNext(this.packets.bytes, i * SLOT_BYTES);
      else payloads.write(this.packets.bytes, i * SLOT_BYTES);
    }
    // What the interface refuses is lost, as on any network.
    libc.sendmmsg(this.joined ? splitting : socket, this.messages.address, messages, MSG_DONTWAIT);
  }
}

const single = new Burst(false);
const joined = new Burst(true);
const tcp = new TcpFlow(payloads);
let peer = '';
const load = new Load((count, isJoined) => (isJoined ? joined : single).send(Math.min(count, LARGEST_BURST)));

serve({
  /** To whom. Once, before the load. */
  connect(address: string) {
    peer = address;
    const to = libc.alloc(SOCKADDR_IN_BYTES);
    new DataView(to.bytes.buffer).setUint16(0, AF_INET, true);
    new DataView(to.bytes.buffer).setUint16(2, DISCARD_PORT);
    to.bytes.set(address.split('.').map(Number), 4);
    for (const fd of [socket, splitting]) checked(libc.connect(fd, to.address, SOCKADDR_IN_BYTES), 'connect');
  },
  load(options: LoadOptions) {
    if (options.tcp) tcp.start(peer);
    else tcp.stop();
    load.set(options.tcp ? { burst: 0, pauseMs: 0 } : options);
  },
  written: () => payloads.written,
});
