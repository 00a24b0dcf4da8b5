// The functions of libipsec-mb (Debian's libipsec-mb1 and libipsec-mb2), called through koffi, and the layouts behind them.
// Promises: only versions are taken whose layouts these are; anything else throws before a function is called through them.
// Read on: intel-ipsec-mb.h (IMB_MGR, IMB_JOB, "burst"); engine.ts, which fills jobs and submits them.

import type { Koffi } from '../../../native/koffi.js';
import { ProtocolError } from '../../errors.js';

const POINTER = 'uintptr_t';

/** By what they are loaded, and the versions (`IMB_VERSION_NUM` without its last byte) whose layouts are known. */
const LIBRARIES = [
  { file: 'libIPSec_MB.so.2', version: 0x2_00, hasSessions: true },
  { file: 'libIPSec_MB.so.1', version: 0x1_03, hasSessions: false },
];

/** In an IMB_MGR: why the last call was refused, and the functions for bursts. */
export const MGR_ERROR = 60;
const MGR_GET_NEXT_BURST = 952;
const MGR_SUBMIT_BURST = 960;
/** An IMB_MGR and what lies behind it begin at a multiple of this. */
export const MGR_ALIGNMENT = 64;

/** Where in an IMB_JOB things are, in bytes. The last four are 32 bits wide, all others 64. */
export const JOB = {
  encryptionKey: 0,
  decryptionKey: 8,
  keyLength: 16,
  source: 24,
  destination: 32,
  cipherLength: 48,
  hashLength: 64,
  nonce: 72,
  nonceLength: 80,
  tag: 88,
  tagLength: 96,
  aad: 104,
  aadLength: 112,
  cipherMode: 132,
  direction: 136,
  hashAlgorithm: 140,
  order: 144,
} as const;
/** As far as we write to it. */
export const JOB_USED_BYTES = 148;

export const CIPHER_CHACHA20_POLY1305 = 19;
export const HASH_CHACHA20_POLY1305 = 29;
export const DIRECTION_ENCRYPT = 1;
export const DIRECTION_DECRYPT = 2;
/** Poly1305 is over the ciphertext: so when opening it comes first. */
export const ORDER_CIPHER_HASH = 1;
export const ORDER_HASH_CIPHER = 2;

type Native = (...values: number[]) => number;

/**
 * Hold on to it for as long as bursts are used: a function that was found through a pointer does not keep the library in
 * memory, as those do that were found by name.
 */
export interface IpsecMb {
  /** Bytes that a manager takes. */
  readonly managerBytes: number;
  /** Makes a manager of the zeroed bytes at an aligned address. */
  init(manager: number): void;
  /** Bursts, as this manager does them: (manager, jobs, array of pointers to jobs); both answer how many jobs. */
  bursts(manager: DataView): { readonly getNext: Native; readonly submit: Native };
  /** Call once for a job whose algorithms are set: (manager, job). Absent where the library needs no such call. */
  readonly setSession: Native | undefined;
  /** What an error number of the manager means. */
  describe(error: number): string;
}

/** Throws where the library is not installed, or is of a version whose layouts are not known. */
export function bindIpsecMb(koffi: Koffi): IpsecMb {
  const { library, hasSessions } = load(koffi);
  const setPointers = library.func('imb_set_pointers_mb_mgr', POINTER, [POINTER, 'uint64_t', 'uint64_t']);
  const initAuto = library.func('init_mb_mgr_auto', 'void', [POINTER, POINTER]);
  const describe = library.func('imb_get_strerror', 'str', ['int']);
  const burst = koffi.proto('uint32_t', [POINTER, 'uint32_t', POINTER]);
  return {
    managerBytes: library.func('imb_get_mb_mgr_size', 'size_t', [])(),
    init(manager) {
      setPointers(manager, 0, 1);
      initAuto(manager, 0);
    },
    bursts: manager => ({
      getNext: koffi.decode(manager.getBigUint64(MGR_GET_NEXT_BURST, true), burst),
      submit: koffi.decode(manager.getBigUint64(MGR_SUBMIT_BURST, true), burst),
    }),
    describe: error => String(describe(error)),
    setSession: hasSessions ? library.func('imb_set_session', 'uint32_t', [POINTER, POINTER]) : undefined,
  };
}

function load(koffi: Koffi) {
  for (const { file, version, hasSessions } of LIBRARIES) {
    let library: ReturnType<Koffi['load']>;
    try {
      library = koffi.load(file);
    } catch {
      continue;
    }
    if (library.func('imb_get_version', 'uint32_t', [])() >>> 8 === version) return { library, hasSessions };
  }
  throw new ProtocolError('ERR_IPSEC_MB', 'libipsec-mb is not installed, or of an unknown version');
}
