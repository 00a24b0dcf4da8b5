// The suites under test, and what their tests share.

import type { Suite } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { loadOpensslSuite } from '../../protocol/suites/openssl.js';
import { loadSodiumSuite } from '../../protocol/suites/sodium.js';

export const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** `length` bytes that count up from zero, as the BLAKE2 test vectors have them. */
export const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i);

/** The platforms on which koffi and sodium-native come as binaries, and a suite that does not load is a failure. */
export const nativeMustLoad = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);

const native = (await Promise.all([loadOpensslSuite(), loadSodiumSuite()])).filter(
  suite => suite !== undefined,
);
if (native.length < 2 && nativeMustLoad)
  throw new Error('a native suite does not load or fails its self-test');

/** All but the reference. */
export const nativeSuites: readonly Suite[] = native;
export const suites: readonly Suite[] = [nobleSuite, ...native];
