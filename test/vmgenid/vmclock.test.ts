// The vmclock source, on a plain file in place of the device.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { VmGenId } from '../../vmgenid/driver.js';
import { NO_EPOCH } from '../../vmgenid/generation.js';
import { VmclockSource } from '../../vmgenid/sources/vmclock.js';

interface Page {
  magic?: number;
  seq?: number;
  disruption?: bigint;
  flags?: bigint;
  generation?: bigint;
}

function page({
  magic = 0x4b4c4356,
  seq = 4,
  disruption = 0n,
  flags = 1n << 8n,
  generation = 7n,
}: Page = {}): Buffer {
  const bytes = Buffer.alloc(112);
  bytes.writeUInt32LE(magic, 0);
  bytes.writeUInt32LE(seq, 12);
  bytes.writeBigUInt64LE(disruption, 16);
  bytes.writeBigUInt64LE(flags, 24);
  bytes.writeBigUInt64LE(generation, 104);
  return bytes;
}

let folder: string;
let path: string;
const open: { close(): unknown }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-vmclock-'));
  path = join(folder, 'vmclock0');
});
afterEach(async () => {
  for (const it of open.splice(0)) await it.close();
  rmSync(folder, { recursive: true, force: true });
});

function source(): VmclockSource {
  const it = new VmclockSource({ path, pollMs: 5 });
  open.push(it);
  return it;
}

function read(from = source()): number[] {
  const words = new Uint32Array(4).fill(0xff);
  from.read(words);
  return [...words];
}

/** A source in whose reads `onRead` acts: it is called after each read, and gets what was read. */
async function withReads(onRead: (into: Buffer, read: number, at: number) => void): Promise<VmclockSource> {
  vi.resetModules();
  vi.doMock('node:fs', async importOriginal => {
    const fs = await importOriginal<typeof import('node:fs')>();
    let reads = 0;
    const readSync = (fd: number, into: Buffer, offset: number, length: number, at: number) => {
      const done = fs.readSync(fd, into, offset, length, at);
      onRead(into, ++reads, at);
      return done;
    };
    return { ...fs, readSync };
  });
  try {
    const { VmclockSource: Mocked } = await import('../../vmgenid/sources/vmclock.js');
    const it = new Mocked({ path });
    open.push(it);
    return it;
  } finally {
    vi.doUnmock('node:fs');
  }
}

describe('vmclock source', () => {
  it('is immediate and a counter, of all 64 bits', () => {
    writeFileSync(path, page({ generation: 0x1122334455667788n }));
    expect(source()).toMatchObject({ name: `vmclock:${path}`, timing: 'immediate', uniqueness: 'counter' });
    expect(new VmclockSource().name).toBe('vmclock');
    expect(read()).toEqual([0x55667788, 0x11223344, 0, 0]);
  });

  it.each([
    ['a wrong magic', page({ magic: 0x4b4c4357 }), 'ERR_SOURCE_FORMAT', /wrong magic/],
    ['a short page', page().subarray(0, 111), 'ERR_SOURCE_FORMAT', /short read: 111 of 112/],
    ['an empty file', Buffer.alloc(0), 'ERR_SOURCE_FORMAT', /short read: 0/],
    ['a page without a counter', page({ flags: 0xffff_feffn }), 'ERR_SOURCE_FORMAT', /flag bit 8/],
    ['a sequence that stays odd', page({ seq: 5 }), 'ERR_SOURCE_TORN', /never settled/],
  ])('refuses %s, with path and reason', (_name, content, code, reason) => {
    writeFileSync(path, content);
    expect(() => read()).toThrow(expect.objectContaining({ code, message: expect.stringMatching(reason) }));
    expect(() => read()).toThrow(path);
  });

  it('refuses a device that is not there', () => {
    expect(() => read()).toThrow(expect.objectContaining({ code: 'ERR_SOURCE_UNREADABLE' }));
  });

  it('reads again while the page is being written', async () => {
    writeFileSync(path, page({ seq: 5, generation: 1n }));
    const it = await withReads((_into, n) => {
      if (n === 3) writeFileSync(path, page({ seq: 6, generation: 2n }));
    });
    expect(read(it)).toEqual([2, 0, 0, 0]);
  });

  it('a page that was written while it was read is not taken', async () => {
    writeFileSync(path, page({ seq: 4, generation: 1n }));
    const it = await withReads((into, n) => {
      if (n !== 1) return;
      // The first read saw half of the new page; by the second look the sequence has moved on.
      into.writeUInt32LE(0xdead, 104);
      writeFileSync(path, page({ seq: 6, generation: 2n }));
    });
    expect(read(it)).toEqual([2, 0, 0, 0]);
    // Control: without the second look at the sequence the half value would have been taken.
    writeFileSync(path, page({ seq: 4, generation: 1n }));
    const blind = await withReads((into, n, at) => {
      if (n === 1) {
        into.writeUInt32LE(0xdead, 104);
        writeFileSync(path, page({ seq: 6, generation: 2n }));
      }
      if (at === 12) into.writeUInt32LE(4, 0);
    });
    expect(read(blind)).toEqual([0xdead, 0, 0, 0]);
  });

  it('a live migration moves the disruption marker and is no fork; a new generation is one', async () => {
    writeFileSync(path, page({ disruption: 1n }));
    const vm = new VmGenId([source()]);
    open.push(vm);
    writeFileSync(path, page({ disruption: 2n, seq: 8 }));
    expect(vm.check()).toBe(1);
    writeFileSync(path, page({ disruption: 2n, seq: 10, generation: 8n }));
    expect(vm.check()).toBe(2);
    expect(vm.evidence.vmGenId).toBeUndefined();
  });

  it('lets nothing out while the page is unfit, and recovers', () => {
    writeFileSync(path, page());
    const vm = new VmGenId([source()]);
    open.push(vm);
    writeFileSync(path, page({ seq: 5 }));
    expect(vm.check()).toBe(NO_EPOCH);
    writeFileSync(path, page());
    expect(vm.check()).toBe(1);
  });

  it('a program that never asks is told too', async () => {
    writeFileSync(path, page());
    const vm = new VmGenId([source()]);
    open.push(vm);
    await vm.start();
    writeFileSync(path, page({ generation: 8n }));
    await vi.waitFor(() => expect(vm.epoch).toBe(2), { timeout: 10_000 });
  });
});
