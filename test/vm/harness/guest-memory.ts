// The memory of a machine, as its hypervisor sees it: written while no processor of the machine runs.
// Promises: it is the machine's own, shared with the emulator's process, and gone with it.
// Read on: QEMU docs/system/qemu-manpage (memory-backend-memfd); memfd_create(2).

import { closeSync, openSync, readSync, readdirSync, readlinkSync, writeSync } from 'node:fs';

export class GuestMemory {
  readonly #fd: number;
  readonly #start: number;

  /** `start`: the physical address of its first byte. */
  constructor(process: number, start: number) {
    const folder = `/proc/${process}/fd`;
    const memory = readdirSync(folder).find(fd => readlinkSync(`${folder}/${fd}`).startsWith('/memfd:'));
    if (memory === undefined) throw new Error(`process ${process} has no memory that is shared`);
    this.#fd = openSync(`${folder}/${memory}`, 'r+');
    this.#start = start;
  }

  read(address: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    readSync(this.#fd, bytes, 0, length, address - this.#start);
    return bytes;
  }

  write(address: number, bytes: Uint8Array): void {
    writeSync(this.#fd, bytes, 0, bytes.length, address - this.#start);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
