// A gateway in this process, as a daemon has one, but for its cables: it was told of nobody, and admits whoever has the secret.
// Promises: what it says of a guest it has from the wire of that guest, and from what came out of the tunnel there.

import { Crng, kernelEntropy } from '../../../crng/index.js';
import { GatewayAdmission, MemoryPeerStore } from '../../../gateway/index.js';
import { HANDSHAKE_INITIATION } from '../../../protocol/constants.js';
import { receiveInitiation } from '../../../protocol/handshake.js';
import { messageType } from '../../../protocol/messages.js';
import type { Suite } from '../../../protocol/suite.js';
import { fastestSuite } from '../../../protocol/suites/fastest.js';
import { Device } from '../../../sessions/device.js';
import { echoPacket, parseIcmp } from '../../../cli/icmp.js';
import { UdpEndpoint } from '../../../tunnel/endpoint.js';
import { formatIp } from '../../../tunnel/ip.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import { WIREGUARD_PORT } from './host-peer.js';
import { type Identity, identityOf } from './identity.js';
import type { Link } from './link.js';

export const ENROLMENT_SECRET = identityOf('the secret of the tests').privateKey;
export const PREFIX = Uint8Array.of(0xfd, 0x5e, 0x7c, 0x1a, 0x9b, 0x2d, 0, 0);
const ADDRESS = Uint8Array.of(...PREFIX, 0, 0, 0, 0, 0, 0, 0, 1);
/** It answers pings here. */
export const ECHO_ADDRESS = formatIp(ADDRESS);

const TIMER_MS = 2;

/** A ping that came out of the tunnel. */
export interface Ping {
  /** The static public key that it came under, in base64. */
  readonly key: string;
  readonly address: string;
  readonly text: string;
  /** Milliseconds on the host's monotonic clock. */
  readonly at: number;
}

const base64 = (key: Uint8Array) => Buffer.from(key).toString('base64');

export class HostGateway {
  /** By cable. */
  readonly #pings = new Map<Link, Ping[]>();
  readonly #admitted = new Set<string>();
  readonly #identity: Identity;
  readonly #suite: Suite;
  readonly #device: Device;
  readonly #store = new MemoryPeerStore();
  readonly #endpoints = new Map<UdpEndpoint, Link>();
  readonly #closers: (() => unknown)[];
  /** So far: each has an address of its own. */
  #cables = 0;
  /** Where the datagram came from that is being looked at. */
  #from: Link | undefined;

  private constructor(identity: Identity, suite: Suite) {
    this.#identity = identity;
    this.#suite = suite;
    const vmgenid = new VmGenId([new MemorySource()]);
    const entropy = kernelEntropy();
    const clock = { now: () => performance.now(), wallClock: () => Date.now() };
    const crng = new Crng({ entropy, vmgenid, now: clock.now });
    const admission = new GatewayAdmission({
      store: this.#store,
      secrets: [ENROLMENT_SECRET],
      prefix: PREFIX,
      wallClock: clock.wallClock,
      after: (ms, callback) => {
        const timer = setTimeout(callback, ms);
        return () => clearTimeout(timer);
      },
      onEvent: event => {
        if (event.type === 'admitted') this.#admitted.add(base64(event.publicKey));
      },
    });
    this.#device = new Device({
      privateKey: identity.privateKey,
      crng,
      vmgenid,
      clock,
      suite,
      admission: { admit: publicKey => admission.admit(publicKey, identity.publicKey) },
      onEvent: event => admission.hear(event),
      sink: {
        sendDatagram: (datagram, to) =>
          this.#endpoints.get(to as UdpEndpoint)?.send(datagram, WIREGUARD_PORT, WIREGUARD_PORT),
        deliverPacket: (datagram, at, length, key) => this.#answer(datagram.slice(at, at + length), key),
      },
    });
    admission.onEvict = publicKey => void this.#device.removePeer(publicKey);
    const timer = setInterval(() => this.#device.runTimers(), TIMER_MS);
    timer.unref();
    this.#closers = [
      () => clearInterval(timer),
      () => this.#device.close(),
      () => this.#store.close(),
      () => crng.close(),
      () => entropy.close(),
      () => vmgenid.close(),
    ];
  }

  static async start(identity: Identity): Promise<HostGateway> {
    return new HostGateway(identity, await fastestSuite());
  }

  get publicKey(): Uint8Array {
    return this.#identity.publicKey;
  }

  /** Answers whatever comes over this cable from now on. */
  attach(link: Link): void {
    const endpoint = UdpEndpoint.of(`198.18.${this.#cables >> 8}.${this.#cables & 255}`, WIREGUARD_PORT);
    this.#cables++;
    this.#endpoints.set(endpoint, link);
    this.#pings.set(link, []);
    link.onDatagram = ({ destinationPort, payload }) => {
      if (destinationPort !== WIREGUARD_PORT) return;
      this.#from = link;
      // A device opens a datagram where it lies; the record keeps what was on the wire.
      this.#device.receiveDatagram(new Uint8Array(payload), endpoint);
      this.#from = undefined;
    };
  }

  detach(link: Link): void {
    link.onDatagram = () => {};
    for (const [endpoint, at] of this.#endpoints) if (at === link) this.#endpoints.delete(endpoint);
    this.#pings.delete(link);
  }

  /** What came over this cable and was authenticated. */
  pings(link: Link): readonly Ping[] {
    return this.#pings.get(link) ?? [];
  }

  /** Whether this key, in base64, has proven itself. */
  hasAdmitted(key: string): boolean {
    return this.#admitted.has(key);
  }

  /** The static public key, in base64, of whoever has made an initiation for us; `undefined` for any other datagram. */
  callerOf(datagram: Uint8Array): string | undefined {
    if (messageType(datagram) !== HANDSHAKE_INITIATION) return undefined;
    const received = receiveInitiation(this.#suite, this.#identity, datagram);
    received?.discard();
    return received && base64(received.remotePublicKey);
  }

  async close(): Promise<void> {
    for (const link of this.#endpoints.values()) link.onDatagram = () => {};
    for (const closer of this.#closers.splice(0)) await closer();
  }

  #answer(packet: Uint8Array, key: Uint8Array): void {
    const echo = parseIcmp(packet);
    if (echo?.kind !== 'request' || !this.#from) return;
    const text = new TextDecoder().decode(echo.payload);
    const address = formatIp(echo.source);
    this.#pings.get(this.#from)?.push({ key: base64(key), address, text, at: performance.now() });
    this.#device.sendPacket(
      echoPacket({ ...echo, kind: 'reply', source: echo.destination, destination: echo.source }),
    );
  }
}
