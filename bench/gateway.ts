// A gateway with very many sessions, as bench sections want one in a hurry.
// Promises: the device does all that it does in life, but for X25519 and BLAKE2s, which are stubbed: 100,000 true
// handshakes take a minute. Keypairs, slab, index table and timers are real.
// Read on: sections/sessions.ts, sections/peers.ts.

import { INITIATION_BYTES, TRANSPORT_OVERHEAD_BYTES } from '../protocol/constants.js';
import { mac1Key, writeMac1 } from '../protocol/cookie.js';
import { type LocalIdentity, type RemoteIdentity, createInitiation } from '../protocol/handshake.js';
import { KEYPAIR_BYTES, Keypair } from '../protocol/keypair.js';
import { RESPONSE, readU32 } from '../protocol/messages.js';
import { sealerOf } from '../protocol/batches.js';
import { KEY_BYTES, type Sealer, type Suite } from '../protocol/suite.js';
import { tai64n } from '../protocol/tai64n.js';
import { sealPacket } from '../protocol/transport.js';
import type { Device } from '../sessions/device.js';
import { UdpEndpoint } from '../tunnel/endpoint.js';
import type { MemorySource } from '../vmgenid/sources/memory.js';
import { Machine } from './machine.js';

/** So long before the fork all sessions fell silent. A device calls those in conversation anew, which is not erasing. */
const IDLE_MS = 60_000;

/** Milliseconds from the signal. */
export interface ForkTimes {
  /** The epoch is raised: nothing seals or opens any more. */
  readonly unusableMs: number;
  /** The slab is zero. */
  readonly zeroedMs: number;
  /** The chain is done: keypairs, indices and timers are dropped too. */
  readonly tidiedMs: number;
}

interface Remote {
  readonly local: LocalIdentity;
  readonly at: UdpEndpoint;
  session: Keypair | undefined;
}

/**
 * The device under test, and the far ends of all its sessions, of which private keys and receiving indices are kept. With
 * this suite, but for key agreement and hashes.
 */
export class Gateway {
  readonly #machine: Machine;
  readonly #suite: Suite;
  readonly #sealer: Sealer;
  readonly #remotes: Remote[] = [];
  readonly #keepsSessions: boolean;
  /** The gateway as its peers know it. */
  readonly #asRemote: RemoteIdentity & { staticShared: Uint8Array };
  readonly #mac1Key: Uint8Array;
  /** The last datagram that left. */
  readonly #response = new Uint8Array(2_048);
  /** Packets that came out of the device. */
  delivered = 0;
  #clockMs = 0;
  #raisedAt = 0;
  #clockReadAt = 0;

