// Fresh entropy from outside this process: the kernel's generator and the machine's hardware one.
// Promises: every byte asked for is the device's or an error is thrown; a file, a pipe or /dev/zero in the device's
// place is refused; OpenSSL's generator, whose state a fork copies, is never asked where a kernel can be.
// Read on: random(4); Linux drivers/char/random.c urandom_read_iter(); drivers/char/hw_random/core.c rng_dev_read().

import { CrngError } from './errors.js';

/** Where a generator gets its seeds. */
export interface EntropySource {
  /** What is read: `/dev/urandom`, `getRandomValues`. */
  readonly name: string;
  /**
   * True when the bytes come from a generator whose state lies in this process. A fork has copied it, so that a
   * reseed of the kernel says nothing about it. Default false.
   */
  readonly inProcess?: boolean;
  /** Fills `into`. Synchronous. Throws `CrngError` (`ERR_ENTROPY_...`), and then nothing in `into` may be used. */
  read(into: Uint8Array): void;
  /** Gives the descriptor back. May be called twice. */
  close(): void;
}

/** A true hardware generator: its bytes differ in every clone, as soon as no buffer stands in between. */
export interface HardwareEntropy {
  readonly name: string;
  /** Writes what is there now to the front of `into` and returns how many bytes that was, 0 for none. Never throws. */
  read(into: Uint8Array): number;
  /** Gives the descriptor back. May be called twice. */
  close(): void;
}

/** What is asked of a file's status. */
export interface FileStats {
  /** The number of the device. */
  readonly rdev: number;
  /** Whether it is one, and no file, pipe or block device. */
  isCharacterDevice(): boolean;
}

/** The calls of `node:fs` that a device is read by. */
export interface DeviceFiles {
  /** Returns a descriptor. */
  openSync(path: string, flags: number): number;
  /** What a descriptor leads to. */
  fstatSync(descriptor: number): FileStats;
  /** Reads once, and returns how many bytes that was. */
  readSync(descriptor: number, into: Uint8Array, offset: number, length: number, position: null): number;
  /** Gives a descriptor back. */
  closeSync(descriptor: number): void;
  readonly constants: { readonly [flag in 'O_RDONLY' | 'O_NONBLOCK' | 'O_NOCTTY']: number };
}

/** Where a device of the kernel is, and how it is read. */
export interface EntropyDeviceOptions {
  /** Another name of the same device, as a chroot may have. */
  readonly path?: string;
  /** Stands in for `node:fs`: a test makes trouble here. */
  readonly files?: DeviceFiles;
}

/** The hardware generator, or the reason why there is none. */
export type HardwareProbe =
  | { readonly hardware: HardwareEntropy; readonly reason?: undefined }
  /** `reason` says in words why there is none. */
  | { readonly hardware?: undefined; readonly reason: string };

/** Linux device numbers (Documentation/admin-guide/devices.txt), as `rdev` has them: major * 256 + minor. */
const LINUX_RANDOM = (1 << 8) | 8;
const LINUX_URANDOM = (1 << 8) | 9;
const LINUX_HWRNG = (10 << 8) | 183;

/**
 * The kernel's generator. On Linux, macOS and the BSDs it is `/dev/urandom` through a descriptor that stays open.
 * Throws `ERR_ENTROPY_UNAVAILABLE` where it cannot be opened, `ERR_ENTROPY_DEVICE` where something else has its name.
 *
 * In a browser there is no device, and `crypto.getRandomValues` is asked. The same holds for Node on Windows, where it
 * means OpenSSL's generator: seeded by the system, but copied by a fork and unaware of it. There only a unique
 * generation ID or a seed parts two clones, and the source says so (`inProcess`).
 */
export function kernelEntropy(options: EntropyDeviceOptions = {}): EntropySource {
  const files = options.files ?? nodeFiles();
  return files ? new KernelDevice(files, options.path ?? '/dev/urandom') : platformEntropy();
}

/**
 * The hardware generator, `/dev/hwrng` on Linux, opened without blocking and read once to see that it answers. One
 * that has nothing at the moment (EAGAIN) counts as present. Never throws.
 */
export function hardwareEntropy(options: EntropyDeviceOptions = {}): HardwareProbe {
  const files = options.files ?? nodeFiles();
  if (!files) return { reason: 'this platform has no /dev/hwrng' };
  const path = options.path ?? '/dev/hwrng';
  try {
    const device = new HeldDevice(files, path, [LINUX_HWRNG]);
    try {
      device.readSome(new Uint8Array(1), 0);
    } catch (error) {
      if (errorCode(error) !== 'EAGAIN') {
        device.close();
        throw error;
      }
    }
    return { hardware: new HardwareDevice(device) };
  } catch (error) {
    return { reason: error instanceof CrngError ? error.message : `${path}: ${String(error)}` };
  }
}

/** A character device behind a descriptor whose number is trusted only as far as it still leads to that device. */
class HeldDevice {
  readonly path: string;
  readonly #files: DeviceFiles;
  readonly #linuxNumbers: readonly number[];
  #descriptor: number | undefined;

