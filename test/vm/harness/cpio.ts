// A cpio archive in the "newc" form: what the Linux kernel unpacks into its first file system.
// Promises: the same entries give the same bytes; owners are root and times are zero.
// Read on: Linux Documentation/driver-api/early-userspace/buffer-format.rst.

import { closeSync, openSync, writeSync } from 'node:fs';

export interface CpioEntry {
  /** Without a leading slash. Folders come before what is in them. */
  readonly path: string;
  readonly kind: 'file' | 'folder' | 'link';
  readonly executable?: boolean;
  /** A file's bytes, or where a link points. */
  readonly data?: Uint8Array;
}

const MODES = { file: 0o100644, folder: 0o040755, link: 0o120777 };
const EXECUTABLE = 0o111;
const EMPTY = new Uint8Array(0);

/** Writes the archive to a file, entry by entry. */
export function writeCpio(file: string, entries: Iterable<CpioEntry>): void {
  const fd = openSync(file, 'w');
  try {
    let inode = 1;
    for (const { path, kind, executable = false, data = EMPTY } of entries) {
      writeEntry(fd, inode++, MODES[kind] | (executable ? EXECUTABLE : 0), path, data);
    }
    writeEntry(fd, 0, 0, 'TRAILER!!!', EMPTY);
  } finally {
    closeSync(fd);
  }
}

function writeEntry(fd: number, inode: number, mode: number, path: string, data: Uint8Array): void {
  const name = Buffer.from(`${path}\0`);
  // inode mode uid gid links mtime size, then four device numbers, the name's length and a checksum that is not used
  const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = `070701${fields.map(field => field.toString(16).padStart(8, '0')).join('')}`;
  const head = Buffer.concat([Buffer.from(header), name]);
  for (const part of [head, data]) {
    writeAll(fd, part);
    writeAll(fd, new Uint8Array(-part.length & 3));
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}
