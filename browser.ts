// wireonce/browser: what a page needs of a peer, without anything of Node: a device on the page's timers, over its
// WebSocket, with random numbers of the browser.
// Promises: needs neither SharedArrayBuffer nor headers that a page would have to be served with.

export { Crng, type CrngEvent, type CrngOptions } from './crng/crng.js';
export { type EntropySource, kernelEntropy } from './crng/entropy.js';
export { CrngError, type CrngErrorCode } from './crng/errors.js';
export type { Randomness } from './crng/randomness.js';
export * from './protocol/in-page.js';
export * from './sessions/index.js';
export { systemClock } from './tunnel/clock.js';
export * from './tunnel/config/config.js';
export { UdpEndpoint, WebSocketEndpoint } from './tunnel/endpoint.js';
export { type ConfigPlace, TunnelError, type TunnelErrorCode } from './tunnel/errors.js';
export { decodeKey, encodeKey } from './tunnel/keys.js';
export { EventLoopTunnel, type EventLoopTunnelOptions } from './tunnel/loop/event-loop.js';
export { type Transport, type TransportCounters, type TransportDrop } from './tunnel/transport.js';
export {
  BrowserDialer,
  type BrowserDialerOptions,
  type PageSocket,
} from './tunnel/websocket/browser-dialer.js';
export { VmGenId, type VmGenIdEvent, type VmGenIdOptions } from './vmgenid/driver.js';
export { VmGenIdError, type VmGenIdErrorCode } from './vmgenid/errors.js';
export { FIRST_EPOCH, NO_EPOCH, VM_GEN_ID_BYTES, formatGuid, parseGuid } from './vmgenid/generation.js';
export { MemorySource, type MemorySourceOptions } from './vmgenid/sources/memory.js';
