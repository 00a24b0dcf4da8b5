// Two devices that know each other, one clock, and a wire that is a bag: nothing arrives unless a test delivers it.
// Time goes from deadline to deadline, as an event loop would have it; nothing sleeps.

import { blake2s } from '@noble/hashes/blake2.js';
import { Crng, type CrngOptions, type EntropySource } from '../../crng/index.js';
import type { Suite } from '../../protocol/suite.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { Device, type DeviceOptions, type PeerOptions } from '../../sessions/device.js';
import type { DeviceEvent } from '../../sessions/events.js';
import type { Endpoint } from '../../sessions/ports.js';
import type { ReceiveResult } from '../../sessions/receive.js';
import {
  type GenerationSource,
  MemorySource,
  type MemorySourceOptions,
  VmGenId,
} from '../../vmgenid/index.js';
import { SimEndpoint } from './machine.js';
import { ipv4Packet } from './packets.js';

export interface Datagram {
  readonly bytes: Uint8Array;
  readonly from: SimEndpoint;
  readonly to: SimEndpoint;
}

export interface EndOptions {
  readonly device?: Partial<DeviceOptions>;
  readonly source?: MemorySourceOptions;
  /** More sources of generations, beside the simulated page. */
  readonly sources?: readonly GenerationSource[];
  readonly crng?: Partial<CrngOptions>;
  /** How the other end is configured here, beyond key, endpoint and address. */
  readonly peer?: Partial<PeerOptions>;
  /** Called with each datagram, before it falls into the bag. */
  readonly onDatagram?: (datagram: Datagram) => void;
  readonly onPacket?: (packet: Uint8Array) => void;
}

const WALL_CLOCK_START = 1_700_000_000_000;
const fastest = await fastestSuite();
const text = new TextEncoder();

export class End {
  readonly host: number;
  readonly device: Device;
  readonly source: MemorySource;
  readonly vmgenid: VmGenId;
  readonly crng: Crng;
  readonly privateKey: Uint8Array;
  readonly publicKey = new Uint8Array(32);
  readonly endpoint: SimEndpoint;
  /** What this end has sent and nobody has taken from the bag yet. */
  readonly sent: Datagram[] = [];
  /** Packets that came out of the tunnel. */
  readonly received: Uint8Array[] = [];
  readonly events: DeviceEvent[] = [];
  /** While set, the source of generations cannot be read. */
  blind = false;
  /** Reads of the generation so far. */
  reads = 0;

  constructor(host: number, clock: { ms: number; wallMs: number }, suite: Suite, options: EndOptions) {
    this.host = host;
    this.endpoint = new SimEndpoint(host);
    this.privateKey = new Uint8Array(32).fill(0x60 + host);
    suite.publicKey(this.privateKey, this.publicKey);
    this.source = new MemorySource({
      ...options.source,
      onRead: () => {
        this.reads++;
        if (this.blind) throw new Error('the page cannot be read');
        options.source?.onRead?.();
      },
    });
    const now = () => clock.ms;
    this.vmgenid = new VmGenId([this.source, ...(options.sources ?? [])], { now });
    void this.vmgenid.start();
    this.crng = new Crng({ entropy: seeded(`end ${host}`), vmgenid: this.vmgenid, now, ...options.crng });
    this.device = new Device({
      privateKey: this.privateKey,
      suite,
      crng: this.crng,
      vmgenid: this.vmgenid,
      clock: { now, wallClock: () => WALL_CLOCK_START + clock.ms + clock.wallMs },
      sink: {
        sendDatagram: (bytes, to) => {
          const datagram = { bytes: bytes.slice(), from: this.endpoint, to: to };
          options.onDatagram?.(datagram);
          this.sent.push(datagram);
        },
        deliverPacket: (datagram, at, length) => {
          const packet = datagram.slice(at, at + length);
          this.received.push(packet);
          options.onPacket?.(packet);
        },
      },
      onEvent: event => this.events.push(event),
      ...options.device,
    });
  }

  /** Message types in the bag, oldest first. */
  get types(): number[] {
    return this.sent.map(({ bytes }) => bytes[0]);
  }

