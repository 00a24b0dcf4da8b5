// wireonce/protocol: Noise IKpsk2 and the WireGuard messages. Computation only: no I/O, clock, randomness, timers.

export * from './common.js';
export { type SuiteChoice, fastestSuite, suiteNamed } from './suites/fastest.js';
export { loadIpsecMbSuite } from './suites/ipsec-mb.js';
export { loadOpensslSuite } from './suites/openssl.js';
export { loadSodiumSuite } from './suites/sodium.js';
