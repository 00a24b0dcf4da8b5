// Datagrams over WebSockets, for networks that let nothing else through: one binary message per datagram.
// Promises: bounded queues, no compression, TLS by URL; on a fork every connection is cut and dialled anew.

export { MAX_MESSAGE_BYTES, MAX_QUEUED_BYTES } from './connection.js';
export {
  type DialerState,
  WebSocketDialer,
  type WebSocketDialerOptions,
  type WebSocketTlsOptions,
} from './dialer.js';
export { WebSocketListener, type WebSocketListenerOptions } from './listener.js';
