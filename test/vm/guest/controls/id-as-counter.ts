// In place of vmgenid/sources/acpi.js: the page says that there was a fork, and not which clone this is. What vmclock
// says on machines that have it.

import type * as Acpi from '../../../../vmgenid/sources/acpi.js';
import type { Uniqueness } from '../../../../vmgenid/source.js';

const beside: string = './acpi.original.js';
const original: typeof Acpi = await import(beside);

export class AcpiSource extends original.AcpiSource {
  constructor(options?: Acpi.AcpiSourceOptions) {
    super(options);
    (this as { uniqueness: Uniqueness }).uniqueness = 'counter';
  }
}
