// The generation-ID page that the ACPI tables of the machine name.
// Promises: those of generation-page.ts; the tables are read once.
// Read on: ../acpi-tables.ts, which understands them.

import { ACPI_TABLES, readTables } from '../acpi-files.js';
import { type TableNumber, findGenerationId } from '../acpi-tables.js';
import type { PhysicalMemory } from '../physical-memory.js';
import { type GenerationPageOptions, GenerationPageSource, type PagePlace } from './generation-page.js';

/** Where the ACPI tables and the memory of the machine are. */
export interface AcpiSourceOptions extends GenerationPageOptions {
  /** The folder that holds the tables as files. Default `/sys/firmware/acpi/tables`. */
  readonly tables?: string | undefined;
}

/** Immediate and unique: the best there is. Needs root, and the optional package koffi. */
export class AcpiSource extends GenerationPageSource {
  readonly #tables: string;

  constructor(options: AcpiSourceOptions = {}) {
    const { tables = ACPI_TABLES } = options;
    super(tables === ACPI_TABLES ? 'acpi' : `acpi:${tables}`, options);
    this.#tables = tables;
  }

  protected find(memory: PhysicalMemory): PagePlace {
    const { table, low, high } = findGenerationId(readTables(this.#tables));
    const address = numberOf(low, memory) + numberOf(high, memory) * 2 ** 32;
    return { teller: `ACPI table ${table}`, address };
  }
}

function numberOf({ plus, from }: TableNumber, memory: PhysicalMemory): number {
  if (from === undefined) return plus;
  // Firmware fields need not lie on a multiple of 4.
  const mapping = memory.map(from - (from % 4), 2);
  try {
    const bytes = new DataView(mapping.words.buffer, mapping.words.byteOffset + (from % 4), 4);
    return plus + bytes.getUint32(0, true);
  } finally {
    mapping.close();
  }
}
