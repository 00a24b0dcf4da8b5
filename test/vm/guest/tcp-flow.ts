// Bulk TCP through an interface of the guest: the kernel hands an interface with offloads up to 64 KiB at a time.
// Promises: every segment of a usual size carries random bytes of the processor's; little waits in queues, where it would be
// the same in clones.

import { type Socket, connect } from 'node:net';
import type { Payloads } from './payloads.js';

const DISCARD_PORT = 9;
const CHUNK_BYTES = 32_768;
/** No segment is so short that it could lie between two payloads. */
const STRIDE_BYTES = 1_024;
const RETRY_MS = 200;

export class TcpFlow {
  readonly #payloads: Payloads;
  #socket: Socket | undefined;
  #address = '';

  constructor(payloads: Payloads) {
    this.#payloads = payloads;
  }

  /** Sends to this address until `stop`, as fast as it takes. */
  start(address: string): void {
    if (this.#address === address) return;
    this.stop();
    this.#address = address;
    this.#connect();
  }

  stop(): void {
    this.#address = '';
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #connect(): void {
    const socket = connect({ host: this.#address, port: DISCARD_PORT, noDelay: true });
    this.#socket = socket;
    const pour = () => {
      while (socket === this.#socket && socket.write(this.#chunk()));
    };
    socket.on('connect', pour).on('drain', pour);
    // Begun again when the other end is another, which knows nothing of it.
    socket
      .on('error', () => {})
      .once('close', () => {
        setTimeout(() => {
          if (socket === this.#socket) this.#connect();
        }, RETRY_MS);
      });
  }

  /** The socket keeps it until the kernel has taken it. */
  #chunk(): Uint8Array {
    const chunk = new Uint8Array(CHUNK_BYTES);
    for (let at = 0; at < CHUNK_BYTES; at += STRIDE_BYTES) this.#payloads.write(chunk, at);
    return chunk;
  }
}
