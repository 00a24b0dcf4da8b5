// Sends the full load, as fast as it gets through, until it is ended.
// Argument: the flows, as JSON (../load.ts).
// A stream: bytes as TCP takes them. Datagrams: of mixed sizes, runs of one size among them. Segments: many of one size
// handed over at once, which the system or the tunnel splits.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { HARMS } from './harm.mjs';
import { HEADER_BYTES, STREAM_RECORD_BYTES, writeRecord } from './record.mjs';
import { segment } from './udp-option.mjs';

const STREAM_RECORDS_AT_ONCE = 32;
const DATAGRAMS_AT_ONCE = 16;
/** The longest that an MTU of 1,420 leaves to UDP over IPv6. */
const MAX_DATAGRAM_BYTES = 1_372;
/** Each turn takes the next: so many of such a size, the last of them shorter. */
const SEGMENTS = [
  { count: 40, bytes: MAX_DATAGRAM_BYTES },
  { count: 64, bytes: 400 },
  { count: 7, bytes: 1_200 },
  { count: 30, bytes: 93 },
];
/**
 * Datagrams of a flow under way. Without a bound they would fill the queue of the TUN device, which throws away what
 * does not fit, and leave nothing to TCP.
 */
const WINDOW = { datagrams: 64, segments: 128 };
/** What was not acknowledged by then is lost. */
const LOST_AFTER_MS = 50;

/** A UDP socket of a flow that knows how much of it is under way. */
class Sender {
  number = 0;
  socket;
  #window;
  #acknowledged = 0;
  #heard = () => undefined;

  static async to({ kind, address, port }) {
    const sender = new Sender();
    sender.#window = WINDOW[kind];
    sender.socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    sender.socket.on('message', bytes => {
      sender.#acknowledged = Math.max(sender.#acknowledged, bytes.readUIntLE(0, 6));
      sender.#heard();
    });
    sender.socket.connect(port, address);
    await once(sender.socket, 'connect');
    return sender;
  }

  /** Resolves when there is room for more, in another turn of the event loop. */
  async room() {
    await new Promise(resolve => setImmediate(resolve));
    while (this.number - this.#acknowledged > this.#window) {
      await new Promise(resolve => {
        const timer = setTimeout(() => {
          this.#acknowledged = this.number;
          resolve();
        }, LOST_AFTER_MS);
        this.#heard = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  send(bytes) {
    return new Promise((resolve, reject) => {
      this.socket.send(bytes, error => (error ? reject(error) : resolve()));
    });
  }
}

async function sendStream({ flow, address, port, harm }) {
  const socket = connect({ host: address, port, noDelay: true });
  await once(socket, 'connect');
  const bytes = Buffer.alloc(STREAM_RECORDS_AT_ONCE * STREAM_RECORD_BYTES);
  for (let number = 0; ; ) {
    for (let at = 0; at < bytes.length; at += STREAM_RECORD_BYTES) {
      writeRecord(bytes, at, STREAM_RECORD_BYTES, flow, number++);
    }
    if (harm) HARMS[harm](bytes, STREAM_RECORD_BYTES);
    await new Promise((resolve, reject) => socket.write(bytes, error => (error ? reject(error) : resolve())));
  }
}

async function sendDatagrams(target) {
  const sender = await Sender.to(target);
  const buffers = Array.from({ length: DATAGRAMS_AT_ONCE }, () => Buffer.alloc(MAX_DATAGRAM_BYTES));
  for (let turn = 0; ; turn++) {
    await sender.room();
    // Every other turn all are of one size; the sizes go through all that there are.
    const step = (turn % 2) * 389;
    const sent = buffers.map((buffer, i) => {
      const length = HEADER_BYTES + ((turn + i * step) % (MAX_DATAGRAM_BYTES - HEADER_BYTES + 1));
      writeRecord(buffer, 0, length, target.flow, sender.number++);
      return sender.send(buffer.subarray(0, length));
    });
    await Promise.all(sent);
  }
}

async function sendSegments(target) {
  const sender = await Sender.to(target);
  const buffer = Buffer.alloc(65_536);
  for (let turn = 0; ; turn++) {
    await sender.room();
    const { count, bytes } = SEGMENTS[turn % SEGMENTS.length];
    const rest = HEADER_BYTES + (turn % (bytes - HEADER_BYTES + 1));
    let end = 0;
    for (let left = count; left > 0; left--) {
      const length = left > 1 ? bytes : rest;
      writeRecord(buffer, end, length, target.flow, sender.number++);
      end += length;
    }
    if (target.harm) HARMS[target.harm](buffer, bytes);
    segment(sender.socket, bytes);
    await sender.send(buffer.subarray(0, end));
  }
}

const SENDERS = { stream: sendStream, datagrams: sendDatagrams, segments: sendSegments };
await Promise.all(JSON.parse(process.argv[2]).map(flow => SENDERS[flow.kind](flow)));
