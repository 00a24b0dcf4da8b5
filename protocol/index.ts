// wireonce/protocol: Noise IKpsk2 and the WireGuard messages. Computation only: no I/O, clock, randomness, timers.

export { openerOf, sealerOf } from './batches.js';
export * from './constants.js';
export * from './cookie.js';
export * from './errors.js';
export * from './handshake.js';
export * from './keypair.js';
export { keystreamOf } from './keystream.js';
export * from './messages.js';
export * from './nonce-counter.js';
export * from './received-tags.js';
export * from './replay-filter.js';
export * from './suite.js';
export { type SuiteChoice, fastestSuite, suiteNamed } from './suites/fastest.js';
export { loadIpsecMbSuite } from './suites/ipsec-mb.js';
export { SUITE_NAMES } from './suites/names.js';
export { nobleSuite } from './suites/noble.js';
export { loadOpensslSuite } from './suites/openssl.js';
export { loadSodiumSuite } from './suites/sodium.js';
export * from './symmetric-state.js';
export * from './tai64n.js';
export * from './transport.js';
