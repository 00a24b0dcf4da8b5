// A sender that does wrong, for the controls: what it does to the records of one size at the start of a buffer.

import { HEADER_BYTES } from './record.mjs';

export const HARMS = {
  twice: (bytes, length) => bytes.copyWithin(length, 0, length),
  late: (bytes, length) => {
    const first = Buffer.from(bytes.subarray(0, length));
    bytes.copyWithin(0, length, 2 * length);
    first.copy(bytes, length);
  },
  corrupt: bytes => (bytes[HEADER_BYTES] ^= 1),
};
