// The ACPI tables of this machine, as the kernel shows them to root.
// Promises: those with code, also those that were loaded later; where they cannot be read, the reason is said.
// Read on: acpi-tables.ts, which understands them; Linux Documentation/ABI/testing/sysfs-firmware-acpi.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { AcpiTable } from './acpi-tables.js';
import { unavailable } from './errors.js';

export const ACPI_TABLES = '/sys/firmware/acpi/tables';
/** Tables with code. */
const CODE_TABLE = /^(DSDT|SSDT\d*)$/;

/** The definition blocks in this folder. Throws `ERR_SOURCE_UNAVAILABLE`. */
export function readTables(folder: string): AcpiTable[] {
  try {
    const loadedLater = join(folder, 'dynamic');
    const folders = existsSync(loadedLater) ? [folder, loadedLater] : [folder];
    return folders.flatMap(from =>
      readdirSync(from)
        .filter(name => CODE_TABLE.test(name))
        .map(name => ({ name, bytes: readFileSync(join(from, name)) })),
    );
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw unavailable(`this machine shows no ACPI tables (${folder})`, error);
    if (code === 'EACCES') throw unavailable(`reading ${folder} needs root`, error);
    throw unavailable(message, error);
  }
}
