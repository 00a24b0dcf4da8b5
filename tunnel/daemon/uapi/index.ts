// The WireGuard UAPI: what `wg` and others speak with a userspace WireGuard over a Unix socket.

export { UapiClient, type UapiClientOptions } from './client.js';
export type { UapiLimits } from './parse.js';
export { UapiServer, type UapiServerOptions } from './server.js';
export { SOCKET_FOLDER, socketPath } from './socket-path.js';
export * from './types.js';
