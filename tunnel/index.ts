// wireonce/tunnel: the outside world: sockets, configuration files, and a device on Node's event loop.

export { systemClock } from './clock.js';
export * from './config.js';
export { type CreatedTunnel, type CreateTunnelOptions, createTunnel } from './create-tunnel.js';
export {
  EndpointRefresher,
  type EndpointRefresherOptions,
  type NamedHost,
} from './endpoint-refresher.js';
export { UdpEndpoint, WebSocketEndpoint } from './endpoint.js';
export { type ConfigPlace, TunnelError, type TunnelErrorCode } from './errors.js';
export { EventLoopTunnel, type EventLoopTunnelOptions } from './event-loop.js';
export { ForkClock, type ForkClockOptions, readRtc } from './fork-clock.js';
export { type KeyMemoryReport, type OpenedKeyMemory, openKeyMemory } from './key-memory.js';
export { decodeKey, encodeKey } from './keys.js';
export { type OpenCrng, type OpenCrngOptions, openCrng } from './open-crng.js';
export { resolveEndpoint, resolveEndpoints } from './resolve.js';
export { type DeviceStatus, type PeerStatus, parseStatus } from './status.js';
export { TRANSPORT_DROPS, type Transport, type TransportCounters, type TransportDrop } from './transport.js';
export { type UdpOptions, type UdpStatus, UdpTransport } from './udp.js';
export * from './websocket.js';
