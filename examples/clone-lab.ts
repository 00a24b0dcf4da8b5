// The laboratory of unguarded-catastrophe.ts and guarded-twin.ts: a server that is never cloned, a wire, and somebody
// who listens to the wire and has no keys. Nothing in here knows which of the two programs it serves.
// Promises: no real time, socket or randomness, so that each run gives the same output to the byte.

import { Crng, type EntropySource } from 'wireonce/crng';
import {
  messageType,
  nobleSuite,
  TRANSPORT,
  TRANSPORT_DATA,
  TRANSPORT_OVERHEAD_BYTES,
} from 'wireonce/protocol';
import { type Clock, Device, type Endpoint, type Sink } from 'wireonce/sessions';
import { parseAllowedIp, UdpEndpoint } from 'wireonce/tunnel';
import { VmGenId } from 'wireonce/vmgenid';
import { ipv4Text } from './ipv4.js';

/** Addresses inside the tunnel. */
export const MACHINE = '10.0.0.2';
export const SERVER = '10.0.0.1';
/** Addresses outside of it. Clones have one network card in common, as they have everything else. */
const MACHINE_ENDPOINT = UdpEndpoint.of('192.0.2.2', 51820);
const SERVER_ENDPOINT = UdpEndpoint.of('192.0.2.1', 51820);

/** The entropy of a kernel whose state was cloned: whoever has the seed reads the same bytes. For laboratories only. */
export function seededEntropy(seed: string): EntropySource {
  const key = new TextEncoder().encode(seed);
  let blocks = 0;
  return {
    name: 'laboratory',
    read: into => {
      const block = new Uint8Array(32);
      for (let at = 0; at < into.length; at += block.length) {
        blocks++;
        nobleSuite.hash(block, key, new Uint8Array(Uint32Array.of(blocks).buffer));
        into.set(block.subarray(0, into.length - at), at);
      }
    },
    close: () => {},
  };
}

/** Two different packets under one key and one counter, as they went over the wire. */
export interface Reuse {
  readonly receiverIndex: number;
  readonly counter: bigint;
  readonly first: Uint8Array;
  readonly second: Uint8Array;
}

export class Lab {
  /** Data packets that left the machine, copies left out. */
  datagrams = 0;
  /** Data packets that were seen again, byte for byte. */
  copies = 0;
  readonly reuses: Reuse[] = [];
  /** What came out of the tunnel at the server. */
  readonly heardByServer: string[] = [];
  #time = 0;
  readonly clock: Clock = { now: () => this.#time, wallClock: () => Date.UTC(2026, 0) + this.#time };
  readonly #machines: Device[] = [];
  readonly #onTheWay: { readonly datagram: Uint8Array; readonly to: Endpoint }[] = [];
  readonly #seen = new Map<string, Uint8Array[]>();
  readonly #vmgenid = new VmGenId([]);
  readonly #crng = new Crng({
    entropy: seededEntropy('server'),
    vmgenid: this.#vmgenid,
    now: this.clock.now,
  });
  readonly #server = new Device({
    privateKey: this.#crng.x25519PrivateKey(),
    crng: this.#crng,
    vmgenid: this.#vmgenid,
    clock: this.clock,
    sink: {
      sendDatagram: (datagram, to) => this.#onTheWay.push({ datagram: datagram.slice(), to }),
      deliverPacket: (datagram, at, length) =>
        this.heardByServer.push(ipv4Text(datagram.subarray(at, at + length))),
    },
  });

  /** Where a machine's datagrams go. */
  readonly networkCard: Sink = {
    sendDatagram: (datagram, to) => {
      this.#overhear(datagram.slice());
      this.#onTheWay.push({ datagram: datagram.slice(), to });
    },
    deliverPacket: () => {},
  };

  /** Introduces a machine and the server to each other. */
  connect(machine: Device): void {
    this.#machines.push(machine);
    const { publicKey } = machine;
    const serverKey = this.#server.publicKey;
    if (!publicKey || !serverKey) throw new Error('a machine without a private key');
    this.#server.setPeer({ publicKey, allowedIps: [parseAllowedIp(MACHINE)] });
    const allowedIps = [parseAllowedIp(SERVER)];
    machine.setPeer({ publicKey: serverKey, endpoint: SERVER_ENDPOINT, allowedIps });
  }

  /** Carries datagrams until nobody has more to say. What is sent to the machine's address reaches every clone. */
  deliver(): void {
    for (let next = this.#onTheWay.shift(); next; next = this.#onTheWay.shift()) {
      if (next.to.equals(SERVER_ENDPOINT)) this.#server.receiveDatagram(next.datagram, MACHINE_ENDPOINT);
      // A device decrypts in place: to each its own copy.
      else for (const one of this.#machines) one.receiveDatagram(next.datagram.slice(), SERVER_ENDPOINT);
    }
  }

  /** Lets milliseconds pass. */
  wait(ms: number): void {
    this.#time += ms;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#crng.close();
    await this.#vmgenid.close();
  }

  // The receiver index names the session and with it the key; the counter is the nonce. Both stand there in the clear.
  #overhear(datagram: Uint8Array): void {
    if (messageType(datagram) !== TRANSPORT_DATA) return;
    const view = new DataView(datagram.buffer);
    const receiverIndex = view.getUint32(TRANSPORT.receiver, true);
    const counter = view.getBigUint64(TRANSPORT.counter, true);
    const name = `${receiverIndex} ${counter}`;
    const before = this.#seen.get(name) ?? [];
    // The same bytes again tell nobody anything.
    if (before.some(other => equal(other, datagram))) {
      this.copies++;
      return;
    }
    this.datagrams++;
    for (const first of before) this.reuses.push({ receiverIndex, counter, first, second: datagram });
    this.#seen.set(name, [...before, datagram]);
  }
}

/**
 * Reads the second packet of a pair without its key. Both ciphertexts are plaintext XOR one and the same keystream: the
 * first, with its plaintext guessed, gives the keystream away, and the keystream gives the second.
 */
export function recoverPlaintext({ first, second }: Reuse, guessed: Uint8Array): Uint8Array {
  const length = Math.min(first.length, second.length) - TRANSPORT_OVERHEAD_BYTES;
  return Uint8Array.from({ length }, (_, i) => {
    // The tunnel fills up with zeros to a multiple of 16 bytes.
    const keystream = (first[TRANSPORT.packet + i] ?? 0) ^ (guessed[i] ?? 0);
    return (second[TRANSPORT.packet + i] ?? 0) ^ keystream;
  });
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
