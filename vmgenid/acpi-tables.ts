// Where the ACPI tables say that the generation ID and the vmclock page lie in physical memory.
// Promises: computation only; a table is taken for what it says or refused with the reason, whatever bytes it holds.
// Read on: Microsoft "Virtual Machine Generation ID"; QEMU docs/specs/vmgenid; Firecracker devices/acpi/vmgenid.rs;
// the DSDT of Hyper-V's firmware (mu_msvm, AcpiTables/Dsdt.asl); ACPI 6.5 section 20; acpi-resources.ts.

import { type MemoryRange, memoryRange } from './acpi-resources.js';
import {
  ADD_OP,
  AmlReader,
  DEVICE_OP,
  EXT_OP_PREFIX,
  FIELD_OP,
  INDEX_OP,
  METHOD_OP,
  NAME_OP,
  OP_REGION_OP,
  PACKAGE_OP,
  RETURN_OP,
  STORE_OP,
  ZERO_OP,
} from './aml.js';
import { VmGenIdError } from './errors.js';

/** A definition block: the DSDT or an SSDT, header and all. */
export interface AcpiTable {
  /** As the kernel names it: `SSDT1`. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A number in a table: `plus`, and on top of it the 32 bits at the physical address `from`, where there is one. */
export interface TableNumber {
  readonly plus: number;
  readonly from?: number | undefined;
}

/** The physical address of the ID is `low` + `high` * 2^32. */
export interface GenerationIdPlace {
  readonly table: string;
  readonly low: TableNumber;
  readonly high: TableNumber;
}

/** Signature, length, revision, checksum, OEM's and compiler's names. The code follows. */
const HEADER_BYTES = 36;
const LENGTH_AT = 4;

/** What Linux finds the devices by (drivers/virt/vmgenid.c, drivers/ptp/ptp_vmclock.c); case is ignored. */
const GENERATION_ID = new Set(['VM_GEN_COUNTER', 'VMGENCTR']);
const VMCLOCK = new Set(['AMZNC10C', 'VMCLOCK']);
const SYSTEM_MEMORY = 0;
const FIELD_BITS = 32;

/**
 * The one place that the tables name. Throws `ERR_SOURCE_UNAVAILABLE` when no table has the device, and
 * `ERR_SOURCE_FORMAT` when one has it in a form that is not known, or several name different places.
 */
export function findGenerationId(tables: readonly AcpiTable[]): GenerationIdPlace {
  const codes = tables.flatMap(code);
  const places: GenerationIdPlace[] = [];
  for (const table of codes) {
    for (const device of devices(table, GENERATION_ID)) {
      const address = addressOf(device, table, codes);
      if (!address) {
        throw new VmGenIdError(
          'ERR_SOURCE_FORMAT',
          `ACPI table ${table.name} has a generation ID whose address (ADDR) is in a form that is not known here`,
        );
      }
      places.push({ table: table.name, ...address });
    }
  }
  const [first, ...others] = places;
  if (!first) {
    throw new VmGenIdError(
      'ERR_SOURCE_UNAVAILABLE',
      'no ACPI table has a generation ID: this hypervisor offers none (QEMU does with -device vmgenid)',
    );
  }
  if (others.some(({ low, high }) => !sameNumber(low, first.low) || !sameNumber(high, first.high))) {
    const names = places.map(({ table }) => table).join(', ');
    throw new VmGenIdError('ERR_SOURCE_FORMAT', `ACPI tables (${names}) name more than one generation ID`);
  }
  return first;
}

/** A page of memory, and the table that names it. */
export interface TablePage extends MemoryRange {
  readonly table: string;
}

/** The vmclock page that the tables name. Undefined without one; throws `ERR_SOURCE_FORMAT` as `findGenerationId`. */
export function findVmclock(tables: readonly AcpiTable[]): TablePage | undefined {
  const places: TablePage[] = [];
  for (const table of tables.flatMap(code)) {
    for (const device of devices(table, VMCLOCK)) {
      const range = resourcesOf(device, table);
      if (!range) {
        throw new VmGenIdError(
          'ERR_SOURCE_FORMAT',
          `ACPI table ${table.name} has a vmclock whose resources (_CRS) are in a form that is not known here`,
        );
      }
      places.push({ table: table.name, ...range });
    }
  }
  const [first, ...others] = places;
  if (others.some(({ address, bytes }) => address !== first.address || bytes !== first.bytes)) {
    const names = places.map(({ table }) => table).join(', ');
    throw new VmGenIdError('ERR_SOURCE_FORMAT', `ACPI tables (${names}) name more than one vmclock`);
  }
  return first;
}

interface Code {
  readonly name: string;
  readonly bytes: Uint8Array;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

interface Address {
  readonly low: TableNumber;
  readonly high: TableNumber;
}

/** The code of a table, or nothing when its length cannot be right. */
function code({ name, bytes }: AcpiTable): Code[] {
  if (bytes.length < HEADER_BYTES) return [];
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(LENGTH_AT, true);
  return length < HEADER_BYTES || length > bytes.length
    ? []
    : [{ name, bytes: bytes.subarray(HEADER_BYTES, length) }];
}

// To follow the grammar from the top one would need all of it. What is looked for is found by its first bytes instead,
// wherever they are; what happens to begin alike is not of the right form after that, or does not lie in the device.
function* occurrences(
  { bytes }: Code,
  { start, end }: Span,
  ...opcode: readonly number[]
): Generator<AmlReader> {
  for (let at = start; at + opcode.length <= end; at++) {
    if (bytes[at] !== opcode[0]) continue;
    const reader = new AmlReader(bytes, at, end);
    if (reader.skip(...opcode)) yield reader;
  }
}

function whole(table: Code): Span {
  return { start: 0, end: table.bytes.length };
}

/** The bodies of the devices that bear one of these names, without those around them. */
function devices(table: Code, ids: ReadonlySet<string>): Span[] {
  const found: Span[] = [];
  for (const reader of occurrences(table, whole(table), EXT_OP_PREFIX, DEVICE_OP)) {
    const end = reader.packageEnd();
    if (end === undefined || reader.name() === undefined) continue;
    const body = { start: reader.at, end };
    if (hasDeviceId(table, body, ids)) found.push(body);
  }
  return found.filter(outer => !found.some(inner => inner.start > outer.start && inner.end <= outer.end));
}

function hasDeviceId(table: Code, body: Span, ids: ReadonlySet<string>): boolean {
  for (const reader of occurrences(table, body, NAME_OP)) {
    const name = reader.segment();
    if (name !== '_HID' && name !== '_CID') continue;
    if (strings(reader).some(id => ids.has(id.toUpperCase()))) return true;
  }
  return false;
}

/** A string, or those that a package begins with. */
function strings(reader: AmlReader): string[] {
  const list: string[] = [];
  if (reader.skip(PACKAGE_OP)) {
    if (reader.packageEnd() === undefined) return list;
    reader.byte();
  }
  for (let next = reader.string(); next !== undefined; next = reader.string()) list.push(next);
  return list;
}

/** The memory in the device's _CRS: a buffer, by itself or out of a method. */
function resourcesOf(device: Span, table: Code): MemoryRange | undefined {
  for (const reader of occurrences(table, device, NAME_OP)) {
    if (reader.segment() !== '_CRS') continue;
    const template = reader.buffer();
    if (template) return memoryRange(template);
  }
  for (const reader of occurrences(table, device, METHOD_OP)) {
    const end = reader.packageEnd();
    if (end === undefined || reader.segment() !== '_CRS' || reader.byte() === undefined) continue;
    for (const returned of occurrences(table, { start: reader.at, end }, RETURN_OP)) {
      const template = returned.buffer();
      if (template) return memoryRange(template);
    }
  }
  return undefined;
}

/** What the device's ADDR says: a package of two numbers, by itself or out of a method. */
function addressOf(device: Span, table: Code, all: readonly Code[]): Address | undefined {
  for (const reader of occurrences(table, device, NAME_OP)) {
    if (reader.segment() !== 'ADDR') continue;
    const pair = packagePair(reader, table, all);
    if (pair) return pair;
  }
  for (const reader of occurrences(table, device, METHOD_OP)) {
    const end = reader.packageEnd();
    if (end === undefined || reader.segment() !== 'ADDR' || reader.byte() === undefined) continue;
    return returnedPair(table, { start: reader.at, end }, all);
  }
  return undefined;
}

function packagePair(reader: AmlReader, table: Code, all: readonly Code[]): Address | undefined {
  if (!reader.skip(PACKAGE_OP) || reader.packageEnd() === undefined || !reader.skip(2)) return undefined;
  const low = number(reader, table, all);
  const high = low && number(reader, table, all);
  return high && { low, high };
}

// QEMU: Store(Add(VGIA, 0x28), Index(Local0, 0)). Hyper-V: Store(GCAL, Index(LPKG, 0)), Store(GCAH, Index(LPKG, 1)).
function returnedPair(table: Code, method: Span, all: readonly Code[]): Address | undefined {
  for (const reader of occurrences(table, method, RETURN_OP)) {
    const pair = packagePair(reader, table, all);
    if (pair) return pair;
  }
  const stored: (TableNumber | undefined)[] = [];
  for (const reader of occurrences(table, method, STORE_OP)) {
    const value = number(reader, table, all);
    if (!value || !reader.skip(INDEX_OP) || !reader.variable()) continue;
    const index = reader.integer();
    if (index !== 0 && index !== 1) continue;
    // Stored to twice: which of them holds depends on what the method does between.
    if (stored[index]) return undefined;
    stored[index] = value;
  }
  const [low, high = { plus: 0 }] = stored;
  return low && { low, high };
}

/** A constant, a sum, or a name that stands for one. */
function number(reader: AmlReader, table: Code, all: readonly Code[]): TableNumber | undefined {
  return reader.attempt(() => {
    const constant = reader.integer();
    if (constant !== undefined) return { plus: constant };
    if (!reader.skip(ADD_OP)) return named(reader, table, all);
    const left = simple(reader, table, all);
    const right = left && simple(reader, table, all);
    // The sum is stored nowhere but in what the opcode itself gives.
    if (!right || !reader.skip(ZERO_OP) || (left.from !== undefined && right.from !== undefined))
      return undefined;
    const from = left.from ?? right.from;
    return { plus: left.plus + right.plus, from };
  });
}

function simple(reader: AmlReader, table: Code, all: readonly Code[]): TableNumber | undefined {
  const constant = reader.integer();
  return constant === undefined ? named(reader, table, all) : { plus: constant };
}

/** What a name stands for, if every definition of it agrees: first in its own table, then in all of them. */
function named(reader: AmlReader, table: Code, all: readonly Code[]): TableNumber | undefined {
  const name = reader.name();
  if (name === undefined) return undefined;
  const here = definitions(name, [table], all);
  const [first, ...others] = here.length > 0 ? here : definitions(name, all, all);
  return first && others.every(other => sameNumber(first, other)) ? first : undefined;
}

function definitions(name: string, tables: readonly Code[], all: readonly Code[]): TableNumber[] {
  return tables.flatMap(table => {
    const found: TableNumber[] = [];
    for (const reader of occurrences(table, whole(table), NAME_OP)) {
      const constant = reader.name() === name ? reader.integer() : undefined;
      if (constant !== undefined) found.push({ plus: constant });
    }
    for (const reader of occurrences(table, whole(table), EXT_OP_PREFIX, FIELD_OP)) {
      const from = fieldAddress(reader, name, [table, ...all]);
      if (from !== undefined) found.push({ plus: 0, from });
    }
    return found;
  });
}

/** Where a field of 32 bits lies in physical memory. */
function fieldAddress(reader: AmlReader, name: string, tables: readonly Code[]): number | undefined {
  const end = reader.packageEnd();
  const region = reader.name();
  if (end === undefined || region === undefined || reader.byte() === undefined) return undefined;
  const list = new AmlReader(reader.bytes, reader.at, end);
  let bits = 0;
  while (list.at < end) {
    if (list.skip(0x01)) {
      // AccessField: type and attribute.
      list.at += 2;
      continue;
    }
    // ReservedField: a gap without a name.
    const gap = list.skip(ZERO_OP);
    const field = gap ? undefined : list.segment();
    const width = gap || field !== undefined ? list.length() : undefined;
    if (width === undefined) return undefined;
    if (field === name)
      return width === FIELD_BITS && bits % 8 === 0 ? regionAddress(region, bits / 8, tables) : undefined;
    bits += width;
  }
  return undefined;
}

function regionAddress(name: string, offset: number, tables: readonly Code[]): number | undefined {
  for (const table of tables) {
    for (const reader of occurrences(table, whole(table), EXT_OP_PREFIX, OP_REGION_OP)) {
      if (reader.name() !== name || reader.byte() !== SYSTEM_MEMORY) continue;
      const start = reader.integer();
      const length = start === undefined ? undefined : reader.integer();
      if (start === undefined || length === undefined || offset + FIELD_BITS / 8 > length) continue;
      return start + offset;
    }
  }
  return undefined;
}

function sameNumber(a: TableNumber, b: TableNumber): boolean {
  return a.plus === b.plus && a.from === b.from;
}
