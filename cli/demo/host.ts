// The world around the machines of the demonstration: real sockets, a real generator, and a gateway that is never cloned.

import { Crng, kernelEntropy } from '../../crng/index.js';
import type { Suite } from '../../protocol/suite.js';
import type { DeviceOptions, PeerOptions } from '../../sessions/device.js';
import type { Endpoint } from '../../sessions/ports.js';
import { systemClock } from '../../tunnel/clock.js';
import { UdpEndpoint, UdpTransport } from '../../tunnel/index.js';
import { EventLoopTunnel } from '../../tunnel/loop/event-loop.js';
import { VmGenId } from '../../vmgenid/index.js';
import type { Machine } from '../../demo/machine.js';
import { pause } from '../../demo/time.js';

/** An answer on loopback takes a millisecond; this long without one is a defect. Milliseconds. */
const PATIENCE_MS = 10_000;

export interface Gateway {
  readonly endpoint: Endpoint;
  readonly tunnel: EventLoopTunnel;
  /** Packets that came out of its end of the tunnel. */
  received: number;
}

export interface GatewayOptions extends Pick<DeviceOptions, 'admission' | 'onEvent'> {
  readonly privateKey: Uint8Array;
  readonly peers?: readonly PeerOptions[];
}

/** Goes on with what `machine` does until it is so. Throws when it never is. */
export async function until(machines: readonly Machine[], isSo: () => boolean, what: string): Promise<void> {
  const deadline = systemClock.now() + PATIENCE_MS;
  while (!isSo()) {
    if (systemClock.now() > deadline) throw new Error(`${what} on loopback`);
    await pause(1);
    for (const machine of machines) machine.hear(device => device.runTimers());
  }
}

/** Has the datagrams of a network card heard by a machine. */
export function plug(nic: UdpTransport, machine: Machine): void {
  nic.onDatagram = (datagram, from) => {
    const bytes = new Uint8Array(datagram);
    machine.hear(device => device.receiveDatagram(new Uint8Array(bytes), from));
  };
}

export class Host {
  readonly crng: Crng;
  readonly #suite: Suite;
  readonly #vmgenid: VmGenId;
  readonly #closers: (() => void | Promise<void>)[] = [];

  constructor(suite: Suite) {
    this.#suite = suite;
    const entropy = kernelEntropy();
    this.#vmgenid = new VmGenId([]);
    this.crng = new Crng({ entropy, vmgenid: this.#vmgenid, now: systemClock.now });
    this.#closers.push(() => entropy.close());
  }

  async nic(): Promise<UdpTransport> {
    const nic = await UdpTransport.open({ ipv4: '127.0.0.1', ipv6: false });
    this.#closers.push(() => nic.close());
    return nic;
  }

  async gateway(options: GatewayOptions): Promise<Gateway> {
    const udp = await UdpTransport.open({ ipv4: '127.0.0.1', ipv6: false });
    const tunnel = new EventLoopTunnel({
      ...options,
      suite: this.#suite,
      crng: this.crng,
      vmgenid: this.#vmgenid,
      transports: [udp],
      onPacket: () => {
        gateway.received++;
      },
    });
    const gateway: Gateway = { endpoint: UdpEndpoint.of('127.0.0.1', udp.port), tunnel, received: 0 };
    this.#closers.push(() => tunnel.close());
    return gateway;
  }

  async close(): Promise<void> {
    for (const closer of this.#closers.splice(0).reverse()) await closer();
    this.crng.close();
    await this.#vmgenid.close();
  }
}