  /** Empties the bag. */
  take(): Datagram[] {
    return this.sent.splice(0);
  }

  get drops() {
    return this.device.stats().drops;
  }

  /** How often an event of this type was raised. */
  count(type: DeviceEvent['type']): number {
    return this.events.filter(event => event.type === type).length;
  }

  receive({ bytes, from }: Datagram, as: Endpoint = from): ReceiveResult {
    return this.device.receiveDatagram(bytes.slice(), as);
  }
}

export class Pair {
  readonly clock = { ms: 1_000_000, wallMs: 0 };
  readonly a: End;
  readonly b: End;

  constructor(options: { a?: EndOptions; b?: EndOptions; suite?: Suite } = {}) {
    const { suite = fastest } = options;
    this.a = new End(1, this.clock, suite, options.a ?? {});
    this.b = new End(2, this.clock, suite, options.b ?? {});
    introduce(this.a, this.b, options.a?.peer);
    introduce(this.b, this.a, options.b?.peer);
  }

  other(end: End): End {
    return end === this.a ? this.b : this.a;
  }

  /** Sends a packet through the tunnel from `end` to the other. */
  send(end: End, payload: string | Uint8Array = 'hello') {
    return end.device.sendPacket(packetBetween(end, this.other(end), payload));
  }

  /** Delivers everything in the bag, and what that brings about. */
  settle(): void {
    for (let round = 0; round < 20; round++) {
      const datagrams = [...this.a.take(), ...this.b.take()];
      if (datagrams.length === 0) return;
      for (const datagram of datagrams) {
        for (const end of [this.a, this.b]) if (end.endpoint.equals(datagram.to)) end.receive(datagram);
      }
    }
    throw new Error('the two never fall silent');
  }

  /** A session that `by` has begun, confirmed on both sides; then an empty bag. */
  connect(by: End = this.a): this {
    this.send(by, 'connect');
    this.settle();
    return this;
  }

  /** Lets time pass; timers run when they are due. Nothing is delivered, unless `deliver` is set. */
  advance(ms: number, deliver = false): void {
    const { clock, a, b } = this;
    const end = clock.ms + ms;
    for (let steps = 0; ; steps++) {
      if (steps > 100_000) throw new Error('a deadline that never passes');
      if (deliver) this.settle();
      const next = Math.min(a.device.nextDeadline(), b.device.nextDeadline());
      clock.ms = Math.max(clock.ms, Math.min(next, end));
      if (next > end) break;
      a.device.runTimers();
      b.device.runTimers();
      if (!deliver && clock.ms === end && Math.min(a.device.nextDeadline(), b.device.nextDeadline()) > end)
        break;
    }
  }
}

export function packetBetween(from: End, to: End, payload: string | Uint8Array = 'hello'): Uint8Array {
  const bytes = typeof payload === 'string' ? text.encode(payload) : payload;
  return ipv4Packet(`10.0.0.${from.host}`, `10.0.0.${to.host}`, bytes);
}

/** The payload of a packet from `packetBetween`. */
export function payloadOf(packet: Uint8Array): string {
  return new TextDecoder().decode(packet.subarray(20));
}

/** Datagrams of `a` with these payloads; they have left, and nobody has them yet. */
export function sealed(pair: Pair, ...payloads: string[]): Datagram[] {
  for (const payload of payloads) pair.send(pair.a, payload);
  return pair.a.take();
}

/** The payloads that `b` has delivered. */
export function heard(pair: Pair): string[] {
  return pair.b.received.map(payloadOf);
}

export function introduce(end: End, other: End, options: Partial<PeerOptions> = {}): void {
  end.device.setPeer({
    publicKey: other.publicKey,
    endpoint: other.endpoint,
    allowedIps: [{ ip: Uint8Array.of(10, 0, 0, other.host), prefix: 32 }],
    ...options,
  });
}

function seeded(seed: string): EntropySource {
  let draws = 0;
  return {
    name: 'seeded',
    inProcess: false,
    read: into => {
      const block = blake2s(text.encode(`${seed} ${draws++}`));
      for (let i = 0; i < into.length; i++) into[i] = block[i % 32] ^ (i >> 5);
    },
    close: () => {},
  };
}
