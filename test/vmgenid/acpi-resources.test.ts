// Resource templates of ACPI devices, and the vmclock device in a table.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memoryRange } from '../../vmgenid/acpi-resources.js';
import { findVmclock } from '../../vmgenid/acpi-tables.js';
import { VmGenIdError } from '../../vmgenid/errors.js';
import { QEMU_SSDT, VMCLOCK_SSDT, vmclockTable } from '../support/acpi-tables.js';

const END = [0x79, 0];
const le = (value: number, bytes: number) => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return [...buffer.subarray(0, bytes)];
};
const large = (type: number, body: number[]) => [type, ...le(body.length, 2), ...body];
const space = (type: number, width: number, kind: number, min: number, translation: number, length: number) =>
  large(type, [kind, 0, 0, ...[0, min, min + length - 1, translation, length].flatMap(n => le(n, width))]);
const fixed = (address: number, bytes: number) => large(0x86, [0, ...le(address, 4), ...le(bytes, 4)]);
const interrupt = large(0x89, [1, 1, 5, 0, 0, 0]);
const range = (...bytes: number[]) => memoryRange(Uint8Array.from(bytes));
const find = (...tables: Uint8Array[]) =>
  findVmclock(tables.map((bytes, i) => ({ name: `SSDT${i + 1}`, bytes })));

describe('the memory in a resource template', () => {
  it.each([
    ['Memory32Fixed', fixed(0x2000, 4_096)],
    ['Memory32', large(0x85, [0, ...[0x2000, 0x2fff, 8, 4_096].flatMap(n => le(n, 4))])],
    ['DWordMemory', space(0x87, 4, 0, 0x2000, 0, 4_096)],
    ['QWordMemory', space(0x8a, 8, 0, 0x2000, 0, 4_096)],
    ['QWordMemory with a translation', space(0x8a, 8, 0, 0x1000, 0x1000, 4_096)],
    ['one behind an interrupt', [...interrupt, ...fixed(0x2000, 4_096)]],
    [
      'one behind ports',
      [0x47, 1, 0, 0, 0, 0, 0, 0, ...space(0x87, 4, 1, 0, 0, 16), ...fixed(0x2000, 4_096)],
    ],
  ])('is read from %s', (_name, body) => {
    expect(range(...body, ...END)).toEqual({ address: 0x2000, bytes: 4_096 });
  });

  it.each([
    ['two pieces', [...fixed(0x2000, 16), ...fixed(0x3000, 16), ...END]],
    ['none', END],
    ['no end', fixed(0x2000, 16)],
    ['a descriptor that is cut off', fixed(0x2000, 16).slice(0, 9)],
    ['a length that is cut off', [0x86, 9]],
    ['a descriptor that is too short', [...large(0x86, [0, 0, 0]), ...END]],
    ['a short Memory32', [...large(0x85, [0, 0, 0]), ...END]],
    ['an address space that is too short', [...large(0x8a, [0, 0, 0]), ...END]],
    ['nothing at all', []],
  ])('is nothing where there are %s', (_name, bytes) => {
    expect(range(...bytes)).toBeUndefined();
  });

  it('random bytes give a range or nothing', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), bytes => void memoryRange(bytes)));
  });
});

describe('the vmclock of a table', () => {
  it('lies where its _CRS says', () => {
    expect(find(QEMU_SSDT, VMCLOCK_SSDT)).toEqual({ table: 'SSDT2', address: 0x0c00_0000, bytes: 4_096 });
    expect(find(QEMU_SSDT)).toBeUndefined();
  });

  it('may be named twice, as one page', () => {
    expect(find(VMCLOCK_SSDT, VMCLOCK_SSDT)).toMatchObject({ table: 'SSDT1' });
    expect(() => find(VMCLOCK_SSDT, vmclockTable(0x2000))).toThrow(/name more than one vmclock/);
  });

  it('is refused where its resources cannot be read', () => {
    const nameless = VMCLOCK_SSDT.slice();
    nameless.set(Buffer.from('_CRX'), Buffer.from(nameless).indexOf('_CRS'));
    expect(() => find(nameless)).toThrow(
      expect.objectContaining({ code: 'ERR_SOURCE_FORMAT', message: expect.stringContaining('SSDT1') }),
    );
  });

  it('a table with bytes changed or cut gives a page, none, or a reason', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }),
        fc.option(fc.nat(160), { nil: undefined }),
        (changes, cut) => {
          const bytes = VMCLOCK_SSDT.slice();
          for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
          try {
            find(bytes.subarray(0, cut));
          } catch (error) {
            expect(error).toBeInstanceOf(VmGenIdError);
          }
        },
      ),
    );
  });
});
