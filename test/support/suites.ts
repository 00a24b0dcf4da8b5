// The suites under test, and what their tests share.

import type { Suite } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { loadSodiumSuite } from '../../protocol/suites/sodium.js';

export const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** `length` bytes that count up from zero, as the BLAKE2 test vectors have them. */
export const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i);

/** The platforms on which sodium-native comes as a binary and a suite that does not load is a failure. */
export const sodiumMustLoad = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);

const sodium = await loadSodiumSuite();
if (!sodium && sodiumMustLoad) throw new Error('sodium-native does not load or fails its self-test');

export const sodiumSuite: Suite | undefined = sodium;
export const suites: Suite[] = sodium ? [nobleSuite, sodium] : [nobleSuite];
