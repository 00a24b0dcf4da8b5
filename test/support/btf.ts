// Descriptions of a kernel's types as a kernel writes them, with what else one holds between its structures.
// Read on: Linux Documentation/bpf/btf.rst.

/** Members with their offsets in bytes. */
export type Structures = Readonly<Record<string, Readonly<Record<string, number>>>>;

export interface BtfOptions {
  /** Of the description that this one goes on from. */
  readonly baseNames?: number;
  /** Say of every structure that it may hold bit fields. */
  readonly bitFields?: boolean;
  /** In place of 0xeb9f. */
  readonly magic?: number;
}

const HEADER_BYTES = 24;
const INT = 1;
const STRUCT = 4;
const ENUM = 6;
const FUNC_PROTO = 13;
/** One byte, then what it is for. */
const OTHERS: readonly (readonly number[])[] = [
  [0, (INT << 24) | 0, 4, 32],
  [0, (ENUM << 24) | 2, 4, 0, 0, 0, 1],
  [0, (FUNC_PROTO << 24) | 1, 1, 0, 1],
];

/** The bytes of such a file. */
export function btf(structures: Structures, options: BtfOptions = {}): Buffer {
  const { baseNames = 0, bitFields = false, magic = 0xeb9f } = options;
  let names = baseNames === 0 ? '\0' : '';
  const at = (name: string) => {
    const known = names.indexOf(`\0${name}\0`);
    if (known !== -1) return baseNames + known + 1;
    names += `${name}\0`;
    return baseNames + names.length - name.length - 1;
  };
  const words: number[] = [];
  for (const [name, members] of Object.entries(structures)) {
    words.push(...OTHERS.flat());
    const entries = Object.entries(members);
    words.push(at(name), (bitFields ? 0x8000_0000 : 0) | (STRUCT << 24) | entries.length, 4_096);
    for (const [member, offset] of entries)
      words.push(at(member), 1, offset * 8 + (bitFields ? 0x0800_0000 : 0));
  }
  const types = Buffer.alloc(words.length * 4);
  for (const [i, word] of words.entries()) types.writeInt32LE(word | 0, i * 4);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16LE(magic, 0);
  header.writeUInt8(1, 2);
  for (const [i, value] of [HEADER_BYTES, 0, types.length, types.length, names.length].entries())
    header.writeUInt32LE(value, 4 + i * 4);
  return Buffer.concat([header, types, Buffer.from(names, 'latin1')]);
}
