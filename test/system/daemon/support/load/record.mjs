// What the full load is made of: records that say who they are, and whose every byte can be checked.
// A record: its length (2 bytes), its flow (2), its number in the flow (6), all little-endian, then bytes out of a table
// of pseudo-random ones, from a place that goes on with the number. Checking is one comparison of memory.

export const HEADER_BYTES = 10;
/** Of a record in a stream: so that a record does not end where a segment does. */
export const STREAM_RECORD_BYTES = 4_096;
/** From so many places of the table: a prime, so that no swap of a power of two goes unseen. */
const PLACES = 4_093;
const MAX_RECORD_BYTES = 16_384;
const TABLE = pseudoRandomBytes(PLACES + MAX_RECORD_BYTES);

/** Writes a record of `length` bytes to `into`, from `at` on. */
export function writeRecord(into, at, length, flow, number) {
  into.writeUInt16LE(length, at);
  into.writeUInt16LE(flow, at + 2);
  into.writeUIntLE(number, at + 4, 6);
  const place = number % PLACES;
  TABLE.copy(into, at + HEADER_BYTES, place, place + length - HEADER_BYTES);
}

/** The length and the number of the record of `flow` at `at`, or undefined where there is none that is whole. */
export function readRecord(bytes, at, flow) {
  if (bytes.length - at < HEADER_BYTES || bytes.readUInt16LE(at + 2) !== flow) return undefined;
  const length = bytes.readUInt16LE(at);
  const number = bytes.readUIntLE(at + 4, 6);
  const place = number % PLACES;
  const whole = length >= HEADER_BYTES && length <= MAX_RECORD_BYTES && at + length <= bytes.length;
  const body = [place, place + length - HEADER_BYTES, at + HEADER_BYTES, at + length];
  return whole && TABLE.compare(bytes, body[2], body[3], body[0], body[1]) === 0 ? { length, number } : undefined;
}

/** The same at every start: sender and receiver each make it. */
function pseudoRandomBytes(length) {
  const bytes = Buffer.alloc(length);
  let state = 0x2545f491;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}
