// The guest's WireGuard peer: a Device of this package in this process, which no cable but that of a guest reaches.
// Promises: every datagram goes back over the cable it belongs to; what is withheld is recorded and not sent.

import { Crng, kernelEntropy } from '../../../crng/index.js';
import type { Suite } from '../../../protocol/suite.js';
import { fastestSuite } from '../../../protocol/suites/fastest.js';
import { Device, type DeviceOptions } from '../../../sessions/device.js';
import type { Endpoint } from '../../../sessions/ports.js';
import type { ReceiveResult } from '../../../sessions/receive.js';
import { UdpEndpoint } from '../../../tunnel/endpoint.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import type { Identity } from './identity.js';
import type { Link } from './link.js';
import { TcpSink } from './tcp-sink.js';

/** Addresses in the tunnel. */
export const HOST_INNER_IP = Uint8Array.of(10, 77, 0, 1);
export const GUEST_INNER_IP = Uint8Array.of(10, 77, 0, 2);
/** Where both sides of the tunnel listen. */
export const WIREGUARD_PORT = 51_820;

const TIMER_MS = 2;

let suite: Promise<Suite> | undefined;

export type HostPeerOptions = Pick<DeviceOptions, 'tripwire'>;

export class HostPeer {
  /** Called with every packet that comes out of the tunnel. */
  onPacket: (packet: Uint8Array) => void = () => {};
  /** Called when a handshake with the guest has ended well, by the message that shows it. */
  onHandshake: () => void = () => {};
  /** Set while an attacker, or a slow network, keeps what we send: it lands here instead. */
  withheld: Uint8Array[] | undefined;
  readonly #guest: Identity;
  readonly #device: Device;
  readonly #tcp = new TcpSink(packet => this.#device.sendPacket(packet));
  readonly #closers: (() => unknown)[];
  readonly #links = new Map<Endpoint, Link>();

  private constructor(host: Identity, guest: Identity, suite: Suite, options: HostPeerOptions) {
    this.#guest = guest;
    const vmgenid = new VmGenId([new MemorySource()]);
    const entropy = kernelEntropy();
    const clock = { now: () => performance.now(), wallClock: () => Date.now() };
    const crng = new Crng({ entropy, vmgenid, now: clock.now });
    this.#device = new Device({
      privateKey: host.privateKey,
      crng,
      vmgenid,
      clock,
      suite,
      onEvent: ({ type }) => {
        if (type === 'handshakeComplete') this.onHandshake();
      },
      ...options,
      sink: {
        sendDatagram: (datagram, to) => this.#send(datagram, to),
        deliverPacket: (datagram, at, length) => {
          const packet = new Uint8Array(datagram.subarray(at, at + length));
          this.onPacket(packet);
          this.#tcp.take(packet);
        },
      },
    });
    this.#device.setPeer({ publicKey: guest.publicKey, allowedIps: [{ ip: GUEST_INNER_IP, prefix: 32 }] });
    const timer = setInterval(() => {
      this.#tcp.flush();
      this.#device.runTimers();
    }, TIMER_MS);
    timer.unref();
    this.#closers = [
      () => clearInterval(timer),
      () => this.#device.close(),
      () => crng.close(),
      () => entropy.close(),
      () => vmgenid.close(),
    ];
  }

  static async start(host: Identity, guest: Identity, options: HostPeerOptions = {}): Promise<HostPeer> {
    suite ??= fastestSuite();
    return new HostPeer(host, guest, await suite, options);
  }

  /** Answers whatever comes over this cable from now on. Clones may share one peer, or have one each. */
  attach(link: Link): void {
    const endpoint = UdpEndpoint.of(`192.0.2.${this.#links.size + 1}`, WIREGUARD_PORT);
    this.#links.set(endpoint, link);
    link.onDatagram = ({ destinationPort, payload }) => {
      // A device opens a datagram where it lies; the record keeps what was on the wire.
      if (destinationPort === WIREGUARD_PORT) {
        this.#device.receiveDatagram(new Uint8Array(payload), endpoint);
      }
    };
    this.#device.setPeer({ publicKey: this.#guest.publicKey, endpoint });
  }

  /** Calls the guest, unless that was done less than five seconds ago. */
  initiateHandshake(): void {
    this.#device.initiateHandshake(this.#guest.publicKey);
  }

  /** An authenticated datagram without content, as the peer that initiated confirms a session. */
  sendKeepalive(): void {
    this.#device.sendKeepalive(this.#guest.publicKey);
  }

  /** As if it had come over the cable. */
  receive(datagram: Uint8Array): ReceiveResult {
    const [endpoint] = this.#links.keys();
    return this.#device.receiveDatagram(new Uint8Array(datagram), endpoint);
  }

  get hasSession(): boolean {
    return this.#device.peer(this.#guest.publicKey)?.hasSession ?? false;
  }

  /** How often its tripwire has found that the guest was cloned. */
  get clonesFound(): number {
    return this.#device.stats().clonedPeers;
  }

  async close(): Promise<void> {
    for (const link of this.#links.values()) link.onDatagram = () => {};
    for (const closer of this.#closers.splice(0)) await closer();
  }

  #send(datagram: Uint8Array, to: Endpoint): void {
    if (this.withheld) this.withheld.push(new Uint8Array(datagram));
    else this.#links.get(to)?.send(datagram, WIREGUARD_PORT, WIREGUARD_PORT);
  }
}
