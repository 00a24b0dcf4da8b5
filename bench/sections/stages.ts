// One full packet through the stages of a device, each with all stages before it, against the physical limit: the
// cipher alone, in the middle of a message so long that its beginning and end do not count.
// Promises: what a stage adds is the difference to the row above it; all of them ran in turns in one process.
// Read on: docs/performance.md.

import { Keypair, KEYPAIR_BYTES } from '../../protocol/keypair.js';
import { TRANSPORT } from '../../protocol/messages.js';
import { type Suite, TAG_BYTES } from '../../protocol/suite.js';
import { openerOf, sealerOf } from '../../protocol/batches.js';
import { beginOpening, finishOpening, messageLength, sealPacket } from '../../protocol/transport.js';
import { Pair, inBatches, innerPacket } from '../machine.js';
import { type Candidate, type Effort, measure } from '../measure.js';
import { type Row, ratioRow } from '../row.js';
import { receiving } from './transport.js';

const PACKET_BYTES = 1420;
const PADDED_BYTES = 1424;
/** Packets that one reading of a TUN device with offloads brings. */
const BATCH = 45;
/** Times the padded packet: the longest message that a datagram could be. */
const LONG = 46;
/** Sealed datagrams that one round of opening consumes. */
const SLOTS = 8 * BATCH;

export async function stagesSection(suite: Suite, effort: Effort): Promise<Row[]> {
  // Room for the padding, which is never above the MTU.
  const pair = new Pair(suite, { mtu: PADDED_BYTES });
  pair.handshake();
  const stages: [string, Candidate][] = [
    ['limit', limit(suite)],
    ['send: the cipher', seal(suite)],
    ['send: and copy, counter, header (sealPacket)', sealWhole(suite)],
    [`send: and all of a device, batches of ${BATCH}`, send(pair, BATCH)],
    ['send: and all of a device, one by one', send(pair, 1)],
    ['receive: the cipher', open(suite)],
    ['receive: and header, replay window (beginOpening, finishOpening)', openWhole(suite)],
    [`receive: and a copy and all of a device, batches of ${BATCH}`, receiving(pair, PACKET_BYTES, BATCH)],
    ['receive: and a copy and all of a device, one by one', receiving(pair, PACKET_BYTES, 1)],
  ];
  const [limits, ...samples] = measure(
    stages.map(([, candidate]) => candidate),
    effort,
  );
  await pair.close();
  const peer = { name: 'the cipher in a long message', samples: limits };
  return samples.map((ofStage, i) =>
    ratioRow(
      { section: 'stages', name: `${PACKET_BYTES} B ${stages[i + 1][0]}`, suite: suite.name },
      ofStage,
      peer,
    ),
  );
}

const key = () => new Uint8Array(new SharedArrayBuffer(32)).fill(7);

function limit(suite: Suite): Candidate {
  const buffer = new Uint8Array(LONG * PADDED_BYTES + TAG_BYTES);
  const theKey = key();
  return {
    run(times) {
      // Once for every so many packets; rounds are long enough for that to be many.
      for (let i = 0; i < times; i += LONG) suite.seal(theKey, i, 0, buffer, 0, LONG * PADDED_BYTES);
    },
    step: LONG,
  };
}

function seal(suite: Suite): Candidate {
  const buffers = Array.from({ length: BATCH }, () => new Uint8Array(messageLength(PADDED_BYTES)));
  const theKey = key();
  const sealer = sealerOf(suite);
  return {
    run(times) {
      for (let i = 0; i < times; ) {
        for (const buffer of buffers) sealer.seal(theKey, i++, 0, buffer, TRANSPORT.packet, PADDED_BYTES);
        sealer.settle();
      }
    },
    step: BATCH,
  };
}

function sealWhole(suite: Suite): Candidate {
  const keypair = newKeypair();
  const packet = innerPacket(PACKET_BYTES);
  const buffers = Array.from({ length: BATCH }, () => new Uint8Array(messageLength(PADDED_BYTES)));
  const sealer = sealerOf(suite);
  return {
    run(times) {
      for (let i = 0; i < times; i += BATCH) {
        for (const buffer of buffers) sealPacket(sealer, keypair, packet, PADDED_BYTES, buffer);
        sealer.settle();
      }
    },
    step: BATCH,
  };
}

function send(pair: Pair, batch: number): Candidate {
  const packet = innerPacket(PACKET_BYTES);
  const { device } = pair.left;
  return {
    run(times) {
      pair.divert = () => {};
      inBatches(device, batch, times, () => device.sendPacket(packet));
      pair.divert = undefined;
    },
  };
}

function open(suite: Suite): Candidate {
  const theKey = key();
  const slots = sealedSlots();
  const opener = openerOf(suite);
  return {
    maxTimes: SLOTS,
    prepare(times) {
      for (let i = 0; i < times; i++) suite.seal(theKey, i, 0, slots[i], TRANSPORT.packet, PADDED_BYTES);
    },
    run(times) {
      for (let i = 0; i < times; ) {
        const end = Math.min(i + BATCH, times);
        for (let k = i; k < end; k++) {
          opener.open(theKey, k, 0, slots[k], TRANSPORT.packet, PADDED_BYTES + TAG_BYTES);
        }
        opener.settle();
        for (let k = 0; i < end; i++, k++) if (!opener.isOpened(k)) throw refused();
      }
    },
  };
}

function openWhole(suite: Suite): Candidate {
  const keypair = newKeypair();
  const packet = innerPacket(PACKET_BYTES);
  const slots = sealedSlots();
  const [sealer, opener] = [sealerOf(suite), openerOf(suite)];
  return {
    maxTimes: SLOTS,
    prepare(times) {
      for (let i = 0; i < times; i++) sealPacket(sealer, keypair, packet, PADDED_BYTES, slots[i]);
      sealer.settle();
    },
    run(times) {
      for (let i = 0; i < times; ) {
        const end = Math.min(i + BATCH, times);
        for (let k = i; k < end; k++) beginOpening(opener, keypair, slots[k]);
        opener.settle();
        for (let k = 0; i < end; i++, k++) {
          if (finishOpening(opener, k, keypair, slots[i]) < 0) throw refused();
        }
      }
    },
  };
}

/** Its two keys are the same, so that it opens what it seals. */
function newKeypair(): Keypair {
  const storage = new Uint8Array(new SharedArrayBuffer(KEYPAIR_BYTES));
  storage.fill(7, 0, 64);
  return new Keypair(storage, { createdAt: 0, epoch: 1, localIndex: 1, remoteIndex: 2, isInitiator: true });
}

function sealedSlots(): Uint8Array[] {
  return Array.from({ length: SLOTS }, () => new Uint8Array(messageLength(PADDED_BYTES)));
}

const refused = () => new Error('a datagram did not open');
