// ACPI tables with a generation ID, as hypervisors make them, and a machine in a folder: tables beside a memory.
// The tables of QEMU were read in a guest of QEMU 7.2; the others were compiled by iasl from the source that stands
// above each, which has the form that the hypervisor publishes.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const decode = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));

/** `Name (VGIA, 0x1FFFF000)`, and ADDR returns VGIA + 0x28. */
export const QEMU_SSDT = decode(
  'U1NEVMoAAAABM0JPQ0hTIFZNR0VOSUQAAQAAAEJYUEMBAAAACFZHSUEMAPD/HxBBCFxfU0JfW4JIB1ZHRU4IX0hJRA1RRU1VVkdJRAAIX0NJ' +
    'RA1WTV9HZW5fQ291bnRlcgAIX0RETg1WTV9HZW5fQ291bnRlcgAUF19TVEEAcAoPYKAKk1ZHSUEAcABgpGAUIEFERFIAcBICAmBwclZHSUEK' +
    'KACIYAAAcACIYAEApGAUGVwuX0dQRV9FMDUAhlwuX1NCX1ZHRU4KgA==',
);
export const QEMU_VGIA = 0x1fff_f000;
/** Where the number of VGIA stands in the table. */
const QEMU_VGIA_AT = 42;

/** QEMU's table with the page somewhere else. 0: the firmware has not placed it. */
export function qemuTable(vgia: number): Uint8Array {
  const table = QEMU_SSDT.slice();
  new DataView(table.buffer).setUint32(QEMU_VGIA_AT, vgia, true);
  return table;
}

// Device (\_SB.VGEN) {
//   Name (_HID, "FCVM0000") Name (_CID, "VM_Gen_Counter") Name (ADDR, Package () { 0xBFFFF0A8, 0x12 }) }
// Device (\_SB.GED) { Name (_HID, "ACPI0013") Name (ADDR, Package () { 1, 2 }) }
export const FIRECRACKER_DSDT = decode(
  'RFNEVIkAAAACRVdJUkVPTkZJUkVDUksAAQAAAElOVEwlCSAgW4I9Ll9TQl9WR0VOCF9ISUQNRkNWTTAwMDAACF9DSUQNVk1fR2VuX0NvdW50' +
    'ZXIACEFERFISCQIMqPD/vwoSW4IkLl9TQl9HRURfCF9ISUQNQUNQSTAwMTMACEFERFISBQIBCgI=',
);

// OperationRegion (BIOS, SystemMemory, 0x1F7E4000, 0xFF)
// Field (BIOS, ByteAcc, NoLock, Preserve) {
//   AAAA, 8, BBBB, 24, , 32, Offset (0x10), GCAL, 32, GCAH, 32, ZZZZ, 1 }
// Device (\_SB.BUS0) { Name (_HID, "ACPI0004")
//   Device (GENC) {
//     Name (_HID, "MSFT1002") Name (_CID, Package () { "OTHER", "VMGENCTR" })
//     Method (ADDR, 0) {
//       Name (LPKG, Package () { 0, 0 })
//       Store (GCAL, Index (LPKG, 0)) Store (GCAH, Index (LPKG, 1)) Return (LPKG) } } }
export const HYPERV_DSDT = decode(
  'RFNEVNIAAAACRVdJUkVPTkhZUEVSVgAAAQAAAElOVEwlCSAgW4BCSU9TAAwAQH4fCv9bgSRCSU9TAUFBQUEIQkJCQhgAIABABEdDQUwgR0NB' +
    'SCBaWlpaAVuCSAcuX1NCX0JVUzAIX0hJRA1BQ1BJMDAwNABbgkwFR0VOQwhfSElEDU1TRlQxMDAyAAhfQ0lEEhMCDU9USEVSAA1WTUdFTkNU' +
    'UgAULUFERFIACExQS0cSBAIAAHBHQ0FMiExQS0cAAHBHQ0FIiExQS0cBAKRMUEtH',
);
export const HYPERV_REGION = 0x1f7e_4000;

