// Random bytes: our generator, which reads the generation twice for every draw, against OpenSSL's, which never does.
// Promises: the same lengths by the same kind of call: into a caller's buffer, and into a new one.
// Read on: crng/crng.ts.

import { randomBytes, randomFillSync } from 'node:crypto';
import type { Suite } from '../../protocol/suite.js';
import { Machine } from '../machine.js';
import { type Effort, measure } from '../measure.js';
import { type Row, ratioRow } from '../row.js';

const LENGTHS = [32, 4096];

export async function crngSection(suite: Suite, effort: Effort): Promise<Row[]> {
  const machine = new Machine(suite, { sendDatagram: () => {}, deliverPacket: () => {} });
  const { crng } = machine;
  const rows: Row[] = [];
  for (const length of LENGTHS) {
    const into = new Uint8Array(length);
    const filled = measure(
      [repeated(() => crng.fill(into)), repeated(() => void randomFillSync(into))],
      effort,
    );
    rows.push(
      ratioRow({ section: 'crng', name: `fill ${length} B` }, filled[0], {
        name: 'randomFillSync',
        samples: filled[1],
      }),
    );
    const made = measure(
      [repeated(() => void crng.bytes(length)), repeated(() => void randomBytes(length))],
      effort,
    );
    rows.push(
      ratioRow({ section: 'crng', name: `bytes(${length})` }, made[0], {
        name: 'randomBytes',
        samples: made[1],
      }),
    );
  }
  await machine.close();
  return rows;
}

function repeated(act: () => void) {
  return {
    run(times: number) {
      for (let i = 0; i < times; i++) act();
    },
  };
}
