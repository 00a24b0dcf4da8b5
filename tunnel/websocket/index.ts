// Datagrams over WebSockets, for networks that let nothing else through: one binary message per datagram.
// Promises: bounded queues, no compression, TLS by URL; on a fork every connection is cut and dialled anew.

export { MAX_MESSAGE_BYTES, MAX_QUEUED_BYTES } from './limits.js';
export {
  type DialerState,
  type TlsText,
  type TlsVersion,
  WebSocketDialer,
  type WebSocketDialerOptions,
  type WebSocketTlsOptions,
} from './dialer.js';
export { type HttpServer, WebSocketListener, type WebSocketListenerOptions } from './listener.js';
