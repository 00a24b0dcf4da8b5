// Where a device seals what goes by UDP: in the buffers that the kernel is then told to send.
// Promises: a slot is in the pool, with the device, or with the socket, and the kernel reads it only in the last case.
// Read on: sessions/ports.ts (Outbox), sessions/release.ts (who decides), send-batch.ts (who sends).

import type { Endpoint, Outbox, OutboxSlot } from '../../../sessions/ports.js';
import type { DatagramPool, DatagramSlot } from './datagram-pool.js';
import type { LinuxUdpSocket } from './udp.js';
import { LinuxUdpEndpoint } from './udp-endpoint.js';

export interface UdpOutboxOptions {
  readonly pool: DatagramPool;
  /** The socket at this moment; none while the interface is down. It sends from the same pool. */
  readonly socket: () => LinuxUdpSocket | undefined;
  /** A datagram is lost: there is no socket. */
  readonly onNoSocket: () => void;
}

export class UdpOutbox implements Outbox {
  readonly #options: UdpOutboxOptions;

  constructor(options: UdpOutboxOptions) {
    this.#options = options;
  }

  take(length: number, to: Endpoint): DatagramSlot | undefined {
    return to instanceof LinuxUdpEndpoint ? this.#options.pool.take(length) : undefined;
  }

  send(slot: OutboxSlot, to: Endpoint): void {
    const socket = this.#options.socket();
    const datagram = slot as DatagramSlot;
    if (socket) socket.queueTaken(datagram, to as LinuxUdpEndpoint);
    else {
      this.#options.pool.give(datagram);
      this.#options.onNoSocket();
    }
  }

  discard(slot: OutboxSlot): void {
    this.#options.pool.give(slot as DatagramSlot);
  }
}
