// wireonce: WireGuard for machines that get cloned. Everything the subpaths offer, under one name.

export * from './vmgenid/index.js';