// Scope (\_SB) {
//   OperationRegion (BIOS, SystemMemory, 0xFC000000, 40)
//   Field (BIOS, DWordAcc, NoLock, Preserve) { UAR1, 1, UAR2, 1, Offset (4), VGIA, 32 }
//   Device (PCI0) { Name (_HID, EisaId ("PNP0A03"))
//     Device (VGID) { Name (_HID, "XEN0000") Name (_CID, "VM_Gen_Counter") Name (PKG, Package () { 0, 0 })
//       Method (ADDR, 0) { Store (\_SB.VGIA, Index (PKG, 0)) Return (PKG) } } } }
export const XEN_DSDT = decode(
  'RFNEVLEAAAACjVdJUkVPTlhFTgAAAAAAAQAAAElOVEwlCSAgEEwIX1NCX1uAQklPUwAMAAAA/AooW4EXQklPUwNVQVIxAVVBUjIBAB5WR0lB' +
    'IFuCTQVQQ0kwCF9ISUQMQdAKA1uCSwRWR0lECF9ISUQNWEVOMDAwMAAIX0NJRA1WTV9HZW5fQ291bnRlcgAIUEtHXxIEAgAAFBdBRERSAHBW' +
    'R0lBiFBLR18AAKRQS0df',
);

// Device (\_SB.VCLK) { Name (_HID, "AMZNC10C") Name (_CID, "VMCLOCK") Name (_DDN, "VMCLOCK") Method (_STA, 0) { Return (0x0F) }
//   Name (_CRS, ResourceTemplate () { QWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadOnly,
//     0, 0x0C000000, 0x0C000FFF, 0, 0x1000) }) }
export const VMCLOCK_SSDT = decode(
  'U1NEVKAAAAAC6VdJUkVPTlZNQ0xPQ0sAAQAAAElOVEwlCSAgW4JKB1wuX1NCX1ZDTEsIX0hJRA1BTVpOQzEwQwAIX0NJRA1WTUNMT0NLAAhfRE' +
    'RODVZNQ0xPQ0sAFAlfU1RBAKQKDwhfQ1JTETMKMIorAAANAgAAAAAAAAAAAAAADAAAAAD/DwAMAAAAAAAAAAAAAAAAABAAAAAAAAB5AA==',
);
/** Where the address stands in it. */
const VMCLOCK_AT = 126;

/** The same with the page somewhere else. */
export function vmclockTable(address: number): Uint8Array {
  const table = VMCLOCK_SSDT.slice();
  new DataView(table.buffer).setUint32(VMCLOCK_AT, address, true);
  return table;
}

/** A folder of tables, and a file in the place of physical memory. */
export class AcpiMachine {
  readonly folder: string;
  readonly tables: string;
  readonly memory: string;
  readonly #bytes: Buffer;

  constructor(tables: Readonly<Record<string, Uint8Array>>, memoryBytes = 65_536) {
    this.folder = mkdtempSync(join(tmpdir(), 'wireonce-acpi-'));
    this.tables = join(this.folder, 'tables');
    this.memory = join(this.folder, 'mem');
    this.#bytes = Buffer.alloc(memoryBytes);
    mkdirSync(this.tables);
    for (const [name, bytes] of Object.entries(tables)) this.setTable(name, bytes);
    writeFileSync(this.memory, this.#bytes);
  }

  /** A machine of QEMU's form whose page lies at 0x2000. */
  static qemu(vmGenId: Uint8Array): AcpiMachine {
    const machine = new AcpiMachine({ SSDT1: qemuTable(0x2000) });
    machine.write(0x2028, vmGenId);
    return machine;
  }

  setTable(name: string, bytes: Uint8Array): void {
    mkdirSync(join(this.tables, name, '..'), { recursive: true });
    writeFileSync(join(this.tables, name), bytes);
  }

  /** What a hypervisor does: memory changes under those who have mapped it. */
  write(address: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, address);
    // In place: a mapping is of the file that it was made of.
    writeFileSync(this.memory, this.#bytes, { flag: 'r+' });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
