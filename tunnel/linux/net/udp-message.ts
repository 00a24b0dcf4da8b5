// The layout of one message of recvmmsg and sendmmsg, in words: struct mmsghdr, its address and its control messages.
// Read on: man 2 recvmmsg, man 3 cmsg, man 7 ip (IP_PKTINFO), man 7 udp (UDP_SEGMENT, UDP_GRO), RFC 3542 section 6.

import { CMSGHDR_BYTES, MMSGHDR_BYTES } from '../libc.js';

export const WORD = 4;

/** struct mmsghdr. */
export const MESSAGE_WORDS = MMSGHDR_BYTES / WORD;
/** Within a mmsghdr, in words. A pointer takes two. */
export const NAME_POINTER = 0;
export const NAME_LENGTH = 2;
export const IOVECS_POINTER = 4;
export const IOVECS_COUNT = 6;
export const CONTROL_POINTER = 8;
export const CONTROL_LENGTH = 10;
export const FLAGS = 12;
export const RECEIVED = 14;

/** Room for an address, in bytes. */
export const NAME_BYTES = 32;

/** Within a control message, in words: its length is 64 bits, of which 32 are enough. */
export const CMSG_LEVEL = 2;
export const CMSG_TYPE = 3;
export const CMSG_DATA = CMSGHDR_BYTES / WORD;
export const CMSG_ALIGN = 8;
/** struct in_pktinfo: interface, our address, the header's address. */
export const IN_PKTINFO_BYTES = 12;
/** struct in6_pktinfo: our address, interface. */
export const IN6_PKTINFO_BYTES = 20;
/** The size of a segment: 16 bits when sent, an `int` when received. */
export const SEGMENT_SENT_BYTES = 2;
export const SEGMENT_RECEIVED_BYTES = 4;

/** Bytes that a control message with so much data takes up. */
export function controlBytes(dataBytes: number): number {
  return Math.ceil((CMSGHDR_BYTES + dataBytes) / CMSG_ALIGN) * CMSG_ALIGN;
}
