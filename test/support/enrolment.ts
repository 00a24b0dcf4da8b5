// A gateway, a template that enrols there, and somebody who has all but the secret; each can be cloned. What drives their
// devices is what drives a real one: keys and addresses are derived, answers may take their time.

import { deriveAddress, derivePresharedKey } from '../../gateway/derive.js';
import type { Suite } from '../../protocol/suite.js';
import type { Admission, AdmittedPeer } from '../../sessions/admission.js';
import type { Device, DeviceOptions } from '../../sessions/device.js';
import type { DeviceEvent } from '../../sessions/events.js';
import { Census } from './census.js';
import { Machine, SimEndpoint } from './machine.js';
import { Network, type Overrides } from './network.js';
import { ipv6Packet } from './packets.js';

export const GATEWAY = 0;
export const TEMPLATE = 1;
/** Has the gateway's key, and another secret. */
export const THIEF = 2;

const SECRET = new Uint8Array(32).fill(0x5e);
const OTHER_SECRET = new Uint8Array(32).fill(0x66);
const PREFIX = Uint8Array.of(0xfd, 0x5e, 0x7c, 0x1a, 0x9b, 0x2d, 0, 0);
const GATEWAY_KEY = new Uint8Array(32).fill(0x40);

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** How whoever decides behaves: `later` is for `answer` to say. */
export type Habit = 'yes' | 'no' | 'fails' | 'later';

/** An answer that is settled by a step, in the same instant, as a promise by its microtask. */
class LateAnswer extends Promise<AdmittedPeer | undefined> {
  #yes: ((answer: AdmittedPeer | undefined) => void) | undefined;
  #no: (() => void) | undefined;

  // oxlint-disable-next-line unicorn/no-thenable -- it is a promise
  override then(yes?: unknown, no?: unknown): never {
    this.#yes = yes as (answer: AdmittedPeer | undefined) => void;
    this.#no = no as () => void;
    return this as never;
  }

  settle(answer: AdmittedPeer | undefined | 'failed'): void {
    const [yes, no] = [this.#yes, this.#no];
    this.#yes = this.#no = undefined;
    if (answer === 'failed') no?.();
    else yes?.(answer);
  }
}

/** Decides at a gateway, and remembers what it is told of those who are gone. */
export class Doorkeeper implements Admission {
  habit: Habit = 'yes';
  /** Questions that were answered when a fork, or time, had ended what waited for it. */
  tooLate = 0;
  readonly #gatewayKey: Uint8Array;
  /** Whether the device waits for any answer. */
  readonly #isAwaited: () => boolean;
  readonly #waiting: { readonly publicKey: Uint8Array; readonly answer: LateAnswer }[] = [];
  readonly #timestamps = new Map<string, Uint8Array>();
  /** Who has proven himself. */
  readonly admitted = new Set<string>();

  constructor(gatewayKey: Uint8Array, isAwaited: () => boolean) {
    this.#gatewayKey = gatewayKey;
    this.#isAwaited = isAwaited;
  }

  admit(publicKey: Uint8Array): AdmittedPeer | undefined | Promise<AdmittedPeer | undefined> {
    if (this.habit === 'fails') throw new Error('the store is gone');
    if (this.habit === 'no') return undefined;
    if (this.habit === 'yes') return this.#settingsOf(publicKey);
    const answer = new LateAnswer(() => {});
    this.#waiting.push({ publicKey, answer });
    return answer;
  }

