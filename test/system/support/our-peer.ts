// Our side: a Device in this process behind a UDP socket on loopback, that answers pings and can send them.
// Its clock runs with the machine's, but can be set forward; its machine can be forked; what it sends is recorded.

import { Crng, kernelEntropy } from '../../../crng/index.js';
import { TRANSPORT, messageType, readU32 } from '../../../protocol/messages.js';
import { fastestSuite } from '../../../protocol/suites/fastest.js';
import { HANDSHAKE_INITIATION, HANDSHAKE_RESPONSE, TRANSPORT_DATA } from '../../../protocol/constants.js';
import { Device, type DeviceOptions } from '../../../sessions/device.js';
import type { DeviceEvent } from '../../../sessions/events.js';
import type { Endpoint } from '../../../sessions/ports.js';
import { UdpEndpoint } from '../../../tunnel/endpoint.js';
import { parseIp } from '../../../tunnel/ip.js';
import { UdpTransport } from '../../../tunnel/loop/udp.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import { echoReply, echoRequest, readEcho } from './echo.js';
import { run, sleep, until } from './run.js';
import { OUR_V4, OUR_V6, THEIR_V4, THEIR_V6, type PingResult, type WireguardGo } from './wireguard-go.js';

export interface OurPingResult extends PingResult {
  /** The numbers, from 1 on, of the pings that were not answered, where there are any. */
  readonly lost?: readonly number[];
}

/** What left, as far as anybody on the wire can read it. */
export interface SentDatagram {
  readonly type: 'initiation' | 'response' | 'cookie' | 'data';
  /** The receiver's index, for data. It names the session. */
  readonly receiverIndex: number;
  /** Whether a handshake message proves its sender's address. */
  readonly hasMac2: boolean;
  readonly to: string;
}

export interface OurPeerOptions {
  /** Default: a new one. */
  readonly privateKey?: Uint8Array;
  /** Default: one that is free. */
  readonly port?: number;
  readonly device?: Partial<DeviceOptions>;
}

const TIMER_MS = 2;
const MAC_BYTES = 16;

export class OurPeer {
  readonly device: Device;
  readonly privateKey: Uint8Array;
  readonly crng: Crng;
  /** The generation of the machine in which this peer runs. */
  readonly source: MemorySource;
  readonly sent: SentDatagram[] = [];
  readonly events: DeviceEvent[] = [];
  /** Whether pings are answered. */
  answers = true;
  readonly #closers: (() => unknown)[];
  readonly #replies = new Set<string>();
  #udp: UdpTransport;
  #skippedMs = 0;
  #pings = 0;

