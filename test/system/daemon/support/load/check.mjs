// What a receiver finds out about a flow of records: is each byte as it was sent, and each record where it belongs?
// Promises: whatever came twice, late or changed is counted; what did not come is counted as lost, until it comes late.
// Read on: record.mjs.

import { readRecord, STREAM_RECORD_BYTES, writeRecord } from './record.mjs';

/** A record that comes later than so many after it counts as late, even if it has come before. */
const REMEMBERED = 65_536;

/** Of a flow of datagrams. */
export class DatagramCheck {
  counts = { bytes: 0, records: 0, lost: 0, twice: 0, late: 0, corrupt: 0 };
  /** The number after the highest that has come. */
  next = 0;
  #flow;
  /** At the place of each number: the number that has come last, and 1. */
  #come = new Float64Array(REMEMBERED);

  constructor(flow) {
    this.#flow = flow;
  }

  /** Takes what the system delivered at once: one datagram, or several that were joined. */
  take(bytes) {
    const { counts } = this;
    for (let at = 0; at < bytes.length; ) {
      const record = readRecord(bytes, at, this.#flow);
      if (!record) {
        counts.corrupt++;
        return;
      }
      this.#arrived(record.number);
      counts.bytes += record.length;
      counts.records++;
      at += record.length;
    }
  }

  #arrived(number) {
    const { counts } = this;
    const place = number % REMEMBERED;
    if (number >= this.next) {
      counts.lost += number - this.next;
      this.next = number + 1;
    } else if (this.#come[place] === number + 1) {
      counts.twice++;
      return;
    } else {
      counts.late++;
      counts.lost--;
      if (this.next - number > REMEMBERED) return;
    }
    this.#come[place] = number + 1;
  }
}

/** Of a stream: nothing may be missing, and all must be in order. */
export class StreamCheck {
  counts = { bytes: 0, records: 0, lost: 0, twice: 0, late: 0, corrupt: 0 };
  #flow;
  #at = 0;
  #expected = Buffer.alloc(STREAM_RECORD_BYTES);

  constructor(flow) {
    this.#flow = flow;
    this.#expect();
  }

  /** Takes what the system delivered at once. What is not as expected is corrupt: TCP knows no other fault. */
  take(bytes) {
    const { counts } = this;
    counts.bytes += bytes.length;
    for (let from = 0; from < bytes.length; ) {
      const length = Math.min(bytes.length - from, STREAM_RECORD_BYTES - this.#at);
      if (this.#expected.compare(bytes, from, from + length, this.#at, this.#at + length) !== 0) counts.corrupt++;
      from += length;
      this.#at += length;
      if (this.#at < STREAM_RECORD_BYTES) continue;
      counts.records++;
      this.#at = 0;
      this.#expect();
    }
  }

  #expect() {
    writeRecord(this.#expected, 0, STREAM_RECORD_BYTES, this.#flow, this.counts.records);
  }
}
