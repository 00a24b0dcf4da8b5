// What of wireonce/protocol is the same everywhere. Read on: index.ts; in-page.ts.

export type { Memory, Room } from '../native/room.js';
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
export { SUITE_NAMES } from './suites/names.js';
export { nobleSuite } from './suites/noble.js';
export * from './symmetric-state.js';
export * from './tai64n.js';
export * from './transport.js';