  private constructor(
    udp: UdpTransport,
    suite: DeviceOptions['suite'],
    { privateKey, device }: OurPeerOptions,
  ) {
    const clock = {
      now: () => performance.now() + this.#skippedMs,
      wallClock: () => Date.now() + this.#skippedMs,
    };
    this.#udp = udp;
    this.source = new MemorySource();
    const vmgenid = new VmGenId([this.source]);
    const entropy = kernelEntropy();
    this.crng = new Crng({ entropy, vmgenid, now: clock.now });
    this.privateKey = privateKey ?? this.crng.x25519PrivateKey();
    this.device = new Device({
      privateKey: this.privateKey,
      crng: this.crng,
      vmgenid,
      clock,
      ...(suite && { suite }),
      sink: {
        sendDatagram: (datagram, to) => this.#send(datagram, to),
        deliverPacket: (datagram, at, length) => this.#deliver(datagram.subarray(at, at + length)),
      },
      onEvent: event => this.events.push(event),
      ...device,
    });
    this.#listen();
    const timer = setInterval(() => this.device.runTimers(), TIMER_MS);
    this.#closers = [
      () => clearInterval(timer),
      () => this.device.close(),
      () => this.#udp.close(),
      () => this.crng.close(),
      () => entropy.close(),
      () => vmgenid.close(),
    ];
  }

  static async start(options: OurPeerOptions = {}): Promise<OurPeer> {
    return new OurPeer(await openUdp(options.port), await fastestSuite(), options);
  }

  get publicKey(): Uint8Array {
    const { publicKey } = this.device;
    if (!publicKey) throw new Error('our peer has no key');
    return publicKey;
  }

  get port(): number {
    return this.#udp.port;
  }

  /** Makes the other side our peer. `address`: where its sockets are; none when it has to find us. */
  setPeer(theirs: WireguardGo, options: { address?: string; presharedKey?: Uint8Array } = {}): void {
    const { address, presharedKey } = options;
    this.device.setPeer({
      publicKey: theirs.publicKey,
      allowedIps: [
        { ip: ipOf(THEIR_V4), prefix: 32 },
        { ip: ipOf(THEIR_V6), prefix: 128 },
      ],
      ...(address !== undefined && { endpoint: UdpEndpoint.of(address, theirs.listenPort) }),
      ...(presharedKey && { presharedKey }),
    });
  }

  /** Sets the clock forward. What has become due is done with the next turn of the timer. */
  skip(ms: number): void {
    this.#skippedMs += ms;
  }

  /** Goes on from another port. */
  async move(): Promise<void> {
    const before = this.#udp;
    this.#udp = await openUdp();
    this.#listen();
    await before.close();
  }

  /** Pings the other side's address in the tunnel. Waits until all replies are there, or `timeoutMs` after the last. */
  async ping(
    address: string,
    options: { count?: number; intervalMs?: number; timeoutMs?: number; onSent?: (n: number) => void } = {},
  ): Promise<OurPingResult> {
    const { count = 3, intervalMs = 10, timeoutMs = 3_000, onSent } = options;
    const to = ipOf(address);
    const from = ipOf(to.length === 4 ? OUR_V4 : OUR_V6);
    const id = ++this.#pings;
    const sequences = Array.from({ length: count }, (_, i) => i + 1);
    for (const sequence of sequences) {
      if (sequence > 1) await sleep(intervalMs);
      this.device.sendPacket(echoRequest(from, to, id, sequence));
      onSent?.(sequence);
    }
    const unanswered = () => sequences.filter(sequence => !this.#replies.has(`${id} ${sequence}`));
    await until('replies', () => unanswered().length === 0, timeoutMs).catch(() => undefined);
    const lost = unanswered();
    return { sent: count, received: count - lost.length, ...(lost.length > 0 && { lost }) };
  }

  /** How many datagrams of a type have left so far. */
  count(type: SentDatagram['type']): number {
    return this.sent.filter(datagram => datagram.type === type).length;
  }

  /** The sessions under which data has left, by the receiver's index, from the `from`th datagram on. */
  sessions(from = 0): Set<number> {
    return new Set(
      this.sent
        .slice(from)
        .filter(({ type }) => type === 'data')
        .map(datagram => datagram.receiverIndex),
    );
  }

  has(type: DeviceEvent['type']): boolean {
    return this.events.some(event => event.type === type);
  }

  async close(): Promise<void> {
    for (const closer of this.#closers.splice(0)) await closer();
  }

  #listen(): void {
    this.#udp.onDatagram = (datagram, from) => this.device.receiveDatagram(datagram, from);
  }

  #send(datagram: Uint8Array, to: Endpoint): void {
    this.sent.push(describe(datagram, to));
    this.#udp.send(datagram, to);
  }

  #deliver(packet: Uint8Array): void {
    const echo = readEcho(packet);
    if (echo?.kind === 'request' && this.answers) this.device.sendPacket(echoReply(packet));
    if (echo?.kind === 'reply') this.#replies.add(`${echo.id} ${echo.sequence}`);
  }
}

/** A shared key for a pair of peers. */
export async function newPresharedKey(): Promise<Uint8Array> {
  return new Uint8Array(Buffer.from((await run('wg', ['genpsk'])).trim(), 'base64'));
}

/** A UDP port that nobody has now. */
export async function freePort(): Promise<number> {
  const udp = await openUdp();
  await udp.close();
  return udp.port;
}

export function ipOf(address: string): Uint8Array {
  const parsed = parseIp(address);
  if (!parsed) throw new Error(`not an address: ${address}`);
  return parsed.ip;
}

function openUdp(port = 0): Promise<UdpTransport> {
  return UdpTransport.open({ port, ipv4: '127.0.0.1', ipv6: '::1' });
}

function describe(datagram: Uint8Array, to: Endpoint): SentDatagram {
  const type = messageType(datagram);
  const isHandshake = type === HANDSHAKE_INITIATION || type === HANDSHAKE_RESPONSE;
  return {
    type:
      type === HANDSHAKE_INITIATION
        ? 'initiation'
        : type === HANDSHAKE_RESPONSE
          ? 'response'
          : type === TRANSPORT_DATA
            ? 'data'
            : 'cookie',
    receiverIndex: type === TRANSPORT_DATA ? readU32(datagram, TRANSPORT.receiver) : 0,
    hasMac2: isHandshake && datagram.subarray(-MAC_BYTES).some(byte => byte !== 0),
    to: to.toString(),
  };
}
