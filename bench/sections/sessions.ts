// Many live sessions on one device: what each takes in memory, and how long after a fork all are dead and erased.
// Promises: the device does all that it does in life, but for X25519 and BLAKE2s during set-up, which are stubbed: 100,000
// true handshakes take minutes. The rows say so.
// Read on: sessions/fork-response.ts, sessions/key-slab.ts.

import { INITIATION_BYTES, TRANSPORT_OVERHEAD_BYTES } from '../../protocol/constants.js';
import { mac1Key, writeMac1 } from '../../protocol/cookie.js';
import { type LocalIdentity, type RemoteIdentity, createInitiation } from '../../protocol/handshake.js';
import { KEYPAIR_BYTES, Keypair } from '../../protocol/keypair.js';
import { RESPONSE, readU32 } from '../../protocol/messages.js';
import { KEY_BYTES, type Suite } from '../../protocol/suite.js';
import { tai64n } from '../../protocol/tai64n.js';
import { sealPacket } from '../../protocol/transport.js';
import { UdpEndpoint } from '../../tunnel/endpoint.js';
import { MemorySource } from '../../vmgenid/sources/memory.js';
import { Machine } from '../machine.js';
import { collectGarbage, memory } from '../memory.js';
import { type Row, spread } from '../row.js';

const STUBBED =
  'sessions idle for a minute; key agreement and hashes stubbed for set-up; keypairs, slab, index table and ' +
  'timers are real';
/** Wished for with 100,000 sessions, and so with fewer. */
const UNUSABLE_GOAL_MS = 1;
const ERASED_GOAL_MS = 20;
/** So long before the fork all sessions fell silent. A device calls those in conversation anew, which is not erasing. */
const IDLE_MS = 60_000;

/** `forks`: how often the machine is forked; each time all sessions are built anew. */
export async function sessionsSection(suite: Suite, sessions: number, forks: number): Promise<Row[]> {
  const source = new MemorySource();
  const gateway = new Gateway(withStubs(suite), source);
  await collectGarbage();
  const before = memory();
  gateway.addPeers(sessions);
  gateway.connectAll();
  await collectGarbage();
  const after = memory();

  const times: ForkTimes[] = [];
  for (let fork = 1; fork <= forks; fork++) {
    if (fork > 1) gateway.connectAll();
    await collectGarbage();
    times.push(gateway.fork(source, fork));
  }
  await gateway.close();

  const subject = (name: string) => ({
    section: 'sessions',
    name: `${sessions.toLocaleString('en')} sessions${name}`,
    suite: suite.name,
    note: STUBBED,
  });
  const bytes = (name: string, total: number): Row => ({
    ...subject(`: ${name}`),
    unit: 'bytes',
    value: spread([total / sessions]),
    samples: 1,
  });
  const milliseconds = (name: string, samples: readonly number[], goalMs?: number): Row => {
    const value = spread(samples);
    return {
      ...subject(name),
      unit: 'ms',
      value,
      samples: samples.length,
      ...(goalMs !== undefined && { goal: { text: `under ${goalMs} ms`, met: value.median < goalMs } }),
    };
  };
  const fork = (which: string, some: readonly ForkTimes[]): Row[] => {
    if (some.length === 0) return [];
    const samples = (key: keyof ForkTimes) => some.map(each => each[key]);
    return [
      milliseconds(`, ${which}: all unusable`, samples('unusableMs'), UNUSABLE_GOAL_MS),
      milliseconds(`, ${which}: all keys zeroed`, samples('zeroedMs')),
      milliseconds(`, ${which}: all tidied up`, samples('tidiedMs'), ERASED_GOAL_MS),
    ];
  };
  return [
    bytes('resident memory, each', after.resident - before.resident),
    bytes('heap and buffers, each', after.heapAndBuffers - before.heapAndBuffers),
    bytes('shared memory of keys, each', gateway.slabBytes),
    // The first runs code that the engine has not compiled yet, and is the one that most programs ever meet.
    ...fork('first fork', times.slice(0, 1)),
    ...fork('later fork', times.slice(1)),
  ];
}

/** Milliseconds from the signal. */
interface ForkTimes {
  /** The epoch is raised: nothing seals or opens any more. */
  readonly unusableMs: number;
  /** The slab is zero. */
  readonly zeroedMs: number;
  /** The chain is done: keypairs, indices and timers are dropped too. */
  readonly tidiedMs: number;
}

/** The device under test, and the far ends of all its sessions, of which only the private keys are kept. */
class Gateway {
  readonly #machine: Machine;
  readonly #suite: Suite;
  readonly #remotes: { readonly local: LocalIdentity; readonly at: UdpEndpoint }[] = [];
  /** The gateway as its peers know it. */
  readonly #asRemote: RemoteIdentity & { staticShared: Uint8Array };
  readonly #mac1Key: Uint8Array;
  readonly #response = new Uint8Array(256);
  #clockMs = 0;
  #raisedAt = 0;
  #clockReadAt = 0;

  constructor(suite: Suite, source: MemorySource) {
    this.#suite = suite;
    this.#machine = new Machine(
      suite,
      { sendDatagram: datagram => this.#response.set(datagram), deliverPacket: () => {} },
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
      this.#remotes.push({ local: { privateKey, publicKey }, at });
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
    for (const { local, at } of this.#remotes) {
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
      const keypair = new Keypair(storage, {
        createdAt: 0,
        epoch: 1,
        localIndex: 1,
        remoteIndex,
        isInitiator: true,
      });
      sealPacket(suite, keypair, new Uint8Array(0), 0, keepalive);
      device.receiveDatagram(keepalive, at);
    }
    const made = device.stats().handshakesCompleted - completed;
    if (made !== this.#remotes.length) throw new Error(`${made} sessions of ${this.#remotes.length}`);
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

/**
 * Needs `--expose-gc`; without it the figures are rough. What follows does not pay for the garbage of the set-up, nor
 * for the sweeping that goes on in other threads for a while.
 */