  constructor(files: DeviceFiles, path: string, linuxNumbers: readonly number[]) {
    this.#files = files;
    this.path = path;
    this.#linuxNumbers = linuxNumbers;
    this.reopen();
  }

  reopen(): void {
    this.close();
    const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = this.#files.constants;
    let descriptor: number;
    try {
      // Non-blocking, or a pipe of this name would hang the program.
      descriptor = this.#files.openSync(this.path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    } catch (error) {
      throw new CrngError('ERR_ENTROPY_UNAVAILABLE', `cannot open ${this.path} (${errorCode(error)})`, {
        cause: error,
      });
    }
    if (!this.#leadsToDevice(descriptor)) {
      this.#files.closeSync(descriptor);
      throw new CrngError('ERR_ENTROPY_DEVICE', `${this.path} is not the device of that name`);
    }
    this.#descriptor = descriptor;
  }

  /** Reads once, from `offset` on, and returns the number of bytes. Throws what the system throws. */
  readSome(into: Uint8Array, offset: number): number {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) throw new CrngError('ERR_ENTROPY_CLOSED', `${this.path} is closed`);
    return this.#files.readSync(descriptor, into, offset, into.length - offset, null);
  }

  /** Somebody may have closed our number and got it again for a file of theirs. */
  isOurs(): boolean {
    return this.#descriptor !== undefined && this.#leadsToDevice(this.#descriptor);
  }

  close(): void {
    const descriptor = this.#descriptor;
    this.#descriptor = undefined;
    // A number that leads elsewhere by now is not ours to close.
    if (descriptor !== undefined && this.#leadsToDevice(descriptor)) this.#files.closeSync(descriptor);
  }

  #leadsToDevice(descriptor: number): boolean {
    try {
      const stats = this.#files.fstatSync(descriptor);
      return (
        stats.isCharacterDevice() && (process.platform !== 'linux' || this.#linuxNumbers.includes(stats.rdev))
      );
    } catch {
      return false;
    }
  }
}

class KernelDevice implements EntropySource {
  readonly name: string;
  readonly #device: HeldDevice;
  #closed = false;

  constructor(files: DeviceFiles, path: string) {
    this.name = path;
    this.#device = new HeldDevice(files, path, [LINUX_RANDOM, LINUX_URANDOM]);
  }

  read(into: Uint8Array): void {
    if (this.#closed) throw new CrngError('ERR_ENTROPY_CLOSED', `${this.name} is closed`);
    if (this.#device.isOurs() && this.#readFully(into) === undefined) return;
    this.#device.reopen();
    const trouble = this.#readFully(into);
    if (trouble === undefined) return;
    into.fill(0);
    throw new CrngError('ERR_ENTROPY_READ', `${this.name} gave no bytes (${errorCode(trouble)})`, {
      cause: trouble,
    });
  }

  close(): void {
    this.#closed = true;
    this.#device.close();
  }

  /** A read may be cut short, by a signal for one, and is taken up again. Returns what went wrong, if something did. */
  #readFully(into: Uint8Array): unknown {
    try {
      for (let done = 0; done < into.length; ) {
        const count = this.#device.readSome(into, done);
        if (count === 0) return new Error('end of file');
        done += count;
      }
      return undefined;
    } catch (error) {
      return error;
    }
  }
}

class HardwareDevice implements HardwareEntropy {
  readonly name: string;
  readonly #device: HeldDevice;

  constructor(device: HeldDevice) {
    this.name = device.path;
    this.#device = device;
  }

  read(into: Uint8Array): number {
    let done = 0;
    try {
      while (done < into.length && this.#device.isOurs()) {
        const count = this.#device.readSome(into, done);
        if (count === 0) break;
        done += count;
      }
    } catch {
      // EAGAIN: nothing more for now. ENODEV, EIO: perhaps never again; the barrier has a time limit.
    }
    return done;
  }

  close(): void {
    this.#device.close();
  }
}

/** `getRandomValues` takes at most this many bytes (W3C Web Cryptography API, 10.1.1). */
const PLATFORM_QUOTA = 65_536;

function platformEntropy(): EntropySource {
  const platform = globalThis.crypto;
  if (typeof platform?.getRandomValues !== 'function') {
    throw new CrngError('ERR_ENTROPY_UNAVAILABLE', 'this platform offers no random numbers');
  }
  return {
    name: 'getRandomValues',
    inProcess: true,
    read(into) {
      for (let at = 0; at < into.length; at += PLATFORM_QUOTA) {
        platform.getRandomValues(into.subarray(at, at + PLATFORM_QUOTA) as Uint8Array<ArrayBuffer>);
      }
    },
    close() {},
  };
}

// Asked for at run time: a static import of node:fs would keep the folder out of browsers.
function nodeFiles(): DeviceFiles | undefined {
  if (typeof process === 'undefined' || typeof process.getBuiltinModule !== 'function') return undefined;
  return process.platform === 'win32' ? undefined : process.getBuiltinModule('node:fs');
}

function errorCode(error: unknown): string {
  if (error instanceof Error) return (error as NodeJS.ErrnoException).code ?? error.message;
  return String(error);
}
