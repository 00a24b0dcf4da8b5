// A small program that runs in the kernel: put together from single instructions, loaded, and run by a call of ours.
// Promises: the kernel's verifier has checked it before it runs for the first time; what the kernel refuses is said.
// Read on: man 2 bpf; Linux Documentation/bpf/standardization/instruction-set.rst, kernel/bpf/syscall.c
// BPF_PROG_TEST_RUN; sources/bpf.ts, whose program it is.

import { VmGenIdError } from './errors.js';
import { type Koffi, loadKoffi } from '../native/koffi.js';
import { NativeMemory } from '../native/native-memory.js';

const SYS_BPF = process.arch === 'arm64' ? 280 : 321;
const BPF_PROG_LOAD = 5;
const BPF_PROG_TEST_RUN = 10;
/** Runs when it is called and at no other time; may sleep, as the kernel demands of this type (Linux 5.14). */
const BPF_PROG_TYPE_SYSCALL = 31;
const BPF_F_SLEEPABLE = 1 << 4;
/** Bytes of the union of arguments as far as it is used, by command. */
const LOAD_BYTES = 64;
const RUN_BYTES = 80;
const RETURNED_AT = 4;
/** The helper that reads memory of the kernel is for programs under a license that it may be linked with. */
const LICENSE = 'Dual MIT/GPL\0';
const NAME = 'wireonce';
const HELPER_GET_CURRENT_TASK = 35;
const HELPER_PROBE_READ_KERNEL = 113;
const INSTRUCTION_BYTES = 8;

/** Of registers R0 (what a helper returns) to R10 (the frame, below which are 512 bytes). */
type Register = 0 | 1 | 2 | 3 | 6 | 7 | 8 | 10;

/** Instructions one after the other. Whatever fails jumps to the end, which returns 1; else `finish` returns 0. */
export class BpfAssembler {
  readonly #code: number[] = [];
  readonly #toFailure: number[] = [];

  /** dst = src. */
  move(dst: Register, src: Register): void {
    this.#add(0xbf, dst, src);
  }

  /** dst += number. */
  add(dst: Register, number: number): void {
    this.#add(0x07, dst, 0, 0, number);
  }

  /** dst += src * 8. src is changed. */
  addTimes8(dst: Register, src: Register): void {
    this.#add(0x67, src, 0, 0, 3);
    this.#add(0x0f, dst, src);
  }

  /** dst = the 64 bits at src + offset. */
  load(dst: Register, src: Register, offset: number): void {
    this.#add(0x79, dst, src, offset);
  }

  /** The 64 bits at dst + offset = src. */
  store(dst: Register, offset: number, src: Register): void {
    this.#add(0x7b, dst, src, offset);
  }

  /** dst = the lower 32 bits at src + offset, with their sign. */
  loadSigned32(dst: Register, src: Register, offset: number): void {
    this.#add(0x61, dst, src, offset);
    this.#add(0x67, dst, 0, 0, 32);
    this.#add(0xc7, dst, 0, 0, 32);
  }

  failIfNegative(register: Register): void {
    this.#fail(0xc5, register, 0);
  }

  /** Fails unless it is this number of 64 bits. Changes R2. */
  failUnless(register: Register, number: bigint): void {
    this.#add(0x18, 2, 0, 0, Number(BigInt.asIntN(32, number)));
    this.#add(0x00, 0, 0, 0, Number(BigInt.asIntN(32, number >> 32n)));
    this.#fail(0x5d, register, 2);
  }

  /** dst = the thread that runs. Changes R0 to R5, as every helper does. */
  currentTask(dst: Register): void {
    this.#add(0x85, 0, 0, 0, HELPER_GET_CURRENT_TASK);
    this.move(dst, 0);
  }

  /** Copies `length` bytes from the kernel's memory at src + offset into the frame, `below` bytes under its end. */
  readKernel(below: number, length: number, src: Register, offset = 0): void {
    this.move(3, src);
    this.add(3, offset);
    this.move(1, 10);
    this.add(1, -below);
    this.#add(0xb7, 2, 0, 0, length);
    this.#add(0x85, 0, 0, 0, HELPER_PROBE_READ_KERNEL);
    this.#fail(0x55, 0, 0);
  }

