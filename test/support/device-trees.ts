// A device tree in a folder, as the kernel shows one, beside a file in the place of physical memory.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Nodes by their paths, and their properties: cells, text, or bytes. */
export type Nodes = Readonly<
  Record<string, Readonly<Record<string, readonly number[] | string | Uint8Array>>>
>;

/** A root as on any 64-bit machine. */
export const ROOT = { '#address-cells': [2], '#size-cells': [2], compatible: 'linux,dummy-virt' };

export class DeviceTreeMachine {
  readonly folder: string;
  readonly tree: string;
  readonly memory: string;
  readonly #bytes: Buffer;

  constructor(nodes: Nodes, memoryBytes = 65_536) {
    this.folder = mkdtempSync(join(tmpdir(), 'wireonce-tree-'));
    this.tree = join(this.folder, 'base');
    this.memory = join(this.folder, 'mem');
    this.#bytes = Buffer.alloc(memoryBytes);
    writeFileSync(this.memory, this.#bytes);
    for (const [path, properties] of Object.entries({ '/': ROOT, ...nodes })) {
      const node = join(this.tree, path);
      mkdirSync(node, { recursive: true });
      for (const [name, value] of Object.entries(properties)) writeFileSync(join(node, name), encoded(value));
    }
  }

  /** What a hypervisor does: memory changes under those who have mapped it. */
  write(address: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, address);
    writeFileSync(this.memory, this.#bytes, { flag: 'r+' });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function encoded(value: readonly number[] | string | Uint8Array): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') return Buffer.from(`${value}\0`);
  const bytes = Buffer.alloc(4 * value.length);
  value.forEach((cell, i) => bytes.writeUInt32BE(cell, 4 * i));
  return bytes;
}
