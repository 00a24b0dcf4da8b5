// The two options of Linux that let a UDP socket carry many datagrams at once, which Node has no name for.
// Read on: udp(7); the program that uses it runs with --no-deprecation, as Node shows a descriptor to nobody else.

import koffi from 'koffi';

const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;

const setsockopt = koffi.load(null).func('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint']);

function set(socket, option, value) {
  // oxlint-disable-next-line no-underscore-dangle
  const { fd } = socket._handle;
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  if (setsockopt(fd, SOL_UDP, option, bytes, bytes.length) !== 0) {
    throw new Error(`setsockopt ${option}: errno ${koffi.errno()}`);
  }
}

/** From now on what is sent at once leaves as datagrams of `bytes` each, and a rest. */
export const segment = (socket, bytes) => set(socket, UDP_SEGMENT, bytes);

/** From now on datagrams of one size may be delivered joined. */
export const join = socket => set(socket, UDP_GRO, 1);