  /** Answers one of the questions that wait, if any does: which may be one of before a fork. */
  answer(which: number, how: Exclude<Habit, 'later'>): void {
    if (this.#waiting.length === 0) return;
    const [{ publicKey, answer }] = this.#waiting.splice(which % this.#waiting.length, 1);
    if (!this.#isAwaited()) this.tooLate++;
    answer.settle(how === 'fails' ? 'failed' : how === 'no' ? undefined : this.#settingsOf(publicKey));
  }

  hear(event: DeviceEvent): void {
    if (event.type === 'peerAdmitted') this.admitted.add(hex(event.peer));
    if (event.type === 'peerEvicted') this.#timestamps.set(hex(event.peer), event.timestamp);
  }

  #settingsOf(publicKey: Uint8Array): AdmittedPeer {
    return {
      presharedKey: derivePresharedKey(SECRET, this.#gatewayKey, publicKey),
      allowedIps: [{ ip: deriveAddress(PREFIX, publicKey), prefix: 128 }],
      latestTimestamp: this.#timestamps.get(hex(publicKey)),
    };
  }
}

export interface EnrolleeOptions {
  readonly gatewayKey: Uint8Array;
  /** Nothing: it has no preshared key. */
  readonly secret: Uint8Array | undefined;
  /** Whether a key is enrolled by a step of its own, as by a program that is asked about it. */
  readonly takesTime: boolean;
}

/** Drives a device by policy `enrol`. */
export class Enrollee {
  /** Keys that were drawn, in their order. */
  readonly drawn: Uint8Array[] = [];
  address: Uint8Array | undefined;
  /** How often that was said of a key that is enrolled already, or gone. */
  tooLate = 0;
  readonly #device: () => Device;
  readonly #options: EnrolleeOptions;

  constructor(device: () => Device, options: EnrolleeOptions) {
    this.#device = device;
    this.#options = options;
  }

  hear(event: DeviceEvent): void {
    if (event.type !== 'identityDrawn') return;
    this.drawn.push(event.publicKey);
    if (!this.#options.takesTime) this.complete(this.drawn.length - 1);
  }

  /** Says that a key is enrolled, which may be one of long ago. */
  complete(which: number): void {
    const key = this.drawn[which % this.drawn.length];
    if (!key) return;
    const { gatewayKey, secret } = this.#options;
    const device = this.#device();
    if (device.publicKey && hex(device.publicKey) === hex(key)) {
      const presharedKey = secret && derivePresharedKey(secret, gatewayKey, key);
      device.setPeer({ publicKey: gatewayKey, presharedKey });
      this.address = deriveAddress(PREFIX, key);
    }
    if (!device.completeEnrolment(key)) this.tooLate++;
  }
}

export interface EnrolOverrides extends Overrides {
  readonly takesTime?: boolean;
  readonly hasPresharedKey?: boolean;
}

export class EnrolNetwork extends Network {
  readonly census: Census;
  /** What a gateway may not do. */
  readonly harms: string[] = [];
  /** Packets that came from lives of their own, by the life that has sent them. */
  readonly heard = new Map<string, number>();
  readonly doorkeepers = new WeakMap<Machine, Doorkeeper>();
  readonly enrollees = new WeakMap<Machine, Enrollee>();
  readonly #gatewayKey = new Uint8Array(32);
  readonly #outsiders = new Set<string>();

  constructor(suite: Suite) {
    super(suite);
    this.census = new Census(suite, this.ledger);
    suite.publicKey(GATEWAY_KEY, this.#gatewayKey);
    this.census.know(this.#gatewayKey);
  }

  addGateway({ device, ...overrides }: Overrides = {}): Machine {
    this.received[GATEWAY] = [];
    return this.#add(GATEWAY, 'gateway', {
      ...overrides,
      driver: machine => {
        const doorkeeper = new Doorkeeper(
          this.#gatewayKey,
          () => machine.device.stats().admission?.awaited !== 0,
        );
        this.doorkeepers.set(machine, doorkeeper);
        const onEvent = (event: DeviceEvent) => {
          doorkeeper.hear(event);
          if (event.type === 'peerAdmitted' && this.#outsiders.has(hex(event.peer)))
            this.harms.push(`${machine.life} admits who has not the secret`);
        };
        return { privateKey: GATEWAY_KEY, ...device, admission: doorkeeper, onEvent };
      },
      onPacket: (machine, packet, peer) => {
        if (!this.doorkeepers.get(machine)?.admitted.has(hex(peer)))
          this.harms.push(`${machine.life} delivers a packet of somebody unproven`);
        const life = new TextDecoder().decode(packet.subarray(40, -8));
        this.heard.set(life, (this.heard.get(life) ?? 0) + 1);
        this.received[GATEWAY].push(packet);
      },
    });
  }

  /** A machine that knows the gateway, and enrols there from its start on. */
  addEnrollee(identity: typeof TEMPLATE | typeof THIEF, overrides: EnrolOverrides = {}): Machine {
    const { device, takesTime = false, hasPresharedKey = true, ...rest } = overrides;
    const isThief = identity === THIEF;
    const own = isThief ? OTHER_SECRET : SECRET;
    const secret = hasPresharedKey ? own : undefined;
    this.received[identity] = [];
    return this.#add(identity, isThief ? 'thief' : 'template', {
      ...rest,
      driver: machine => {
        const gatewayKey = this.#gatewayKey;
        const enrollee = new Enrollee(() => machine.device, { gatewayKey, secret, takesTime });
        this.enrollees.set(machine, enrollee);
        const onEvent = (event: DeviceEvent) => {
          if (event.type === 'identityDrawn') {
            this.census.know(event.publicKey);
            if (isThief) this.#outsiders.add(hex(event.publicKey));
          }
          enrollee.hear(event);
        };
        return { forkPolicy: 'enrol', ...device, onEvent };
      },
      onPacket: (_machine, packet) => this.received[identity].push(packet),
      setUp: own => {
        own.setPeer({
          publicKey: this.#gatewayKey,
          endpoint: new SimEndpoint(GATEWAY + 1),
          allowedIps: [{ ip: deriveAddress(PREFIX, this.#gatewayKey), prefix: 128 }],
        });
        own.beginEnrolment();
      },
    });
  }

  #add(
    identity: number,
    seed: string,
    options: Partial<Overrides> & {
      driver: (machine: Machine) => Partial<DeviceOptions>;
      setUp?: (device: Device) => void;
    },
  ): Machine {
    const machine = new Machine({
      seed,
      suite: this.recording,
      ledger: this.ledger,
      clock: this.clock,
      setUp: () => {},
      onDatagram: (from, bytes, to) => {
        this.census.leaves(bytes, identity === GATEWAY ? undefined : from.life);
        this.inFlight.push({ bytes, from: this.endpoint(identity), to });
      },
      ...options,
    });
    this.machines.push({ identity, machine });
    return machine;
  }

  /** To the gateway; of the gateway: to whom it has admitted. The packet names the life that sends it. */
  override send(machine: Machine, from: number, to: number): void {
    const gateway = deriveAddress(PREFIX, this.#gatewayKey);
    if (from !== GATEWAY) {
      const { address } = this.enrollees.get(machine) ?? {};
      machine.sendFromMemory(packetBetween(address ?? gateway, gateway, machine.life));
      return;
    }
    const admitted = machine.device.peers().filter(({ origin }) => origin === 'admitted');
    if (admitted.length === 0) return;
    const [{ ip }] = admitted[to % admitted.length].allowedIps;
    machine.sendFromMemory(packetBetween(gateway, ip, machine.life));
  }

  override rekey(machine: Machine, peer: number): void {
    machine.run(device => {
      const peers = device.peers();
      if (peers.length > 0) device.initiateHandshake(peers[peer % peers.length].publicKey);
    });
  }

  /** A step of whoever decides at this gateway. */
  decide(machine: Machine, step: (doorkeeper: Doorkeeper) => void): void {
    machine.run((_device, own) => this.#of(this.doorkeepers, own, step));
  }

  /** A step of whoever enrols this machine. */
  enrol(machine: Machine, step: (enrollee: Enrollee) => void): void {
    machine.run((_device, own) => this.#of(this.enrollees, own, step));
  }

  #of<T>(all: WeakMap<Machine, T>, machine: Machine, step: (driver: T) => void): void {
    const driver = all.get(machine);
    if (driver) step(driver);
  }

  /** The static keys of the machines that enrol, as they are now. */
  keys(): string[] {
    return this.machines.flatMap(({ identity, machine: { device } }) =>
      identity !== GATEWAY && device.publicKey ? [hex(device.publicKey)] : [],
    );
  }
}

function packetBetween(source: Uint8Array, destination: Uint8Array, payload: string): Uint8Array {
  // Eight bytes at the end are overwritten by whatever world the machine is in.
  const packet = ipv6Packet(0, 0, new TextEncoder().encode(`${payload}........`));
  packet.set(source, 8);
  packet.set(destination, 24);
  return packet;
}
