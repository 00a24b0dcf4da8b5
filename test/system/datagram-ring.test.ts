// The ring between two threads as it is built: real threads, one of which writes as fast as it can.

import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { RingReader, ringMemory } from '../../tunnel/daemon/device-thread/datagram-ring.js';

const BUILT = new URL('../../dist/tunnel/daemon/device-thread/datagram-ring.js', import.meta.url).href;

test('between two threads nothing is torn, lost or doubled', async () => {
  const memory = ringMemory(4_096);
  const count = 20_000;
  const writer = new Worker(
    `const { workerData: { memory, count } } = require('node:worker_threads');
     import(${JSON.stringify(BUILT)}).then(({ RingWriter }) => {
       const ring = new RingWriter(memory, () => {});
       for (let i = 1; i <= count; i++) {
         const bytes = new Uint8Array(i % 700).fill(i);
         while (!ring.push(bytes, i));
       }
     });`,
    { eval: true, workerData: { memory, count } },
  );
  const failed = new Promise((_, reject) => writer.once('error', reject));
  const reader = new RingReader(memory, () => {});
  const read = async () => {
    for (let expected = 1; expected <= count; ) {
      while (reader.next()) {
        if (reader.number !== expected || reader.length !== expected % 700)
          throw new Error('lost or doubled');
        if (reader.datagram().some(byte => byte !== (expected & 255))) throw new Error('torn');
        expected++;
      }
      reader.release();
      await new Promise(resolve => setImmediate(resolve));
    }
  };
  try {
    await Promise.race([read(), failed]);
  } finally {
    await writer.terminate();
  }
  expect(reader.isEmpty).toBe(true);
});
