// How long the demonstration waits, and how.
// Promises: real time, in milliseconds.
// Read on: sessions/handshakes.ts (what a responder takes).

/** A responder takes one initiation of a peer in 20 ms, and initiators round their timestamps to 17. */
export const BETWEEN_HANDSHAKES_MS = 60;

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
