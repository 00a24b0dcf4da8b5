// What a WebSocket carries at most, in a page and in Node.

/** The longest message, in bytes: any UDP datagram fits. */
export const MAX_MESSAGE_BYTES = 65_600;
/** Bytes that may wait in one connection, with what their frames cost, before datagrams are dropped. */
export const MAX_QUEUED_BYTES = 1024 * 1024;
