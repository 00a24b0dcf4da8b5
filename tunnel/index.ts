// wireonce/tunnel: the outside world: sockets, configuration files, and a device on Node's event loop.

export { systemClock } from './clock.js';
export * from './config/config.js';
export { type CreatedTunnel, type CreateTunnelOptions, createTunnel } from './loop/create-tunnel.js';
export {
  EndpointRefresher,
  type EndpointRefresherOptions,
  type NamedHost,
} from './config/endpoint-refresher.js';
export { UdpEndpoint, WebSocketEndpoint } from './endpoint.js';
export { type ConfigPlace, TunnelError, type TunnelErrorCode } from './errors.js';
export { EventLoopTunnel, type EventLoopTunnelOptions } from './loop/event-loop.js';
export { ForkClock, type ForkClockOptions, readRtc } from './loop/fork-clock.js';
export { type KeyMemoryReport, type OpenedKeyMemory, openKeyMemory } from './loop/key-memory.js';
export { decodeKey, encodeKey } from './keys.js';
export { type OpenCrng, type OpenCrngOptions, openCrng } from './loop/open-crng.js';
export { HttpPeers, type HttpPeersOptions } from './peer-store/http.js';
export { openPeerStore } from './peer-store/open.js';
export { resolveEndpoint, resolveEndpoints } from './config/resolve.js';
export { type DeviceStatus, type PeerStatus, parseStatus } from './daemon/status.js';
export { TRANSPORT_DROPS, type Transport, type TransportCounters, type TransportDrop } from './transport.js';
export { type UdpOptions, type UdpStatus, UdpTransport } from './loop/udp.js';
export * from './websocket/index.js';
