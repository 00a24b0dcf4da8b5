// A Device on Node's event loop: transports in front of it, a timer under it, the caller's packets behind it.
// Promises: no await between sealing and release; on a fork connections are cut, and the device is run at once.
// Read on: sessions/device.ts; ../transport.ts.

import { Device, type DeviceOptions, type PeerOptions } from '../../sessions/device.js';
import { isSilencedByFork } from '../../sessions/events.js';
import type { Clock, Endpoint } from '../../sessions/ports.js';
import type { SendResult } from '../../sessions/send.js';
import type { VmGenId } from '../../vmgenid/driver.js';
import { systemClock } from '../clock.js';
import type { TunnelError } from '../errors.js';
import type { Transport } from '../transport.js';

/** What such a tunnel is made of. */
export interface EventLoopTunnelOptions extends Omit<DeviceOptions, 'clock' | 'sink' | 'vmgenid'> {
  readonly vmgenid: Pick<
    VmGenId,
    'check' | 'poll' | 'register' | 'onEvidence' | 'epoch' | 'forkEpoch' | 'protection' | 'evidence'
  >;
  /** Each datagram goes by the first that owns its endpoint. Closed by `close`. */
  readonly transports: readonly Transport[];
  readonly peers?: readonly PeerOptions[] | undefined;
  /** Default: the system's. */
  readonly clock?: Clock | undefined;
  /** Called for each packet that comes out of the tunnel. The bytes are the caller's. */
  readonly onPacket: (packet: Uint8Array, peerPublicKey: Uint8Array) => void;
  /** Hears what the system reports of sockets. The tunnel goes on. */
  readonly onTransportError?: ((error: TunnelError) => void) | undefined;
}

/** setTimeout counts in 31 bits; a later deadline is looked at again then. Milliseconds. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** A device on the event loop of Node or of a page. */
export class EventLoopTunnel {
  readonly device: Device;
  readonly #transports: Transport[];
  readonly #unregister: () => void;
  readonly #vmgenid: EventLoopTunnelOptions['vmgenid'];
  readonly #onTransportError: (error: TunnelError) => void;
  readonly #clock: Clock;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #soon: (() => void) | undefined;
  #armedFor = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(options: EventLoopTunnelOptions) {
    const {
      transports,
      peers = [],
      clock = systemClock,
      onPacket,
      onTransportError,
      ...deviceOptions
    } = options;
    this.#onTransportError = onTransportError ?? (() => {});
    this.#vmgenid = options.vmgenid;
    this.#clock = clock;
    this.#transports = [];
    this.device = new Device({
      ...deviceOptions,
      clock,
      sink: {
        sendDatagram: (datagram, to) => this.#transport(to)?.send(datagram, to),
        deliverPacket: (datagram, at, length, peer) =>
          onPacket(new Uint8Array(datagram.subarray(at, at + length)), peer),
        // Whoever called: `device` is public.
        turnOver: () => this.#rearm(),
      },
    });
    for (const transport of transports) this.addTransport(transport);
    for (const peer of peers) this.device.setPeer(peer);
    // After the sessions are wiped: cut what else was cloned, then call the peers that wait.
    this.#unregister = options.vmgenid.register('application', fork => {
      for (const transport of this.#transports) transport.dropAll(`VM fork, epoch ${fork.epoch}`);
    });
  }

  /** Takes datagrams from another transport too, such as a WebSocket to one peer. Closed by `close`. */
  addTransport(transport: Transport): void {
    transport.onDatagram = (datagram, from) => {
      if (this.#closed) return;
      this.device.gatherDatagram(datagram, from);
    };
    transport.onError = this.#onTransportError;
    transport.isHeld = this.#isHeld;
    transport.onReopened = to => this.device.renewSessions(to);
    this.#transports.push(transport);
  }

  /** Adds or changes a peer; see `Device.setPeer`. */
  setPeer(peer: PeerOptions): void {
    this.device.setPeer(peer);
  }

  /** Sends an IP packet to the peer that its destination belongs to. */
  sendPacket(packet: Uint8Array): SendResult {
    return this.device.sendPacket(packet);
  }

  /** Starts a handshake with a peer, unless one was started less than five seconds ago. */
  initiateHandshake(publicKey: Uint8Array): void {
    this.device.initiateHandshake(publicKey);
  }

  /** Erases all secrets, ends the timer and closes the transports. May be called twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#soon?.();
    this.#unregister();
    this.device.close();
    await Promise.all(this.#transports.map(transport => transport.close()));
  }

  // Read now: a transport that asks may have waited for long.
  readonly #isHeld = (): boolean => {
    if (!isSilencedByFork(this.device.settings.forkPolicy)) return false;
    this.#vmgenid.check();
    return this.device.held;
  };

  #transport(to: Endpoint): Transport | undefined {
    return this.#transports.find(transport => transport.owns(to));
  }

  // A timer that is armed for an earlier instant stays: to wake once too often is cheaper than to re-arm per packet.
  #rearm(): void {
    if (this.#closed) return;
    const deadline = this.device.nextDeadline();
    if (deadline >= this.#armedFor) return;
    clearTimeout(this.#timer);
    this.#armedFor = deadline;
    // What is due at once waits until the datagrams that are there have been taken: a part of it after each round.
    if (deadline === Number.NEGATIVE_INFINITY) {
      this.#soon = afterThisRound(() => this.#run());
      return;
    }
    const delay = Math.ceil(Math.max(0, deadline - this.#clock.now()));
    this.#timer = setTimeout(() => this.#run(), Math.min(delay, LONGEST_TIMEOUT_MS));
  }

  #run(): void {
    this.#armedFor = Number.POSITIVE_INFINITY;
    this.device.runTimers();
  }
}

/** Calls back when the datagrams that are there have been taken; a page has no better word for it than `later`. */
function afterThisRound(call: () => void): () => void {
  if (typeof setImmediate === 'undefined') {
    const timer = setTimeout(call);
    return () => clearTimeout(timer);
  }
  const immediate = setImmediate(call);
  return () => clearImmediate(immediate);
}
