// What a device needs from outside: time, memory for keys, the wire, the packets' other end. Everything comes through its constructor.

/** Where a datagram came from or goes to. The device compares and copies endpoints, and never looks inside more. */
export interface Endpoint {
  /** The remote address: 4 bytes (IPv4) or 16 (IPv6). Rate limits and cookies are bound to it. */
  readonly ip: Uint8Array;
  /** The remote port. */
  readonly port: number;
  /** Set by the device where a peer is, or was heard: in a flood its handshakes go before those of strangers. */
  isPeers?: boolean;
  /** Whether a datagram sent to either goes to the same place. */
  equals(other: Endpoint): boolean;
  /** Called with each message from here that was authenticated: there is a peer, and no stranger. It may not call the device. */
  authenticated?(): void;
  /** `192.0.2.1:51820`, `[2001:db8::1]:51820`, or a WebSocket URL. */
  toString(): string;
}

/** The time, as a device is told it. */
export interface Clock {
  /** Monotonic milliseconds, for timers and ages. */
  now(): number;
  /** Wall-clock milliseconds since 1970, for TAI64N timestamps and `last_handshake_time`. */
  wallClock(): number;
}

/** Where the keys of a device lie. Memory that can be kept out of swap and core dumps is of the system's making. */
export interface KeyMemory {
  /** Zeroed memory, from a multiple of 8 on, for the device alone. */
  allocate(byteLength: number): Uint8Array;
  /** The device is closed, and what it was given here is zero again. */
  release(memory: Uint8Array): void;
}

/** Where a device's output goes. Buffers belong to the device again when the call returns: copy what must stay. */
export interface Sink {
  /** A datagram that passed the release gate. */
  sendDatagram(datagram: Uint8Array, to: Endpoint): void;
  /**
   * A decrypted inner packet (padding removed) whose source address belongs to the peer. It lies where it was received:
   * `datagram[at, at + length)`. `address`: where the datagram lies, if it came in a `Room`; else 0.
   */
  deliverPacket(
    datagram: Uint8Array,
    at: number,
    length: number,
    peerPublicKey: Uint8Array,
    address: number,
  ): void;
  /** A call into the device is over, and all of it handed out: `Device.nextDeadline` may be nearer than it was. */
  turnOver?(): void;
  /** Buffers that datagrams may be sealed in. Without it each is sealed in one of the device's, and copied by the sink. */
  readonly outbox?: Outbox;
}

/**
 * Room for one datagram in an outbox. An outbox has slots of its own class, and gets them back. Where one is a `Room` besides,
 * a native cipher writes there by its address.
 */
export interface OutboxSlot {
  /** As long as was asked for. */
  readonly bytes: Uint8Array;
}

/**
 * Memory of a sink's own, for datagrams to be sealed where they are sent from. A slot is the device's from `take` to
 * `send` or `discard`: until then nobody else may read it, let alone send any of it. What is sent has passed the
 * release gate; what is discarded has not.
 */
export interface Outbox {
  /** A slot for one datagram of `length` bytes; `undefined` when none is left for this endpoint. */
  take(length: number, to: Endpoint): OutboxSlot | undefined;
  /** The slot holds a datagram that passed the gate. It is not copied: the slot is the sink's again. */
  send(slot: OutboxSlot, to: Endpoint): void;
  /** Takes a slot back that is not to be sent. Its bytes have been zeroed. */
  discard(slot: OutboxSlot): void;
}
