// A network in one process, with a time of its own: machines, and a peer that is never cloned.
// Promises: what is on its way is delivered in order; time passes when somebody says so. Nothing is drawn
// twice: the peer's random numbers are the platform's.

import { Crng } from '../crng/crng.js';
import { kernelEntropy } from '../crng/entropy.js';
import { type Suite, publicKeyOf } from '../protocol/suite.js';
import { Device, type DeviceOptions } from '../sessions/device.js';
import type { Clock, Endpoint } from '../sessions/ports.js';
import { UdpEndpoint } from '../tunnel/endpoint.js';
import { VmGenId } from '../vmgenid/driver.js';
import type { Machine } from './machine.js';

/** Of RFC 5737, for documentation; clones have their ports behind one address, as behind a NAT. */
const PEER_ENDPOINT = UdpEndpoint.of('192.0.2.1', 51820);
const MACHINES = '198.51.100.1';
/** Wall-clock milliseconds at which a simulation begins. */
const BEGIN = Date.UTC(2026, 0);

export interface Port {
  readonly endpoint: UdpEndpoint;
  /** Where the machine's datagrams go. */
  readonly send: (datagram: Uint8Array) => void;
  /** Who hears what comes back. */
  machine: Machine | undefined;
}

export class LocalNetwork {
  readonly clock: Clock = { now: () => this.#now, wallClock: () => BEGIN + this.#now };
  readonly crng: Crng;
  readonly peer: Device;
  readonly peerKey: Uint8Array;
  readonly peerEndpoint = PEER_ENDPOINT;
  /** Sees every datagram of a machine. */
  onDatagram: (datagram: Uint8Array, from: UdpEndpoint) => void = () => {};
  readonly #onTheWay: (() => void)[] = [];
  readonly #ports = new Map<number, Port>();
  #now = 1_000;
  #nextPort = 1_024;

  constructor(
    suite: Suite,
    options: Partial<DeviceOptions> & { readonly onPacket?: (packet: Uint8Array) => void } = {},
  ) {
    const { onPacket, ...device } = options;
    const vmgenid = new VmGenId([]);
    this.crng = new Crng({ entropy: kernelEntropy(), vmgenid, now: this.clock.now });
    const privateKey = this.crng.x25519PrivateKey();
    this.peerKey = publicKeyOf(suite, privateKey);
    this.peer = new Device({
      privateKey,
      suite,
      vmgenid,
      crng: this.crng,
      clock: this.clock,
      tripwire: false,
      sink: {
        sendDatagram: (datagram, to) => this.#toMachine(new Uint8Array(datagram), to),
        deliverPacket: (datagram, at, length) =>
          onPacket?.(new Uint8Array(datagram.subarray(at, at + length))),
      },
      ...device,
    });
  }

  /** A place where a machine can be plugged in. */
  port(): Port {
    const endpoint = UdpEndpoint.of(MACHINES, this.#nextPort++);
    const port: Port = {
      endpoint,
      send: datagram => {
        const bytes = new Uint8Array(datagram);
        this.onDatagram(bytes, endpoint);
        this.#onTheWay.push(() => this.peer.receiveDatagram(bytes, endpoint));
      },
      machine: undefined,
    };
    this.#ports.set(endpoint.port, port);
    return port;
  }

  /** Until nobody has more to say. */
  deliver(): void {
    for (let next = this.#onTheWay.shift(); next; next = this.#onTheWay.shift()) next();
  }

  /** Time passes, for the peer alone: machines sleep. */
  skip(ms: number): void {
    this.#now += ms;
    this.peer.runTimers();
  }

  /** Time passes, and what is due is done. */
  pass(ms: number): void {
    this.skip(ms);
    for (const { machine } of this.#ports.values()) {
      if (machine && machine.device.nextDeadline() <= this.#now) machine.hear(device => device.runTimers());
    }
    this.deliver();
  }

  #toMachine(bytes: Uint8Array, to: Endpoint): void {
    this.#onTheWay.push(() =>
      this.#ports
        .get(to.port)
        ?.machine?.hear(device => device.receiveDatagram(new Uint8Array(bytes), PEER_ENDPOINT)),
    );
  }
}
