// The virtio-net header in front of each packet that passes a TUN device with offloads.
// Promises: reading and writing allocate nothing.
// Read on: Linux include/uapi/linux/virtio_net.h, include/linux/virtio_net.h; VIRTIO 1.2 section 5.1.6.

export const VNET_HEADER_BYTES = 10;

/** The checksum at `checksumStart + checksumOffset` is that of the pseudo-header; the rest is still to be summed. */
export const VNET_NEEDS_CHECKSUM = 1;
export const VNET_GSO_NONE = 0;
export const VNET_GSO_TCPV4 = 1;
export const VNET_GSO_TCPV6 = 4;
/** UDP datagrams of one size; the header serves both families. */
export const VNET_GSO_UDP = 5;
/** Together with a TCP type: the first segment, and no other, has CWR set. */
export const VNET_GSO_ECN = 0x80;

export class VnetHeader {
  flags = 0;
  gsoType = VNET_GSO_NONE;
  /** Of all headers, in bytes. What the kernel writes here may be more. */
  headerLength = 0;
  /** Payload bytes of every segment but the last, which may have fewer. */
  gsoSize = 0;
  /** Where the transport header begins in the packet. */
  checksumStart = 0;
  /** Where the checksum lies in the transport header. */
  checksumOffset = 0;

  read(bytes: Uint8Array, at: number): void {
    this.flags = bytes[at];
    this.gsoType = bytes[at + 1];
    this.headerLength = u16(bytes, at + 2);
    this.gsoSize = u16(bytes, at + 4);
    this.checksumStart = u16(bytes, at + 6);
    this.checksumOffset = u16(bytes, at + 8);
  }

  write(bytes: Uint8Array, at: number): void {
    bytes[at] = this.flags;
    bytes[at + 1] = this.gsoType;
    putU16(bytes, at + 2, this.headerLength);
    putU16(bytes, at + 4, this.gsoSize);
    putU16(bytes, at + 6, this.checksumStart);
    putU16(bytes, at + 8, this.checksumOffset);
  }
}

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}
