// Pings through an interface of the guest: ICMPv6 echo requests from whatever address the interface has at that moment.
// What each of them carries is this clone's own, so that an echo tells which clone it has come back to, and of what.

import {
  AF_INET6,
  IOVEC_BYTES,
  MMSGHDR_BYTES,
  MSG_DONTWAIT,
  SOCKADDR_IN6_BYTES,
  SOCK_CLOEXEC_NONBLOCK,
  SOCK_RAW,
  checked,
  requireLibc,
} from '../../../../tunnel/linux/libc.js';
import { parseIp } from '../../../../tunnel/ip.js';
import { Load, type LoadOptions } from '../load.js';
import { PAYLOAD_BYTES, Payloads } from '../payloads.js';
import { serve } from '../serve.js';

const IPPROTO_ICMPV6 = 58;
const ECHO_REQUEST = 128;
const ECHO_REPLY = 129;
const HEADER_BYTES = 8;
/** Where in a message header the pointers to its address and to its pieces lie, and the lengths of both. */
const MSG_NAMELEN = 8;
const MSG_IOV = 16;
const MSG_IOVLEN = 24;
const LOOK_MS = 20;

const libc = requireLibc();
const payloads = new Payloads();
// Not connected: that would bind it to the address of the day.
const socket = checked(libc.socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC_NONBLOCK, IPPROTO_ICMPV6), 'socket');
const heard = libc.alloc(2_048);
let last = '';

/** One ping. The header points into the memory of the whole, so that all of it is held as long. */
class Ping {
  readonly to = libc.alloc(SOCKADDR_IN6_BYTES);
  readonly packet = libc.alloc(HEADER_BYTES + PAYLOAD_BYTES);
  readonly piece = libc.alloc(IOVEC_BYTES);
  readonly message = libc.alloc(MMSGHDR_BYTES);

  constructor() {
    this.packet.bytes[0] = ECHO_REQUEST;
    this.piece.setU64(0, this.packet.address);
    this.piece.setU64(8, HEADER_BYTES + PAYLOAD_BYTES);
    this.message.setU64(0, this.to.address);
    this.message.view.setUint32(MSG_NAMELEN, SOCKADDR_IN6_BYTES, true);
    this.message.setU64(MSG_IOV, this.piece.address);
    this.message.setU64(MSG_IOVLEN, 1);
  }

  address(ip: Uint8Array): void {
    this.to.view.setUint16(0, AF_INET6, true);
    this.to.bytes.set(ip, 8);
  }

  /** The kernel sees to the checksum. */
  send(): void {
    payloads.write(this.packet.bytes, HEADER_BYTES);
    libc.sendmmsg(socket, this.message.address, 1, MSG_DONTWAIT);
  }
}

const ping = new Ping();
const load = new Load(() => ping.send());
setInterval(() => {
  for (let length = 1; length > 0; ) {
    length = libc.read(socket, heard.address, heard.bytes.length);
    if (length < HEADER_BYTES || heard.bytes[0] !== ECHO_REPLY) continue;
    last = new TextDecoder().decode(heard.bytes.subarray(HEADER_BYTES, length));
  }
}, LOOK_MS);

serve({
  connect(address: string) {
    const parsed = parseIp(address);
    if (!parsed) throw new Error(`no address: ${address}`);
    ping.address(parsed.ip);
  },
  load: (options: LoadOptions) => load.set(options),
  /** What the last echo that came back carried. */
  echoed: () => last,
});
