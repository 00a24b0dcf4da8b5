// Sealing and opening data: our transport, from the packet to the sink, against the suite alone in batches as large.
// Promises: ours is all that a device does, two readings of the generation included; the peer is the cipher and nothing.
// Read on: sessions/send.ts, sessions/receive.ts.

import { openerOf, sealerOf } from '../../protocol/batches.js';
import { TRANSPORT_OVERHEAD_BYTES } from '../../protocol/constants.js';
import { TRANSPORT } from '../../protocol/messages.js';
import { type Suite, TAG_BYTES } from '../../protocol/suite.js';
import { Pair, inBatches, innerPacket } from '../machine.js';
import { type Candidate, type Effort, measure } from '../measure.js';
import { type Row, ratioRow } from '../row.js';

/** Bytes of inner packets: a small one, one that fills a common MTU, a large one. */
const SIZES = [64, 1420, 8192];
const GOAL_SIZE = 1420;
/** One by one, as from an application; and as from one read of a TUN device with offloads. */
const BATCHES = [1, 45];
/** Our whole overhead, both checks of the generation included. */
const GOAL_RATIO = 1.15;
/** Sealed datagrams that one round of opening consumes. */
const SLOTS = 6 * 45;

export async function transportSection(suite: Suite, effort: Effort, hasGoal: boolean): Promise<Row[]> {
  const rows: Row[] = [];
  for (const size of SIZES) {
    const pair = new Pair(suite, { mtu: Math.max(...SIZES) });
    pair.handshake();
    const goal = hasGoal && size === GOAL_SIZE ? GOAL_RATIO : undefined;
    const row = (what: string, batch: number, ours: number[], theirs: number[]) => {
      const how = batch === 1 ? 'one by one' : `batches of ${batch}`;
      const subject = { section: 'transport', name: `${what} ${size} B, ${how}`, suite: suite.name };
      return ratioRow(subject, ours, { name: 'the cipher in such batches', samples: theirs }, goal);
    };
    const ways = [
      { what: 'send', raw: rawSealing, whole: sending },
      { what: 'receive', raw: rawOpening, whole: receiving },
    ];
    for (const { what, raw, whole } of ways) {
      const candidates = BATCHES.flatMap(batch => [raw(suite, size, batch), whole(pair, size, batch)]);
      const samples = measure(candidates, effort);
      for (const [i, batch] of BATCHES.entries())
        rows.push(row(what, batch, samples[2 * i + 1], samples[2 * i]));
    }
    await pair.close();
  }
  return rows;
}

function sending(pair: Pair, size: number, batch: number): Candidate {
  const packet = innerPacket(size);
  const { device } = pair.left;
  let sent = 0;
  return {
    run(times) {
      pair.divert = datagram => {
        sent += datagram.length;
      };
      const before = sent;
      inBatches(device, batch, times, () => device.sendPacket(packet));
      pair.divert = undefined;
      if (sent - before < times * size) throw new Error('packets were not sent');
    },
  };
}

function rawSealing(suite: Suite, size: number, batch: number): Candidate {
  const key = newKey();
  const buffers = Array.from(
    { length: batch },
    () => new Uint8Array(padded(size) + TRANSPORT_OVERHEAD_BYTES),
  );
  const sealer = sealerOf(suite);
  return {
    run(times) {
      for (let i = 0; i < times; ) {
        for (const buffer of buffers) sealer.seal(key, i++, 0, buffer, TRANSPORT.packet, padded(size));
        sealer.settle();
      }
    },
    step: batch,
  };
}

// Opening works in place and each counter opens once: datagrams are sealed beforehand and come, on both sides, by a
// copy, as from a socket.
export function receiving(pair: Pair, size: number, batch: number): Candidate {
  const packet = innerPacket(size);
  const slots = slotsOf(size);
  const buffers = Array.from({ length: batch }, () => new Uint8Array(slots[0].length));
  const { device } = pair.right;
  return {
    maxTimes: SLOTS,
    prepare(times) {
      let slot = 0;
      pair.divert = datagram => slots[slot++].set(datagram);
      for (let i = 0; i < times; i++) pair.left.device.sendPacket(packet);
      pair.divert = undefined;
    },
    run(times) {
      const before = pair.delivered;
      inBatches(device, batch, times, i => {
        const buffer = buffers[i % batch];
        buffer.set(slots[i]);
        device.gatherDatagram(buffer, pair.leftAt);
      });
      if (pair.delivered - before !== times) throw new Error('packets were not delivered');
    },
  };
}

function rawOpening(suite: Suite, size: number, batch: number): Candidate {
  const key = newKey();
  const slots = slotsOf(size);
  for (const [i, slot] of slots.entries()) suite.seal(key, i, 0, slot, TRANSPORT.packet, padded(size));
  const buffers = Array.from({ length: batch }, () => new Uint8Array(slots[0].length));
  const opener = openerOf(suite);
  return {
    maxTimes: SLOTS,
    run(times) {
      for (let i = 0; i < times; ) {
        const end = Math.min(i + batch, times);
        for (let k = i; k < end; k++) {
          const buffer = buffers[k % batch];
          buffer.set(slots[k]);
          opener.open(key, k, 0, buffer, TRANSPORT.packet, padded(size) + TAG_BYTES);
        }
        opener.settle();
        for (let k = 0; i < end; i++, k++) {
          if (!opener.isOpened(k)) throw new Error('a datagram did not open');
        }
      }
    },
  };
}

const newKey = () => new Uint8Array(new SharedArrayBuffer(32)).fill(7);

function slotsOf(size: number): Uint8Array[] {
  return Array.from({ length: SLOTS }, () => new Uint8Array(padded(size) + TRANSPORT_OVERHEAD_BYTES));
}

function padded(size: number): number {
  return Math.ceil(size / 16) * 16;
}
