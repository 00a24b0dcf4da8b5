// The ACPI tables of hypervisors, and what a table may hold instead.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AcpiTable, findGenerationId } from '../../vmgenid/acpi-tables.js';
import { VmGenIdError } from '../../vmgenid/errors.js';
import {
  FIRECRACKER_DSDT,
  HYPERV_DSDT,
  HYPERV_REGION,
  QEMU_SSDT,
  QEMU_VGIA,
  XEN_DSDT,
} from '../support/acpi-tables.js';

const HEADER_BYTES = 36;
const REAL = { QEMU_SSDT, FIRECRACKER_DSDT, HYPERV_DSDT, XEN_DSDT };

const find = (...tables: Uint8Array[]) =>
  findGenerationId(tables.map((bytes, i) => ({ name: `SSDT${i + 1}`, bytes })));

const bytesOf = (text: string) => [...Buffer.from(text, 'latin1')];

/** A table around this code; strings stand for their characters. */
function table(...code: (number | string)[]): Uint8Array {
  const body = code.flatMap(part => (typeof part === 'string' ? bytesOf(part) : [part]));
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  bytes.set(bytesOf('SSDT'));
  new DataView(bytes.buffer).setUint32(4, bytes.length, true);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/** Opcode or name, then its PkgLength in one byte, then its contents. */
function packaged(opcode: number[], ...contents: (number | string)[]): number[] {
  const body = contents.flatMap(part => (typeof part === 'string' ? bytesOf(part) : [part]));
  return [...opcode, body.length + 1, ...body];
}

const device = (...contents: (number | string)[]) =>
  packaged([0x5b, 0x82], 'VGEN', 0x08, '_CID', 0x0d, 'VM_Gen_Counter', 0, ...contents);

describe('the tables of', () => {
  it('QEMU: a named number and what the method adds to it', () => {
    expect(find(QEMU_SSDT)).toEqual({ table: 'SSDT1', low: { plus: QEMU_VGIA + 40 }, high: { plus: 0 } });
  });

  it('Firecracker, and bhyve: a package of two numbers, in this device and no other', () => {
    expect(find(FIRECRACKER_DSDT)).toMatchObject({ low: { plus: 0xbffff0a8 }, high: { plus: 0x12 } });
  });

  it('Hyper-V: two fields of a region in memory, found through the list of its compatible ids', () => {
    expect(find(HYPERV_DSDT)).toEqual({
      table: 'SSDT1',
      low: { plus: 0, from: HYPERV_REGION + 16 },
      high: { plus: 0, from: HYPERV_REGION + 20 },
    });
  });

  it('Xen: one field, and the upper half is zero', () => {
    expect(find(XEN_DSDT)).toMatchObject({ low: { plus: 0, from: 0xfc00_0004 }, high: { plus: 0 } });
  });

  it('a method that returns the package as it is', () => {
    const pair = packaged([0x12], 2, 0x0c, 0x00, 0x10, 0x00, 0x80, 0x01);
    expect(find(table(...device(...packaged([0x14], 'ADDR', 0, 0xa4, ...pair))))).toMatchObject({
      low: { plus: 0x8000_1000 },
      high: { plus: 1 },
    });
  });

  it('a machine whose hypervisor has none', () => {
    const none = { code: 'ERR_SOURCE_UNAVAILABLE', message: expect.stringContaining('no ACPI table has') };
    expect(() => find()).toThrow(expect.objectContaining(none));
    expect(() => find(table('\\_SB_', ...packaged([0x5b, 0x82], 'DEV0')))).toThrow(
      expect.objectContaining(none),
    );
  });
});

describe('a table is refused, with its name,', () => {
  const badForm = expect.objectContaining({
    code: 'ERR_SOURCE_FORMAT',
    message: expect.stringMatching(/ACPI table SSDT1 .*not known here/),
  });

  it.each([
    ['without an ADDR', table(...device())],
    ['with a number in its place', table(...device(0x08, 'ADDR', 0x0c, 0, 0x10, 0, 0))],
    [
      'with a name that nothing defines',
      table(...device(...packaged([0x14], 'ADDR', 0, 0x70, 'NONE', 0x88, 0x60, 0, 0))),
    ],
    [
      'with a name that two definitions give two values',
      table(
        0x08,
        'TWO_',
        0x0a,
        8,
        0x08,
        'TWO_',
        0x0a,
        16,
        ...device(...packaged([0x14], 'ADDR', 0, 0x70, 'TWO_', 0x88, 0x60, 0, 0)),
      ),
    ],
    [
      'whose method stores twice to one half',
      table(
        ...device(
          ...packaged([0x14], 'ADDR', 0, 0x70, 0x0a, 8, 0x88, 0x60, 0, 0, 0x70, 0x0a, 16, 0x88, 0x60, 0, 0),
        ),
      ),
    ],
    [
      'whose field lies outside its region',
      table(
        0x5b,
        0x80,
        'BIOS',
        0,
        0x0a,
        64,
        0x0a,
        3,
        ...packaged([0x5b, 0x81], 'BIOS', 0, 'GCAL', 32),
        ...device(...packaged([0x14], 'ADDR', 0, 0x70, 'GCAL', 0x88, 0x60, 0, 0)),
      ),
    ],
    [
      'whose field lies in I/O ports',
      table(
        0x5b,
        0x80,
        'BIOS',
        1,
        0x0a,
        64,
        0x0a,
        4,
        ...packaged([0x5b, 0x81], 'BIOS', 0, 'GCAL', 32),
        ...device(...packaged([0x14], 'ADDR', 0, 0x70, 'GCAL', 0x88, 0x60, 0, 0)),
      ),
    ],
  ])('%s', (_name, bytes) => {
    expect(() => find(bytes)).toThrow(badForm);
  });

  it('when another one says something else; not when it says the same', () => {
    expect(find(QEMU_SSDT, QEMU_SSDT)).toMatchObject({ low: { plus: QEMU_VGIA + 40 } });
    expect(() => find(QEMU_SSDT, FIRECRACKER_DSDT)).toThrow(/\(SSDT1, SSDT2\) name more than one/);
  });
});

describe('whatever a table holds', () => {
  const place = (tables: AcpiTable[]) => {
    try {
      return findGenerationId(tables);
    } catch (error) {
      expect(error).toBeInstanceOf(VmGenIdError);
      return undefined;
    }
  };

  it('random bytes give a reason and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (body, framed) => {
        place([{ name: 'DSDT', bytes: framed ? table(...body) : body }]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('a real table with bytes changed, cut or repeated gives a reason or numbers', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(REAL)),
        fc.array(fc.tuple(fc.nat(1_000), fc.nat(255)), { maxLength: 4 }),
        fc.option(fc.nat(300), { nil: undefined }),
        (real, changes, cut) => {
          const bytes = real.slice(0, cut);
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          const found = place([{ name: 'DSDT', bytes }]);
          for (const { plus, from = 0 } of found ? [found.low, found.high] : []) {
            expect(Number.isSafeInteger(plus) && Number.isSafeInteger(from)).toBe(true);
          }
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it('what lies behind the length in its header is not read', () => {
    const bytes = new Uint8Array([...table(0xa3), ...QEMU_SSDT.subarray(HEADER_BYTES)]);
    expect(place([{ name: 'SSDT', bytes }])).toBeUndefined();
    // Control: the same bytes within the length are.
    new DataView(bytes.buffer).setUint32(4, bytes.length, true);
    expect(place([{ name: 'SSDT', bytes }])).toBeDefined();
  });
});
