// A whole machine in memory, as a program would build it, but for the wire: what all sections measure.
// Promises: an immediate source is read at every check, and the generator draws on the kernel; nothing is faked that a
// row does not say.
// Read on: sessions/device.ts.

import { Crng } from '../crng/crng.js';
import { kernelEntropy } from '../crng/entropy.js';
import { keystreamOf } from '../protocol/keystream.js';
import type { Suite } from '../protocol/suite.js';
import { Device, type DeviceOptions } from '../sessions/device.js';
import type { Clock, Sink } from '../sessions/ports.js';
import { systemClock } from '../tunnel/clock.js';
import { UdpEndpoint } from '../tunnel/endpoint.js';
import { VmGenId } from '../vmgenid/driver.js';
import type { GenerationSource } from '../vmgenid/source.js';
import { MemorySource } from '../vmgenid/sources/memory.js';

export type MachineOptions = Partial<DeviceOptions> & {
  readonly source?: GenerationSource;
  readonly clock?: Clock;
};

export class Machine {
  readonly vmgenid: VmGenId;
  readonly crng: Crng;
  readonly device: Device;
  readonly privateKey: Uint8Array;
  readonly #entropy = kernelEntropy();

  constructor(suite: Suite, sink: Sink, options: MachineOptions = {}) {
    const { source = new MemorySource(), clock = systemClock, ...others } = options;
    this.vmgenid = new VmGenId([source]);
    this.crng = new Crng({
      entropy: this.#entropy,
      vmgenid: this.vmgenid,
      keystream: keystreamOf(suite),
      now: () => performance.now(),
    });
    this.privateKey = this.crng.x25519PrivateKey();
    this.device = new Device({
      privateKey: this.privateKey,
      crng: this.crng,
      vmgenid: this.vmgenid,
      clock,
      sink,
      suite,
      ...others,
    });
  }

  get publicKey(): Uint8Array {
    const key = this.device.publicKey;
    if (!key) throw new Error('the device has no key');
    return key;
  }

  async close(): Promise<void> {
    this.device.close();
    this.crng.close();
    this.#entropy.close();
    await this.vmgenid.close();
  }
}

/** Two machines that know each other. What one sends waits in the other's inbox until `pump`, or goes to `divert`. */
export class Pair {
  readonly leftAt = UdpEndpoint.of('192.0.2.1', 51_820);
  readonly rightAt = UdpEndpoint.of('192.0.2.2', 51_820);
  readonly left: Machine;
  readonly right: Machine;
  /** Takes the datagrams of the left machine instead of the inbox. */
  divert: ((datagram: Uint8Array) => void) | undefined;
  /** Inner packets that arrived on the right. */
  delivered = 0;
  readonly #inbox: { readonly to: Machine; readonly datagram: Uint8Array }[] = [];

  /** `left`: of the left machine alone. */
  constructor(suite: Suite, options: MachineOptions = {}, left: MachineOptions = {}) {
    this.left = new Machine(
      suite,
      {
        sendDatagram: datagram => {
          if (this.divert) this.divert(datagram);
          else this.#inbox.push({ to: this.right, datagram: datagram.slice() });
        },
        deliverPacket: () => {},
      },
      { ...options, ...left },
    );
    this.right = new Machine(
      suite,
      {
        sendDatagram: datagram => this.#inbox.push({ to: this.left, datagram: datagram.slice() }),
        deliverPacket: () => this.delivered++,
      },
      options,
    );
    this.left.device.setPeer({
      publicKey: this.right.publicKey,
      endpoint: this.rightAt,
      allowedIps: [{ ip: Uint8Array.of(10, 0, 0, 2), prefix: 32 }],
    });
    this.right.device.setPeer({
      publicKey: this.left.publicKey,
      endpoint: this.leftAt,
      allowedIps: [{ ip: Uint8Array.of(10, 0, 0, 1), prefix: 32 }],
    });
  }

  /** Runs a handshake, begun by the left. Throws when it does not come about. */
  handshake(): void {
    const before = this.right.device.stats().handshakesCompleted;
    this.left.device.initiateHandshake(this.right.publicKey);
    this.pump();
    if (this.right.device.stats().handshakesCompleted === before) throw new Error('the handshake failed');
  }

  /** Delivers until nothing is under way. */
  pump(): void {
    for (let next = this.#inbox.shift(); next; next = this.#inbox.shift()) {
      next.to.device.receiveDatagram(next.datagram, next.to === this.left ? this.rightAt : this.leftAt);
    }
  }

  async close(): Promise<void> {
    await this.left.close();
    await this.right.close();
  }
}

/** An IPv4 packet of so many bytes from the left machine to the right one. */
export function innerPacket(bytes: number): Uint8Array {
  const packet = new Uint8Array(bytes);
  packet[0] = 0x45;
  packet[2] = bytes >>> 8;
  packet[3] = bytes;
  packet[8] = 64;
  packet[9] = 253;
  packet.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
  return packet;
}

/** Runs something so many times, corked in batches of so many; one by one without a cork. */
export function inBatches(device: Device, batch: number, times: number, each: (i: number) => void): void {
  if (batch === 1) {
    for (let i = 0; i < times; i++) each(i);
    return;
  }
  for (let i = 0; i < times; ) {
    device.cork();
    for (const end = Math.min(i + batch, times); i < end; i++) each(i);
    device.uncork();
  }
}