  /** The program, whole. */
  finish(): Uint8Array {
    this.#add(0xb7, 0, 0, 0, 0);
    this.#add(0x95, 0, 0);
    const failure = this.#code.length / INSTRUCTION_BYTES;
    this.#add(0xb7, 0, 0, 0, 1);
    this.#add(0x95, 0, 0);
    const bytes = Uint8Array.from(this.#code);
    const view = new DataView(bytes.buffer);
    for (const at of this.#toFailure) view.setInt16(at * INSTRUCTION_BYTES + 2, failure - at - 1, true);
    return bytes;
  }

  #fail(opcode: number, dst: Register, src: Register): void {
    this.#toFailure.push(this.#code.length / INSTRUCTION_BYTES);
    this.#add(opcode, dst, src);
  }

  #add(opcode: number, dst: number, src: number, offset = 0, number = 0): void {
    const word = new DataView(new ArrayBuffer(INSTRUCTION_BYTES));
    word.setUint8(0, opcode);
    word.setUint8(1, dst | (src << 4));
    word.setInt16(2, offset, true);
    word.setInt32(4, number, true);
    this.#code.push(...new Uint8Array(word.buffer));
  }
}

/** Loads a program: a descriptor of it, or the kernel's error number below zero. */
export function loadProgram(instructions: Uint8Array): number {
  const { koffi, bpf } = calls();
  const copy = (bytes: Uint8Array) => {
    const memory = new NativeMemory(koffi, bytes.length);
    memory.bytes.set(bytes);
    return memory;
  };
  const [code, license] = [copy(instructions), copy(Buffer.from(LICENSE))];
  const attributes = new NativeMemory(koffi, LOAD_BYTES);
  attributes.view.setUint32(0, BPF_PROG_TYPE_SYSCALL, true);
  attributes.view.setUint32(4, instructions.length / INSTRUCTION_BYTES, true);
  attributes.setU64(8, code.address);
  attributes.setU64(16, license.address);
  attributes.view.setUint32(44, BPF_F_SLEEPABLE, true);
  attributes.bytes.set(Buffer.from(NAME), 48);
  const fd = bpf(SYS_BPF, BPF_PROG_LOAD, attributes.address, LOAD_BYTES);
  return fd < 0 ? -koffi.errno() : fd;
}

/** A loaded program with the memory that it reads and writes: copied to it before it runs, and back after. */
export class BpfRun {
  /** Words of 32 bits. */
  readonly context: Uint32Array;
  readonly #bpf: ReturnType<typeof calls>['bpf'];
  readonly #koffi: Koffi;
  readonly #memory: NativeMemory;
  readonly #attributes: NativeMemory;

  constructor(program: number, contextBytes: number) {
    const { koffi, bpf } = calls();
    this.#koffi = koffi;
    this.#bpf = bpf;
    this.#memory = new NativeMemory(koffi, contextBytes);
    this.context = this.#memory.u32;
    this.#attributes = new NativeMemory(koffi, RUN_BYTES);
    this.#attributes.view.setUint32(0, program, true);
    this.#attributes.view.setUint32(40, contextBytes, true);
    this.#attributes.setU64(48, this.#memory.address);
  }

  /** What the program returned, or the kernel's error number below zero. One system call, no allocation. */
  run(): number {
    const { u32, address } = this.#attributes;
    if (this.#bpf(SYS_BPF, BPF_PROG_TEST_RUN, address, RUN_BYTES) < 0) return -this.#koffi.errno();
    return u32[RETURNED_AT / 4];
  }
}

interface BpfCalls {
  readonly koffi: Koffi;
  bpf(call: number, command: number, attributes: number, length: number): number;
}

let loaded: BpfCalls | undefined;

function calls(): BpfCalls {
  if (loaded) return loaded;
  const { koffi, reason } = loadKoffi();
  if (!koffi) throw new VmGenIdError('ERR_SOURCE_UNAVAILABLE', reason);
  // Variadic in C, and the C library has no function for bpf(2).
  const bpf = koffi.load(null).func('syscall', 'long', ['long', 'long', 'uintptr_t', 'ulong']);
  loaded = { koffi, bpf };
  return loaded;
}