  /** `keepSessions`: the far ends keep theirs, to seal with, which takes memory too. */
  constructor(realSuite: Suite, source: MemorySource, { keepSessions = false } = {}) {
    const suite = withStubs(realSuite);
    this.#keepsSessions = keepSessions;
    this.#suite = suite;
    this.#sealer = sealerOf(suite);
    this.#machine = new Machine(
      suite,
      { sendDatagram: datagram => this.#response.set(datagram), deliverPacket: () => this.delivered++ },
      {
        source,
        clock: { now: () => this.#now(), wallClock: () => 1_700_000_000_000 + this.#clockMs },
        underLoadThreshold: Number.MAX_SAFE_INTEGER,
      },
    );
    // Told before all others: whoever runs from here on finds the new epoch, and every session dead.
    this.#machine.vmgenid.register(
      'randomness',
      () => {
        this.#raisedAt = performance.now();
      },
      { name: 'stopwatch', priority: Number.MAX_SAFE_INTEGER },
    );
    this.#asRemote = {
      publicKey: this.#machine.publicKey,
      staticShared: new Uint8Array(KEY_BYTES),
      presharedKey: new Uint8Array(KEY_BYTES),
    };
    this.#mac1Key = mac1Key(suite, this.#machine.publicKey);
  }

  // A device that answers a fork asks for the time when it has zeroed the slab, and not before.
  #now(): number {
    if (this.#clockReadAt === 0) this.#clockReadAt = performance.now();
    return this.#clockMs;
  }

  get device(): Device {
    return this.#machine.device;
  }

  get slabBytes(): number {
    return this.#machine.device.stats().sessionSlabBytes;
  }

  addPeers(count: number): void {
    for (let i = 0; i < count; i++) {
      const privateKey = this.#machine.crng.bytes(KEY_BYTES);
      const publicKey = new Uint8Array(KEY_BYTES);
      this.#suite.publicKey(privateKey, publicKey);
      const ip = Uint8Array.of(10, i >>> 16, i >>> 8, i);
      const at = new UdpEndpoint(ip, 51_820);
      this.#machine.device.setPeer({ publicKey, endpoint: at, allowedIps: [{ ip, prefix: 32 }] });
      this.#remotes.push({ local: { privateKey, publicKey }, at, session: undefined });
    }
  }

  /** A handshake with each peer, begun by the peer and confirmed by its keepalive. */
  connectAll(): void {
    this.#clockMs += 1_000;
    const { device, crng } = this.#machine;
    const suite = this.#suite;
    const completed = device.stats().handshakesCompleted;
    const timestamp = tai64n(1_700_000_000_000 + this.#clockMs);
    const initiation = new Uint8Array(INITIATION_BYTES);
    const keepalive = new Uint8Array(TRANSPORT_OVERHEAD_BYTES);
    const ephemeralPrivate = new Uint8Array(KEY_BYTES);
    const storage = new Uint8Array(KEYPAIR_BYTES);
    const transportKeys = {
      send: storage.subarray(0, KEY_BYTES),
      receive: storage.subarray(KEY_BYTES, 2 * KEY_BYTES),
    };
    for (const remote of this.#remotes) {
      const { local, at } = remote;
      crng.fill(ephemeralPrivate);
      suite.sharedSecret(local.privateKey, this.#asRemote.publicKey, this.#asRemote.staticShared);
      const input = { ephemeralPrivate, senderIndex: 1, timestamp };
      const sent = createInitiation(suite, local, this.#asRemote, input, initiation);
      writeMac1(suite, this.#mac1Key, initiation);
      device.receiveDatagram(initiation, at);
      const response = this.#response.subarray(0, 92);
      storage.fill(0);
      if (!sent?.consumeResponse(response, local, this.#asRemote, transportKeys)) {
        throw new Error('a handshake failed');
      }
      const remoteIndex = readU32(response, RESPONSE.sender);
      const keypair = new Keypair(this.#keepsSessions ? storage.slice() : storage, {
        createdAt: 0,
        epoch: 1,
        localIndex: 1,
        remoteIndex,
        isInitiator: true,
      });
      sealPacket(this.#sealer, keypair, new Uint8Array(0), 0, keepalive);
      this.#sealer.settle();
      device.receiveDatagram(keepalive, at);
      if (this.#keepsSessions) remote.session = keypair;
    }
    const made = device.stats().handshakesCompleted - completed;
    if (made !== this.#remotes.length) throw new Error(`${made} sessions of ${this.#remotes.length}`);
  }

  /** Where peer `i` has its addresses: inside and, by this bench's choice, outside too. */
  endpointOf(i: number): UdpEndpoint {
    return this.#remotes[i].at;
  }

  /** Writes to `out` what peer `i` sends when it sends this packet. Returns its length. Needs `keepSessions`. */
  sealFrom(i: number, packet: Uint8Array, padded: number, out: Uint8Array): number {
    const length = sealPacket(this.#sealer, this.#remotes[i].session as Keypair, packet, padded, out);
    this.#sealer.settle();
    return length;
  }

  /** The hypervisor's signal, and the first look at it. The look returns when the chain has run to its end. */
  fork(source: MemorySource, number: number): ForkTimes {
    this.#clockMs += IDLE_MS;
    const { device, vmgenid } = this.#machine;
    const wiped = device.stats().wipedKeypairs;
    this.#clockReadAt = 0;
    const start = performance.now();
    source.fork(new Uint8Array(16).fill(number));
    vmgenid.check();
    const end = performance.now();
    const count = device.stats().wipedKeypairs - wiped;
    if (count !== this.#remotes.length)
      throw new Error(`${count} keypairs erased of ${this.#remotes.length}`);
    return {
      unusableMs: this.#raisedAt - start,
      zeroedMs: this.#clockReadAt - start,
      tidiedMs: end - start,
    };
  }

  close(): Promise<void> {
    return this.#machine.close();
  }
}

/**
 * X25519 and BLAKE2s take nearly all of a handshake. In their place: the private key for a public one, XOR for a secret,
 * and a hash that is none, but tells inputs apart. Both ends use them, so the handshakes come about.
 */
function withStubs(suite: Suite): Suite {
  return {
    ...suite,
    publicKey: (privateKey, out) => out.set(privateKey),
    sharedSecret: (privateKey, publicKey, out) => {
      for (let i = 0; i < KEY_BYTES; i++) out[i] = privateKey[i] ^ publicKey[i];
      return true;
    },
    hash: stubHash,
    mac: stubHash,
    hmac: stubHash,
  };
}

function stubHash(out: Uint8Array, ...parts: Uint8Array[]): void {
  let state = 0x811c_9dc5;
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) state = Math.imul(state ^ part[i], 0x0100_0193);
  }
  for (let i = 0; i < out.length; i++) {
    state = Math.imul(state ^ (state >>> 15), 0x0100_0193) + i;
    out[i] = state >>> 24;
  }
}
