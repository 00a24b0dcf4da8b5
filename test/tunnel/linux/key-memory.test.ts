// Where keys lie: what the kernel itself says of the pages.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { KeySlab } from '../../../sessions/key-slab.js';
import { LockedKeyMemory } from '../../../tunnel/linux/key-memory.js';
import { ENOMEM } from '../../../tunnel/linux/errno.js';
import { KoffiLibc, MADV_DONTDUMP, requireLibc } from '../../../tunnel/linux/libc.js';
import { loadKoffi } from '../../../native/koffi.js';

const libc = requireLibc();

/** The flags of the mapping that holds this memory, as proc(5) has them: `lo` locked, `dd` not dumped. */
function flagsOf(memory: Uint8Array): string[] {
  const address = libc.addressOf(memory);
  const maps = readFileSync('/proc/self/smaps', 'latin1').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const map = maps.find(text => {
    const [start, end] = text.slice(0, text.indexOf(' ')).split('-');
    return Number.parseInt(start, 16) <= address && address < Number.parseInt(end, 16);
  });
  return (/^VmFlags: (.*)$/m.exec(map ?? '')?.[1] ?? '').trim().split(' ');
}

describe('locked memory for keys', () => {
  it('is locked, not dumped and zero, in pages of its own', () => {
    const memory = new LockedKeyMemory(libc);
    const keys = memory.allocate(5_000);
    expect(keys).toHaveLength(5_000);
    expect(keys.every(byte => byte === 0)).toBe(true);
    expect(libc.addressOf(keys) % libc.pageBytes).toBe(0);
    expect(flagsOf(keys)).toEqual(expect.arrayContaining(['lo', 'dd']));
    // Its last byte too.
    expect(flagsOf(keys.subarray(4_999))).toEqual(expect.arrayContaining(['lo', 'dd']));
    const bytes = Math.ceil(5_000 / libc.pageBytes) * libc.pageBytes;
    expect(memory.report).toEqual({ bytes, lockedBytes: bytes, refused: null });
    memory.release(keys);
    expect(flagsOf(keys)).not.toContain('lo');
    expect(flagsOf(keys)).not.toContain('dd');
    expect(memory.report).toEqual({ bytes: 0, lockedBytes: 0, refused: null });
    memory.release(keys);
  });

  it('control: plain shared memory is neither', () => {
    const flags = flagsOf(new Uint8Array(new SharedArrayBuffer(5_000)));
    expect(flags).toContain('rd');
    expect(flags).not.toContain('lo');
    expect(flags).not.toContain('dd');
  });

  it('holds a slab, which is erased and given back at its end', () => {
    const memory = new LockedKeyMemory(libc);
    const slab = new KeySlab(72, memory);
    const block = slab.allocate().fill(9);
    expect(flagsOf(block)).toEqual(expect.arrayContaining(['lo', 'dd']));
    slab.eraseAll();
    expect(block.every(byte => byte === 0)).toBe(true);
    block.fill(9);
    slab.release();
    expect(block.every(byte => byte === 0)).toBe(true);
    expect(flagsOf(block)).not.toContain('lo');
    expect([slab.bytes, memory.report.bytes]).toEqual([0, 0]);
  });

  it('is given all the same where the kernel refuses, and that is reported', () => {
    const advices: number[] = [];
    class Refusing extends KoffiLibc {
      override mlock(): number {
        return -ENOMEM;
      }
      override madvise(_address: number, _length: number, advice: number): number {
        advices.push(advice);
        return 0;
      }
    }
    const { koffi } = loadKoffi();
    const memory = new LockedKeyMemory(new Refusing(koffi!));
    const keys = memory.allocate(64);
    keys.fill(1);
    expect(memory.report).toMatchObject({ lockedBytes: 0, refused: 'mlock: ENOMEM (see RLIMIT_MEMLOCK)' });
    expect(memory.report.bytes).toBe(libc.pageBytes);
    expect(advices).toEqual([MADV_DONTDUMP]);
  });
});
