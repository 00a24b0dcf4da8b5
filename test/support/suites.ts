// The suites under test, and what their tests share.

import type { Suite } from '../../protocol/suite.js';
import { loadIpsecMbSuite } from '../../protocol/suites/ipsec-mb.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { loadOpensslSuite } from '../../protocol/suites/openssl.js';
import { loadSodiumSuite } from '../../protocol/suites/sodium.js';

export const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** `length` bytes that count up from zero, as the BLAKE2 test vectors have them. */
export const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i);

/** The platforms on which koffi and sodium-native come as binaries, and a suite that does not load is a failure. */
export const nativeMustLoad = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);

const shipped = (await Promise.all([loadOpensslSuite(), loadSodiumSuite()])).filter(
  suite => suite !== undefined,
);
if (shipped.length < 2 && nativeMustLoad)
  throw new Error('a native suite does not load or fails its self-test');

// A package of Debian for x86-64, which need not be there. CI installs it, and then says so.
const ipsecMb = await loadIpsecMbSuite();
if (!ipsecMb && process.env['TEST_IPSEC_MB'] === 'installed')
  throw new Error('libipsec-mb does not load or fails its self-test');
const native = ipsecMb ? [...shipped, ipsecMb] : shipped;

/** All but the reference. */
export const nativeSuites: readonly Suite[] = native;
export const suites: readonly Suite[] = [nobleSuite, ...native];
