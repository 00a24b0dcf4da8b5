// A kernel that runs programs of BPF: with memory that a test lays out, and nothing readable beside it.
// Promises: it knows the instructions and helpers that are used, by their opcodes, and throws at every other.
// Read on: Linux Documentation/bpf/standardization/instruction-set.rst.

import { openSync } from 'node:fs';
import type { BpfKernel } from 'wireonce/vmgenid';

/** Where the thread that runs is described. */
export const TASK = 0xffff_8880_0000_1000n;
const FRAME = 0xffff_c900_0000_2000n;
const CONTEXT = 0xffff_c900_0000_3000n;
const FRAME_BYTES = 512n;
const GET_CURRENT_TASK = 35;
const PROBE_READ_KERNEL = 113;
const EFAULT = 14n;
const EAGAIN = 11;
const MASK = (1n << 64n) - 1n;

export class FakeBpfKernel implements BpfKernel {
  /** An error number in place of a descriptor, for the next program. */
  refuses = 0;
  /** An error number in place of a run. */
  stops = 0;
  /** So many loads from now on are broken off by a signal. */
  interrupted = 0;
  loads = 0;
  runs = 0;
  readonly #memory = new Map<bigint, number>();
  readonly #programs = new Map<number, Uint8Array>();

  /** Bytes that can be read from here on. */
  write(address: bigint, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) this.#memory.set(address + BigInt(i), byte);
  }

  pointer(address: bigint, to: bigint): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(to);
    this.write(address, bytes);
  }

  text(address: bigint, text: string): void {
    this.write(address, Buffer.from(`${text}\0`.padEnd(8, '\0')));
  }

  unmap(address: bigint, length: number): void {
    for (let i = 0; i < length; i++) this.#memory.delete(address + BigInt(i));
  }

  load(instructions: Uint8Array): number {
    this.loads++;
    if (this.interrupted > 0) return this.interrupted-- && -EAGAIN;
    if (this.refuses > 0) return -this.refuses;
    const fd = openSync('/dev/null', 'r');
    this.#programs.set(fd, instructions);
    return fd;
  }

  prepare(program: number, contextBytes: number) {
    const context = new Uint32Array(contextBytes / 4);
    const run = () => {
      this.runs++;
      const code = this.#programs.get(program);
      if (!code) return -9;
      return this.stops > 0 ? -this.stops : this.#execute(code, new DataView(context.buffer));
    };
    return { context, run };
  }

  #execute(code: Uint8Array, context: DataView): number {
    const view = new DataView(code.buffer, code.byteOffset, code.length);
    const frame = new DataView(new ArrayBuffer(Number(FRAME_BYTES)));
    const place = (address: bigint): [DataView, number] => {
      if (address >= FRAME - FRAME_BYTES && address < FRAME)
        return [frame, Number(address - FRAME + FRAME_BYTES)];
      if (address >= CONTEXT && address < CONTEXT + BigInt(context.byteLength))
        return [context, Number(address - CONTEXT)];
      throw new Error(`a program may not touch 0x${address.toString(16)} by itself`);
    };
    const r = Array.from({ length: 11 }, () => 0n);
    r[1] = CONTEXT;
    r[10] = FRAME;
    for (let at = 0; ; at++) {
      const opcode = view.getUint8(at * 8);
      const registers = view.getUint8(at * 8 + 1);
      const [dst, src] = [registers & 15, registers >> 4];
      const offset = view.getInt16(at * 8 + 2, true);
      const number = BigInt(view.getInt32(at * 8 + 4, true));
      switch (opcode) {
        case 0xbf:
          r[dst] = r[src];
          break;
        case 0xb7:
          r[dst] = number & MASK;
          break;
        case 0x07:
          r[dst] = (r[dst] + number) & MASK;
          break;
        case 0x0f:
          r[dst] = (r[dst] + r[src]) & MASK;
          break;
        case 0x67:
          r[dst] = (r[dst] << number) & MASK;
          break;
        case 0xc7:
          r[dst] = (BigInt.asIntN(64, r[dst]) >> number) & MASK;
          break;
        case 0x18: {
          at++;
          r[dst] = (number & 0xffff_ffffn) | (BigInt(view.getUint32(at * 8 + 4, true)) << 32n);
          break;
        }
        case 0x79:
        case 0x61: {
          const [from, index] = place(r[src] + BigInt(offset));
          r[dst] = opcode === 0x79 ? from.getBigUint64(index, true) : BigInt(from.getUint32(index, true));
          break;
        }
        case 0x7b: {
          const [to, index] = place(r[dst] + BigInt(offset));
          to.setBigUint64(index, r[src], true);
          break;
        }
        case 0x55:
          if (r[dst] !== (number & MASK)) at += offset;
          break;
        case 0x5d:
          if (r[dst] !== r[src]) at += offset;
          break;
        case 0xc5:
          if (BigInt.asIntN(64, r[dst]) < number) at += offset;
          break;
        case 0x85:
          r[0] = this.#help(Number(number), r, place);
          break;
        case 0x95:
          return Number(r[0] & 0xffff_ffffn);
        default:
          throw new Error(`no such instruction: 0x${opcode.toString(16)}`);
      }
    }
  }

  #help(helper: number, r: bigint[], place: (address: bigint) => [DataView, number]): bigint {
    const [, to, length, from] = r;
    r.fill(0xdead_dead_dead_deadn, 1, 6);
    if (helper === GET_CURRENT_TASK) return TASK;
    if (helper !== PROBE_READ_KERNEL) throw new Error(`no such helper: ${helper}`);
    const [memory, index] = place(to);
    const bytes = Array.from({ length: Number(length) }, (_, i) => this.#memory.get(from + BigInt(i)));
    const failed = bytes.includes(undefined);
    for (const [i, byte] of bytes.entries()) memory.setUint8(index + i, failed ? 0 : (byte ?? 0));
    return failed ? -EFAULT & MASK : 0n;
  }
}
