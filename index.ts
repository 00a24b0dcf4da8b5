// wireonce: WireGuard for machines that get cloned. Everything the subpaths offer, under one name.

export * from './crng/index.js';
export * from './gateway/index.js';
export * from './protocol/index.js';
export * from './sessions/index.js';
export * from './tunnel/index.js';
export * from './vmgenid/index.js';
