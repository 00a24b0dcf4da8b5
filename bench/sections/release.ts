// The release gate by batches: what one reading of the generation costs, and what is saved by one for many packets.
// Promises: the kinds of source: one in this process's memory, the ACPI and the vmclock page (mapped files stand in for memory
// and device: the same loads), and, where this kernel lets one be loaded, the program in the kernel.
// Read on: sessions/release.ts; vmgenid/sources/acpi.ts, vmclock.ts, bpf.ts.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Suite } from '../../protocol/suite.js';
import { detectSources } from '../../vmgenid/detect.js';
import type { GenerationSource } from '../../vmgenid/source.js';
import { loadKoffi } from '../../native/koffi.js';
import { AcpiSource } from '../../vmgenid/sources/acpi.js';
import { BpfSource } from '../../vmgenid/sources/bpf.js';
import { MemorySource } from '../../vmgenid/sources/memory.js';
import { VmclockSource } from '../../vmgenid/sources/vmclock.js';
import { AcpiMachine } from '../../test/support/acpi-tables.js';
import { Pair, innerPacket } from '../machine.js';
import { type Candidate, type Effort, measure } from '../measure.js';
import { type Row, plainRow, ratioRow } from '../row.js';

const BATCHES = [1, 16, 64];
const PACKET_BYTES = 1420;

export async function releaseSection(suite: Suite, effort: Effort): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'wireonce-bench-'));
  try {
    const path = join(directory, 'vmclock');
    writeFileSync(path, vmclockPage());
    return [
      ...(await batches(suite, effort, 'memory', () => new MemorySource())),
      ...(loadKoffi().koffi ? await acpiPage(suite, effort) : []),
      ...(loadKoffi().koffi
        ? await batches(suite, effort, 'vmclock', () => new VmclockSource({ path }))
        : []),
      ...(hasProgram() ? await batches(suite, effort, 'bpf', () => new BpfSource()) : []),
    ];
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function hasProgram(): boolean {
  return detectSources({ bpf: true }).some(({ kind, available }) => kind === 'bpf' && available);
}

async function acpiPage(suite: Suite, effort: Effort): Promise<Row[]> {
  const machine = AcpiMachine.qemu(new Uint8Array(16).fill(1));
  const source = () => new AcpiSource(machine);
  try {
    return [acpiRead(source(), effort), ...(await batches(suite, effort, 'acpi', source))];
  } finally {
    machine.remove();
  }
}

/** The page read as a check reads it, beside loads that the engine may leave out. */
function acpiRead(source: AcpiSource, effort: Effort): Row {
  const into = new Uint32Array(4);
  const plain = new Uint32Array(4).fill(1);
  const [page, words] = measure(
    [
      {
        run(times) {
          for (let i = 0; i < times; i++) source.read(into);
        },
      },
      {
        run(times) {
          for (let i = 0; i < times; i++) {
            for (let word = 0; word < 4; word++) into[word] = plain[word];
          }
        },
      },
    ],
    effort,
  );
  source.close();
  return ratioRow({ section: 'release', name: 'acpi: the page alone, 16 B' }, page, {
    name: 'plain typed array',
    samples: words,
  });
}

async function batches(
  suite: Suite,
  effort: Effort,
  sourceName: string,
  source: () => GenerationSource,
): Promise<Row[]> {
  const pair = new Pair(suite, { source: source() });
  pair.handshake();
  const { vmgenid } = pair.left;
  const check: Candidate = {
    run(times) {
      for (let i = 0; i < times; i++) vmgenid.check();
    },
  };
  const [checks, ...sent] = measure([check, ...BATCHES.map(batch => sending(pair, batch))], effort);
  await pair.close();
  const section = 'release';
  return [
    plainRow({ section, name: `${sourceName}: one check`, suite: suite.name }, checks),
    ...BATCHES.map((batch, i) => {
      const perPacket = sent[i].map(ns => ns / batch);
      const subject = {
        section,
        name: `${sourceName}: ${PACKET_BYTES} B, ${batch} per release`,
        suite: suite.name,
        note: 'per packet',
      };
      return ratioRow(subject, perPacket, { name: '1 per release', samples: sent[0] });
    }),
  ];
}

function sending(pair: Pair, batch: number): Candidate {
  const packet = innerPacket(PACKET_BYTES);
  const { device } = pair.left;
  return {
    run(times) {
      pair.divert = () => {};
      for (let i = 0; i < times; i++) {
        if (batch > 1) device.cork();
        for (let n = 0; n < batch; n++) device.sendPacket(packet);
        if (batch > 1) device.uncork();
      }
      pair.divert = undefined;
    },
  };
}

/** A settled page with a generation counter, in a plain file as it serves where there is no such device. */
function vmclockPage(): Uint8Array {
  const page = Buffer.alloc(112);
  page.write('VCLK', 0, 'latin1');
  page.writeUInt32LE(page.length, 4);
  page.writeUInt32LE(1 << 8, 24);
  return page;
}
