// The bridge to the system's own functions: koffi, an optional package, loaded once in each thread or left out.
// Promises: never throws; where it cannot be had, the reason is said in one line.
// Read on: ../vmgenid/mapping.ts, ../crng/openssl.ts and tunnel/linux/libc.ts, which call through it.

/** What is used of the package. */
export interface Koffi {
  /** A library by its file name; `null` is the program itself. Throws where there is none. */
  load(path: string | null): {
    func(name: string, result: string, parameters: readonly string[]): (...values: unknown[]) => number;
  };
  /** The type of a function, for `decode`. */
  proto(result: string, parameters: readonly string[]): unknown;
  /** The function that a pointer points to. */
  decode(pointer: bigint, type: unknown): (...values: number[]) => number;
  /** Where the bytes of an ArrayBuffer or a view lie. */
  address(value: Uint8Array): bigint;
  /** Memory at an address, as an ArrayBuffer over it. */
  view(pointer: bigint | number, byteLength: number): ArrayBuffer;
  /** The error number of this thread's last failed call. */
  errno(): number;
}

export type LoadedKoffi =
  | { readonly koffi: Koffi; readonly reason?: undefined }
  | { readonly koffi?: undefined; readonly reason: string };

let loaded: LoadedKoffi | undefined;

/** The bridge, or the reason why there is none. Constants and layouts of its callers are those of 64-bit Linux. */
export function loadKoffi(): LoadedKoffi {
  loaded ??= load();
  return loaded;
}

function load(): LoadedKoffi {
  if (typeof process === 'undefined') return { reason: 'system calls need Node' };
  const { platform, arch } = process;
  if (platform !== 'linux' || (arch !== 'x64' && arch !== 'arm64')) {
    return { reason: `system calls need Linux on x64 or arm64, and this is ${platform} on ${arch}` };
  }
  // A name that compilers and bundlers do not follow: the package may be missing.
  const name: string = 'koffi';
  try {
    // Asked for at run time: a static import of node:module would keep crng/ out of browsers.
    const { createRequire } = process.getBuiltinModule('node:module');
    return { koffi: createRequire(import.meta.url)(name) as Koffi };
  } catch (error) {
    const message = (error as Error).message.split('\n')[0];
    return { reason: `system calls need the optional package koffi, which does not load: ${message}` };
  }
}
