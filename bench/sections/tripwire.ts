// What the tripwire costs: receiving with it against receiving without, and the memory of the tags it keeps.
// Promises: small packets, where it weighs most; memory is what the process holds for many keypairs, by their number.
// Read on: protocol/received-tags.ts.

import { ReceivedTags } from '../../protocol/received-tags.js';
import type { Suite } from '../../protocol/suite.js';
import { Pair } from '../machine.js';
import { collectGarbage, memory } from '../memory.js';
import { type Effort, measure } from '../measure.js';
import { type Row, ratioRow, spread } from '../row.js';
import { receiving } from './transport.js';

const PACKET_BYTES = 64;
const KEYPAIRS = 2_000;
/** Messages received under a keypair: one that is idle, a short conversation, and a window full. */
const MESSAGES = [5, 500, 8_192];

export async function tripwireSection(suite: Suite, effort: Effort): Promise<Row[]> {
  const pairs = [true, false].map(tripwire => new Pair(suite, { tripwire }));
  for (const pair of pairs) pair.handshake();
  const [on, off] = measure(
    pairs.map(pair => receiving(pair, PACKET_BYTES, 1)),
    effort,
  );
  for (const pair of pairs) await pair.close();
  const memoryRows: Row[] = [];
  for (const messages of MESSAGES) memoryRows.push(await memoryRow(messages));
  const name = `receive ${PACKET_BYTES} B with the tripwire`;
  return [
    ratioRow({ section: 'tripwire', name, suite: suite.name }, on, { name: 'without it', samples: off }),
    ...memoryRows,
  ];
}

async function memoryRow(messages: number): Promise<Row> {
  await collectGarbage();
  const before = memory().heapAndBuffers;
  const kept = Array.from({ length: KEYPAIRS }, () => new ReceivedTags());
  for (const tags of kept) for (let counter = 0; counter < messages; counter++) tags.remember(0, counter, 1);
  await collectGarbage();
  const each = (memory().heapAndBuffers - before) / kept.length;
  return {
    section: 'tripwire',
    name: `tags of ${messages.toLocaleString('en')} messages, each keypair`,
    unit: 'bytes',
    value: spread([each]),
    samples: 1,
  };
}
