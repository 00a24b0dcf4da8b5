// Traffic through an interface of the guest: UDP to the other end of a tunnel, many datagrams per system call.

import {
  AF_INET,
  IOVEC_BYTES,
  MMSGHDR_BYTES,
  MSG_DONTWAIT,
  SOCKADDR_IN_BYTES,
  SOCK_CLOEXEC_NONBLOCK,
  SOCK_DGRAM,
  checked,
  requireLibc,
} from '../../../../tunnel/linux/libc.js';
import { Load, type LoadOptions } from '../load.js';
import { PAYLOAD_BYTES, Payloads } from '../payloads.js';
import { serve } from '../serve.js';

const DISCARD_PORT = 9;
const LARGEST_BURST = 256;
const SLOT_BYTES = 128;
/** Where in a message header the pointer to its pieces lies, and their number. */
const MSG_IOV = 16;
const MSG_IOVLEN = 24;

const libc = requireLibc();
const payloads = new Payloads();
const socket = checked(libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC_NONBLOCK, 0), 'socket');

/** The memory of a burst. The headers point into it, so that all of it is held as long as the whole. */
class Burst {
  readonly packets = libc.alloc(LARGEST_BURST * SLOT_BYTES);
  readonly pieces = libc.alloc(LARGEST_BURST * IOVEC_BYTES);
  readonly messages = libc.alloc(LARGEST_BURST * MMSGHDR_BYTES);

  constructor() {
    for (let i = 0; i < LARGEST_BURST; i++) {
      this.pieces.setU64(i * IOVEC_BYTES, this.packets.address + i * SLOT_BYTES);
      this.pieces.setU64(i * IOVEC_BYTES + 8, PAYLOAD_BYTES);
      this.messages.setU64(i * MMSGHDR_BYTES + MSG_IOV, this.pieces.address + i * IOVEC_BYTES);
      this.messages.setU64(i * MMSGHDR_BYTES + MSG_IOVLEN, 1);
    }
  }

  send(count: number): void {
    for (let i = 0; i < count; i++) payloads.write(this.packets.bytes, i * SLOT_BYTES);
    // What the interface refuses is lost, as on any network.
    libc.sendmmsg(socket, this.messages.address, count, MSG_DONTWAIT);
  }
}

const burst = new Burst();
const load = new Load(count => burst.send(Math.min(count, LARGEST_BURST)));

serve({
  /** To whom. Once, before the load. */
  connect(address: string) {
    const to = libc.alloc(SOCKADDR_IN_BYTES);
    new DataView(to.bytes.buffer).setUint16(0, AF_INET, true);
    new DataView(to.bytes.buffer).setUint16(2, DISCARD_PORT);
    to.bytes.set(address.split('.').map(Number), 4);
    checked(libc.connect(socket, to.address, SOCKADDR_IN_BYTES), 'connect');
  },
  load: (options: LoadOptions) => load.set(options),
  written: () => payloads.written,
});
