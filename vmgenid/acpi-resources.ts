// The memory that an ACPI device has, out of its resource template.
// Promises: computation only; what is not one piece of memory is undefined, whatever bytes there are.
// Read on: ACPI 6.5, section 6.4; Linux drivers/acpi/resource.c.

/** A piece of physical memory. */
export interface MemoryRange {
  readonly address: number;
  readonly bytes: number;
}

/** Bit 7: two bytes of length follow, and bits 0 to 6 are the type. Else bits 0 to 2 are the length. */
const LARGE = 0x80;
const END_TAG = 0x0f;
const MEMORY_32 = 0x85;
const MEMORY_32_FIXED = 0x86;
const DWORD_ADDRESS_SPACE = 0x87;
const QWORD_ADDRESS_SPACE = 0x8a;
/** Of an address space. */
const IS_MEMORY = 0;

/** The one piece of memory in a template, which its end tag closes. */
export function memoryRange(template: Uint8Array): MemoryRange | undefined {
  const view = new DataView(template.buffer, template.byteOffset, template.length);
  const found: MemoryRange[] = [];
  for (let at = 0; at < template.length; ) {
    const tag = template[at];
    const isLarge = (tag & LARGE) !== 0;
    if (!isLarge && tag >> 3 === END_TAG) return found.length === 1 ? found[0] : undefined;
    if (isLarge && at + 3 > template.length) return undefined;
    const start = at + (isLarge ? 3 : 1);
    const length = isLarge ? view.getUint16(at + 1, true) : tag & 7;
    at = start + length;
    if (at > template.length) return undefined;
    const range = descriptor(tag, new DataView(template.buffer, template.byteOffset + start, length));
    if (range === 'unfit') return undefined;
    if (range) found.push(range);
  }
  return undefined;
}

/** The memory that one descriptor speaks of; undefined where it speaks of something else. */
function descriptor(tag: number, body: DataView): MemoryRange | 'unfit' | undefined {
  switch (tag) {
    case MEMORY_32:
      // Information, minimum, maximum, alignment, length.
      return body.byteLength < 17
        ? 'unfit'
        : { address: body.getUint32(1, true), bytes: body.getUint32(13, true) };
    case MEMORY_32_FIXED:
      return body.byteLength < 9
        ? 'unfit'
        : { address: body.getUint32(1, true), bytes: body.getUint32(5, true) };
    case DWORD_ADDRESS_SPACE:
      return addressSpace(body, 4);
    case QWORD_ADDRESS_SPACE:
      return addressSpace(body, 8);
    default:
      return undefined;
  }
}

// Type and two bytes of flags; granularity, minimum, maximum, translation, length.
function addressSpace(body: DataView, width: 4 | 8): MemoryRange | 'unfit' | undefined {
  if (body.byteLength < 3 + 5 * width) return 'unfit';
  if (body.getUint8(0) !== IS_MEMORY) return undefined;
  const number = (index: number) => {
    const at = 3 + index * width;
    return width === 4 ? body.getUint32(at, true) : Number(body.getBigUint64(at, true));
  };
  return { address: number(1) + number(3), bytes: number(4) };
}
