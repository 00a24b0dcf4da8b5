// As much of the ACPI Machine Language as it takes to find a name, a constant or a field in a table.
// Promises: reads nothing outside its bounds and never throws; what is not of the form asked for gives undefined, and
// the reader stays where it was.
// Read on: ACPI 6.5, section 20.2 (the grammar; its terms are the names here).

/** One-byte opcodes. */
export const ZERO_OP = 0x00;
export const NAME_OP = 0x08;
export const BUFFER_OP = 0x11;
export const PACKAGE_OP = 0x12;
export const METHOD_OP = 0x14;
export const STORE_OP = 0x70;
export const ADD_OP = 0x72;
export const INDEX_OP = 0x88;
export const RETURN_OP = 0xa4;
/** The second byte of an opcode that begins with EXT_OP_PREFIX. */
export const EXT_OP_PREFIX = 0x5b;
export const OP_REGION_OP = 0x80;
export const FIELD_OP = 0x81;
export const DEVICE_OP = 0x82;

const ONE_OP = 0x01;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const STRING_PREFIX = 0x0d;
const QWORD_PREFIX = 0x0e;
const DUAL_NAME_PREFIX = 0x2e;
const MULTI_NAME_PREFIX = 0x2f;
const ROOT_CHAR = 0x5c;
const PARENT_PREFIX_CHAR = 0x5e;
const LOCAL0_OP = 0x60;
const ARG6_OP = 0x6e;
const SEG_BYTES = 4;

/** Bytes behind the prefix of a constant. */
const CONSTANT_BYTES: Readonly<Record<number, number>> = {
  [BYTE_PREFIX]: 1,
  [WORD_PREFIX]: 2,
  [DWORD_PREFIX]: 4,
  [QWORD_PREFIX]: 8,
};

export class AmlReader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = Math.min(end, bytes.length);
  }

  /** Reads by `parse`; the reader goes back to where it was when that gives undefined. */
  attempt<T>(parse: () => T | undefined): T | undefined {
    const start = this.at;
    const parsed = parse();
    if (parsed === undefined) this.at = start;
    return parsed;
  }

  byte(): number | undefined {
    return this.at < this.end ? this.bytes[this.at++] : undefined;
  }

  /** True, and past them, when these bytes come next. */
  skip(...expected: readonly number[]): boolean {
    if (this.at + expected.length > this.end) return false;
    if (!expected.every((byte, i) => this.bytes[this.at + i] === byte)) return false;
    this.at += expected.length;
    return true;
  }

  /** A PkgLength: the number itself, as a field's width in bits has it. */
  length(): number | undefined {
    return this.attempt(() => {
      const lead = this.byte();
      if (lead === undefined) return undefined;
      const more = lead >> 6;
      if (more === 0) return lead;
      let length = lead & 0x0f;
      for (let i = 0; i < more; i++) {
        const next = this.byte();
        if (next === undefined) return undefined;
        length += next * 2 ** (4 + 8 * i);
      }
      return length;
    });
  }

  /** The PkgLength of a package: where the package ends. It counts from its own first byte. */
  packageEnd(): number | undefined {
    return this.attempt(() => {
      const start = this.at;
      const length = this.length();
      if (length === undefined || start + length < this.at || start + length > this.end) return undefined;
      return start + length;
    });
  }

  /** A constant below 2^53. */
  integer(): number | undefined {
    return this.attempt(() => {
      const prefix = this.byte();
      if (prefix === ZERO_OP || prefix === ONE_OP) return prefix;
      const size = prefix === undefined ? undefined : CONSTANT_BYTES[prefix];
      if (size === undefined || this.at + size > this.end) return undefined;
      let value = 0;
      for (let i = 0; i < size; i++) value += this.bytes[this.at++] * 2 ** (8 * i);
      return Number.isSafeInteger(value) ? value : undefined;
    });
  }

  string(): string | undefined {
    return this.attempt(() => {
      if (!this.skip(STRING_PREFIX)) return undefined;
      let text = '';
      for (let byte = this.byte(); byte !== 0; byte = this.byte()) {
        if (byte === undefined) return undefined;
        text += String.fromCharCode(byte);
      }
      return text;
    });
  }

  /** The bytes that a Buffer is made with. */
  buffer(): Uint8Array | undefined {
    return this.attempt(() => {
      const end = this.skip(BUFFER_OP) ? this.packageEnd() : undefined;
      return end === undefined || this.integer() === undefined
        ? undefined
        : this.bytes.subarray(this.at, end);
    });
  }

  /** The last segment of a NameString: `GENC` of `\_SB.VMOD.GENC`. */
  name(): string | undefined {
    return this.attempt(() => {
      if (!this.skip(ROOT_CHAR)) while (this.skip(PARENT_PREFIX_CHAR));
      let segments: number | undefined = 1;
      if (this.skip(DUAL_NAME_PREFIX)) segments = 2;
      else if (this.skip(MULTI_NAME_PREFIX)) segments = this.byte();
      let last: string | undefined;
      for (let i = 0; i < (segments ?? 0); i++) {
        last = this.segment();
        if (last === undefined) return undefined;
      }
      return last;
    });
  }

  /** Four characters that name something. */
  segment(): string | undefined {
    if (this.at + SEG_BYTES > this.end) return undefined;
    const text = String.fromCharCode(...this.bytes.subarray(this.at, this.at + SEG_BYTES));
    if (!/^[A-Z_][A-Z0-9_]{3}$/.test(text)) return undefined;
    this.at += SEG_BYTES;
    return text;
  }

  /** A local variable, an argument of a method, or a name: where a value is kept. */
  variable(): boolean {
    const byte = this.at < this.end ? this.bytes[this.at] : 0;
    if (byte >= LOCAL0_OP && byte <= ARG6_OP) {
      this.at++;
      return true;
    }
    return this.name() !== undefined;
  }
}
