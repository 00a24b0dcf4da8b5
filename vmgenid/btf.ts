// Where the members of the kernel's structures lie in the kernel that runs, by its own description of its types (BTF).
// Promises: computation only; a description is taken for what it says or refused with the reason, whatever bytes it holds.
// Read on: Linux Documentation/bpf/btf.rst.

import { VmGenIdError } from './errors.js';

const MAGIC = 0xeb9f;
/** What every type begins with: name, kind and count, size or another type. */
const TYPE_BYTES = 12;
const STRUCT = 4;
/** Bytes that follow, by kind: once, or for each of the kind's members. */
const ONCE = new Map([
  [1, 4],
  [3, 12],
  [14, 4],
  [17, 4],
]);
const EACH = new Map([
  [STRUCT, 12],
  [5, 12],
  [6, 8],
  [13, 8],
  [15, 12],
  [19, 12],
]);
const LAST_KIND = 19;
const MEMBER_BYTES = 12;

/** A description in its two parts. */
export interface Btf {
  readonly types: DataView;
  /** Names, each ended by a zero. */
  readonly strings: Buffer;
}

/**
 * Takes a description apart, as `/sys/kernel/btf` has them. `base`: what that of a module goes on from. Throws
 * `ERR_SOURCE_FORMAT`.
 */
export function readBtf(bytes: Uint8Array, base?: Btf): Btf {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 24 || view.getUint16(0, true) !== MAGIC) throw malformed('wrong magic');
  const [header, typesAt, typesLength, stringsAt, stringsLength] = [4, 8, 12, 16, 20].map(at =>
    view.getUint32(at, true),
  );
  if (header + Math.max(typesAt + typesLength, stringsAt + stringsLength) > bytes.length)
    throw malformed('cut off');
  const own = Buffer.from(bytes.buffer, bytes.byteOffset + header + stringsAt, stringsLength);
  return {
    types: new DataView(bytes.buffer, bytes.byteOffset + header + typesAt, typesLength),
    strings: base ? Buffer.concat([base.strings, own]) : own,
  };
}

/** The offsets of members in bytes, by the name of their structure: `offsets.device.driver`. */
export type MemberOffsets<W extends Readonly<Record<string, readonly string[]>>> = {
  readonly [S in keyof W]?: Readonly<Record<W[S][number], number>>;
};

/** Of these structures and their members. A structure that is not described with all of them is left out. */
export function memberOffsets<const W extends Readonly<Record<string, readonly string[]>>>(
  { types, strings }: Btf,
  wanted: W,
): MemberOffsets<W> {
  const found: Record<string, Record<string, number>> = {};
  // Names are kept once, so that to compare a name is to compare where it stands.
  const sought = new Map<number, string>();
  for (const name of Object.keys(wanted)) {
    const before = strings.indexOf(`\0${name}\0`, 0, 'latin1');
    if (before !== -1) sought.set(before + 1, name);
  }
  for (let at = 0, end = 0; at < types.byteLength && sought.size > 0; at = end) {
    end = endOfType(types, at);
    const info = types.getUint32(at + 4, true);
    const name = kindOf(info) === STRUCT ? sought.get(types.getUint32(at, true)) : undefined;
    if (name === undefined) continue;
    // With the uppermost bit of `info`, eight bits of an offset are the width of a bit field.
    const mask = info >>> 31 === 1 ? 0x00ff_ffff : 0xffff_ffff;
    const offsets: Record<string, number> = {};
    for (let member = at + TYPE_BYTES; member < end; member += MEMBER_BYTES) {
      const text = textAt(strings, types.getUint32(member, true));
      if (wanted[name].includes(text)) offsets[text] = ((types.getUint32(member + 8, true) & mask) >>> 0) / 8;
    }
    if (Object.keys(offsets).length < wanted[name].length) continue;
    found[name] = offsets;
    sought.delete(types.getUint32(at, true));
  }
  return found as MemberOffsets<W>;
}

function endOfType(types: DataView, at: number): number {
  if (at + TYPE_BYTES > types.byteLength) throw malformed('cut off');
  const info = types.getUint32(at + 4, true);
  const kind = kindOf(info);
  if (kind > LAST_KIND) throw malformed(`a type of unknown kind ${kind}`);
  const end = at + TYPE_BYTES + (ONCE.get(kind) ?? 0) + (EACH.get(kind) ?? 0) * (info & 0xffff);
  if (end > types.byteLength) throw malformed('cut off');
  return end;
}

function kindOf(info: number): number {
  return (info >>> 24) & 0x1f;
}

function textAt(strings: Buffer, at: number): string {
  return strings.toString('latin1', at, strings.indexOf(0, at));
}

function malformed(reason: string): VmGenIdError {
  return new VmGenIdError('ERR_SOURCE_FORMAT', `the kernel's description of its types: ${reason}`);
}
