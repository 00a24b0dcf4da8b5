// A whole WireGuard device without I/O: bytes and time in, bytes and events out.
// Promises: no key and nonce seal two plaintexts, through forks of the machine too, given an immediate source of
// generations. Knows no clock, no wire and no randomness but those given to its constructor.
// Read on: docs/architecture.md; WireGuard paper; Linux drivers/net/wireguard/device.c.

import { bytesToHex } from '@noble/hashes/utils.js';
import type { Randomness } from '../crng/randomness.js';
import { equalBytes, isZero } from '../native/bytes.js';
import type { Memory } from '../native/room.js';
import { copySecret } from '../native/secret-bytes.js';
import { REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME_MS } from '../protocol/constants.js';
import { sealerOf } from '../protocol/batches.js';
import type { Keypair } from '../protocol/keypair.js';
import { KEY_BYTES, type Suite } from '../protocol/suite.js';
import { nobleSuite } from '../protocol/suites/noble.js';
import type { ForkGuard } from '../vmgenid/driver.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import { type Admission, type AdmittedPeer, expireAdmissions, settleAdmission } from './admission.js';
import { Admissions, type Stranger } from './admissions.js';
import { type AllowedIp, AllowedIps } from './allowed-ips.js';
import type { Context } from './context.js';
import { CookieJar } from './cookie-jar.js';
import { DeadlineQueue } from './deadline-queue.js';
import { type Drop, DropCounter, type DropReason } from './drops.js';
import { SessionError } from './errors.js';
import type { DeviceEvent } from './events.js';
import { enter, hold, respondToFork, wipeSessions } from './fork-response.js';
import { Gathered } from './gathered.js';
import { Handout } from './handout.js';
import { HandshakeQueue } from './handshake-queue.js';
import { acceptInitiation } from './handshakes.js';
import { beginEnrolment, completeEnrolment, drawIdentity, forgetIdentity, setIdentity } from './identity.js';
import { IndexTable } from './index-table.js';
import { KeySlab } from './key-slab.js';
import { DEFAULT_UNDER_LOAD_THRESHOLD, GATEWAY_UNDER_LOAD_THRESHOLD, LoadMeter } from './load-meter.js';
import { type IndexEntry, PEER_IDENTITY_BYTES, PEER_SESSION_BYTES, type Peer } from './peer.js';
import { PeerRecords } from './peer-times.js';
import { addPeer, endAdmissions, removePeer } from './peers.js';
import type { Clock, Endpoint, KeyMemory, Sink } from './ports.js';
import { requireAddress, requireKey, requirePeerSettings, requireRange } from './require.js';
import { type ReceiveResult, gatherDatagram, openGathered, receiveDatagram } from './receive.js';
import { consumeQueued } from './receive-handshakes.js';
import { pump } from './pump.js';
import { type PeerRecovery, Recovery, type RecoveryStats } from './recovery.js';
import { type Output, ReleaseGate } from './release.js';
import { type SendResult, sendPacket } from './send.js';
import { type DeviceSettings, type SettledSettings, settle } from './settings.js';
import {
  authenticatedPacketSent,
  dataSent,
  fireTimers,
  keepaliveSent,
  setPersistentKeepalive,
} from './timers.js';
import { touchDestinations } from './touch.js';
import { Turn } from './turn.js';
import { recall, retryWaiting } from './waiting.js';
import { Wish, Wishes } from './wishes.js';

/** What a device is made of. */
export interface DeviceOptions extends DeviceSettings {
  /** 32 bytes; copied. A device without one is silent. */
  readonly privateKey?: Uint8Array | undefined;
  readonly crng: Randomness;
  readonly vmgenid: ForkGuard;
  readonly clock: Clock;
  readonly sink: Sink;
  /** Default: the noble suite, which runs everywhere. */
  readonly suite?: Suite | undefined;
  /** Default: plain shared memory. Elsewhere it may be locked, see `LockedKeyMemory`. */
  readonly keyMemory?: KeyMemory | undefined;
  /** Bytes of the largest inner packet; bounds the padding. Default 1420. */
  readonly mtu?: number | undefined;
  /** So many handshake messages that wait, and cookies are asked for. Default 128, with `admission` 2048. */
  readonly underLoadThreshold?: number | undefined;
  /** Decides about static keys that no peer has. Without it they are unknown, and refused. */
  readonly admission?: Admission | undefined;
  /** Hears what happens to handshakes, peers and forks. What it throws reaches whoever called the device. */
  readonly onEvent?: ((event: DeviceEvent) => void) | undefined;
}

/** A peer as it is set; what is left out of a known one stays as it is. */
export interface PeerOptions {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 32 bytes; zeros clear it. Left as it is when absent. */
  readonly presharedKey?: Uint8Array | undefined;
  readonly endpoint?: Endpoint | undefined;
  /** Seconds, 0 to 65,535; 0 is off. */
  readonly persistentKeepalive?: number | undefined;
  /** Added to those the peer has, unless `replaceAllowedIps`. One that another peer has moves. */
  readonly allowedIps?: readonly AllowedIp[] | undefined;
  readonly replaceAllowedIps?: boolean | undefined;
}

/** What can be said of a peer without telling a secret. */
export interface PeerInfo {
  readonly publicKey: Uint8Array;
  readonly endpoint: Endpoint | undefined;
  readonly persistentKeepalive: number;
  readonly allowedIps: readonly AllowedIp[];
  readonly hasPresharedKey: boolean;
  /** Wall-clock milliseconds; 0 before the first. */
  readonly lastHandshakeAt: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Whether there is a keypair that may seal now. */
  readonly hasSession: boolean;
  /** The epoch in which that keypair was born. */
  readonly sessionEpoch: number | undefined;
  /** The index by which the peer calls it: it goes over the wire in the clear. */
  readonly sessionIndex: number | undefined;
  /** Of a peer that was called for the last fork of the machine. */
  readonly recovery: PeerRecovery | undefined;
  /** `provisional`: answered, and not proven yet. `admitted`: by `DeviceOptions.admission`. */
  readonly origin: 'configured' | 'provisional' | 'admitted';
}

/** What a device has counted since it was made. */
export interface DeviceStats {
  readonly drops: Readonly<Record<DropReason, number>>;
  readonly epoch: number;
  readonly held: boolean;
  /** Forks responded to. */
  readonly forks: number;
  /** Drills responded to, see `VmGenId.drill`. */
  readonly drills: number;
  readonly wipedKeypairs: number;
  readonly handshakesCompleted: number;
  /** How often a peer was found to be cloned. */
  readonly clonedPeers: number;
  /** Sealed datagrams that the release gate discarded. */
  readonly discardedAtRelease: number;
  /** Peers whose handshake waits for fresh randomness. */
  readonly waitingForFreshness: number;
  /** Bytes of shared memory that hold session secrets. */
  readonly sessionSlabBytes: number;
  /** How far it has come back from the last fork; undefined before the first. */
  readonly recovery: RecoveryStats | undefined;
  /** Of a device with `admission`. */
  readonly admission: AdmissionStats | undefined;
}

/** Who comes to a gateway, and how far. What was refused is among the drops. */
export interface AdmissionStats {
  /** Initiations that wait for an answer now. */
  readonly awaited: number;
  /** Peers that were answered and have not proven themselves. */
  readonly provisional: number;
  /** Admitted peers in memory now. */
  readonly present: number;
  /** Since the start: who proved himself; who did not in time; who was put out of memory without keys. */
  readonly admitted: number;
  readonly expired: number;
  readonly evicted: number;
}

/** While a handshake waits for randomness, this often it is tried again. Milliseconds. */
export const FRESHNESS_POLL_MS = 10;

const DEFAULT_MTU = 1420;
const MAX_MTU = 65_535;

/** No private key. */
const NO_KEY = new Uint8Array(KEY_BYTES);

const STALE: Drop = Object.freeze({ drop: 'staleEpoch' });

/** A WireGuard interface without I/O: datagrams, packets and time in; datagrams, packets and events out. */
export class Device {
  readonly #context: Context;
  readonly #identitySlab: KeySlab;
  readonly #sessionSlab: KeySlab;
  readonly #sink: Sink;
  readonly #admission: Admission | undefined;
  readonly #unregister: (() => void)[];
  #forks = 0;
  #drills = 0;
  #wipedKeypairs = 0;
  #handshakesCompleted = 0;
  #clonedPeers = 0;
  #discardedAtRelease = 0;
  #retryAt = Number.NEGATIVE_INFINITY;
  /** Of the turns that are open, those that `cork` has begun. */
  #corks = 0;

  /** Throws `ERR_STRICT_PROTECTION` when `strict` and the machine offers less than immediate protection. */
  constructor(options: DeviceOptions) {
    const { vmgenid, clock, sink, mtu = DEFAULT_MTU } = options;
    const settings = settle(options);
    const { holdBackMs } = settings;
    if (settings.strict && vmgenid.protection !== 'immediate') {
      throw new SessionError(
        'ERR_STRICT_PROTECTION',
        `strict: this machine offers protection '${vmgenid.protection}', not 'immediate'`,
      );
    }
    requireRange('mtu', mtu, 0, MAX_MTU);
    requireRange('holdBackMs', holdBackMs, 0, Number.MAX_SAFE_INTEGER);
    const drops = new DropCounter();
    const peers = new Map<string, Peer>();
    const suite = options.suite ?? nobleSuite;
    const sealer = sealerOf(suite);
    const gate = new ReleaseGate({
      sealer,
      vmgenid,
      clock,
      sink,
      holdBackMs,
      onReleased: output => this.#released(output),
      onDiscarded: output => this.#discarded(output),
    });
    this.#identitySlab = new KeySlab(PEER_IDENTITY_BYTES, options.keyMemory);
    this.#sessionSlab = new KeySlab(PEER_SESSION_BYTES, options.keyMemory);
    this.#context = {
      suite,
      crng: options.crng,
      vmgenid,
      clock,
      settings,
      peers,
      indices: new IndexTable<IndexEntry>(),
      allowedIps: new AllowedIps<Peer>(),
      deadlines: new DeadlineQueue<Peer>(),
      records: new PeerRecords(),
      sealer,
      gate,
      gathered: new Gathered(suite),
      handshakeQueue: new HandshakeQueue(),
      turn: new Turn(),
      wishes: new Wishes(),
      handout: new Handout(sink, options.onEvent ?? (() => {}), awaited => this.#ask(awaited)),
      drops,
      cookies: new CookieJar(this.#sessionSlab.allocate()),
      load: new LoadMeter(
        options.underLoadThreshold ??
          (options.admission ? GATEWAY_UNDER_LOAD_THRESHOLD : DEFAULT_UNDER_LOAD_THRESHOLD),
      ),
      sessionSlab: this.#sessionSlab,
      identitySlab: this.#identitySlab,
      identityBlock: this.#identitySlab.allocate(),
      admissions: options.admission && new Admissions(),
      peerId: bytesToHex,
      emit: event => this.#emit(event),
      recalled: new Set(),
      recovery: new Recovery(),
      waiting: new Set(),
      local: undefined,
      mtu,
      epoch: vmgenid.epoch,
      held: false,
      enrolment: 'none',
      paused: false,
    };
    this.#admission = options.admission;
    this.#unregister = [
      vmgenid.register('sessions', () => this.#respondToFork(vmgenid.epoch), { name: 'wireguard device' }),
      vmgenid.onEvidence(() => {
        this.#retryAt = Number.NEGATIVE_INFINITY;
        this.#handOutQuietly();
      }),
    ];
    // Nothing is handed out before the caller has his device.
    if (options.privateKey) {
      requireKey('private key', options.privateKey);
      this.#setPrivateKey(options.privateKey);
    }
    this.#sink = sink;
  }

  /**
   * Sets or (without a key) removes our identity. All sessions end, as they belonged to the old one; a device that
   * was on hold speaks again. A peer with our own key is removed. The key that is set already changes nothing, unless
   * the device is on hold.
   */
  setPrivateKey(privateKey?: Uint8Array): void {
    const context = this.#context;
    if (privateKey) requireKey('private key', privateKey);
    if (privateKey && context.local && !context.held && equalBytes(privateKey, context.local.privateKey))
      return;
    this.#setPrivateKey(privateKey);
    this.#handOutQuietly();
  }

  #setPrivateKey(privateKey: Uint8Array = NO_KEY): void {
    this.#wipe();
    this.#context.held = false;
    this.#context.enrolment = 'none';
    setIdentity(this.#context, privateKey);
  }

  /**
   * Draws a private key of its own for this device, as after a fork by policy `enrol`: all sessions end, the key until now is
   * erased, and the device is silent until `completeEnrolment`. `identityDrawn` tells of the new key, which waits for
   * randomness that no sibling of this machine shares.
   */
  beginEnrolment(): void {
    beginEnrolment(this.#context);
    try {
      this.#wipe();
    } finally {
      hold(this.#context);
    }
    this.#retryAt = Number.NEGATIVE_INFINITY;
    this.#handOutQuietly();
  }

  /**
   * The key that `identityDrawn` told of may speak from here on: every peer with an endpoint is called at once. False, with
   * nothing changed, when it is not ours any more, as after another fork: then another event tells of another key.
   */
  completeEnrolment(publicKey: Uint8Array): boolean {
    return this.#turn(() => {
      enter(this.#context);
      return completeEnrolment(this.#context, publicKey);
    });
  }

  /** Whether an identity of its own is to be drawn, or was drawn and waits for `completeEnrolment`. */
  get isEnrolling(): boolean {
    return this.#context.enrolment !== 'none';
  }

  /** Our public key, 32 bytes; none until a private key is set. */
  get publicKey(): Uint8Array | undefined {
    return this.#context.local?.publicKey;
  }

  /** A copy of our private key, 32 bytes, for whoever shows a configuration; it is theirs to erase. */
  exportPrivateKey(): Uint8Array | undefined {
    const { local } = this.#context;
    return local && copySecret(local.privateKey);
  }

  /** A copy of a peer's preshared key, 32 bytes, zeros for none; it is the caller's to erase. Throws `ERR_UNKNOWN_PEER`. */
  exportPresharedKey(publicKey: Uint8Array): Uint8Array {
    return copySecret(this.#peer(publicKey).presharedKey);
  }

  /** What it was told, and the defaults of the rest. */
  get settings(): SettledSettings {
    return this.#context.settings;
  }

  /** Whether it is silent after a fork, by policy `hold` or `enrol`, until it has a new private key. */
  get held(): boolean {
    return this.#context.held;
  }

  /**
   * While true no handshake is begun: for whoever has nowhere to send to, as an interface that is down. Default false. When it
   * ends, what was staged meanwhile is sent, or the handshake begun that it waits for; by policy `enrol` every peer is called
   * that there is no session with.
   */
  get paused(): boolean {
    return this.#context.paused;
  }

  set paused(paused: boolean) {
    const context = this.#context;
    if (paused === context.paused) return;
    context.paused = paused;
    if (paused) return;
    // Who enrols is unknown to his gateway before he calls.
    const callsAll = context.settings.forkPolicy === 'enrol' && !context.held;
    this.#turn(() => {
      for (const peer of context.peers.values()) {
        if (peer.staged.length > 0) context.wishes.add(peer, Wish.flush);
        else if (callsAll && peer.endpoint && peer.keypairs.size === 0)
          context.wishes.add(peer, Wish.handshake);
      }
    });
  }

  get mtu(): number {
    return this.#context.mtu;
  }

  set mtu(mtu: number) {
    requireRange('mtu', mtu, 0, MAX_MTU);
    this.#context.mtu = mtu;
  }

  /** Adds a peer, or changes one: what is absent stays as it is. A peer with our own key is ignored. */
  setPeer(options: PeerOptions): void {
    const context = this.#context;
    const { publicKey } = options;
    requireKey('public key', publicKey);
    requirePeerSettings(options);
    const id = bytesToHex(publicKey);
    if (context.local && id === bytesToHex(context.local.publicKey)) return;

    this.#turn(() => this.#setPeer(id, options));
  }

  #setPeer(id: string, options: PeerOptions): void {
    const context = this.#context;
    const { publicKey, presharedKey, persistentKeepalive } = options;
    const peer = context.peers.get(id) ?? addPeer(context, id, publicKey);
    context.admissions?.forget(peer);
    peer.admission = undefined;
    peer.isProvisional = false;
    if (presharedKey) peer.presharedKey.set(presharedKey);
    if (options.endpoint) {
      peer.endpoint = options.endpoint;
      peer.endpoint.isPeers = true;
    }
    if (options.replaceAllowedIps) context.allowedIps.removeAll(peer);
    for (const { ip, prefix } of options.allowedIps ?? []) context.allowedIps.insert(ip, prefix, peer);
    if (persistentKeepalive !== undefined) {
      setPersistentKeepalive(context, peer, persistentKeepalive, context.clock.now());
    }
    // A keepalive may have waited for somewhere to go.
    if (options.endpoint && peer.staged.length > 0) context.wishes.add(peer, Wish.flush);
  }

  /** Takes an address range from a peer; false when it is not the peer's. */
  removeAllowedIp(publicKey: Uint8Array, { ip, prefix }: AllowedIp): boolean {
    requireAddress(ip, prefix);
    return this.#context.allowedIps.remove(ip, prefix, this.#peer(publicKey));
  }

  /** Removes a peer with all its secrets; false when there is none. */
  removePeer(publicKey: Uint8Array): boolean {
    return removePeer(this.#context, bytesToHex(publicKey));
  }

  /** Has keys that were refused asked about again at once: for whoever has just made another decision about one. */
  forgetRefusals(): void {
    this.#context.admissions?.forgetRefusals();
  }

  /** Every peer, in the order in which they were added. */
  peers(): PeerInfo[] {
    return Array.from(this.#context.peers.values(), peer => this.#info(peer));
  }

  /** One peer; `undefined` when there is none with this key. */
  peer(publicKey: Uint8Array): PeerInfo | undefined {
    const peer = this.#context.peers.get(bytesToHex(publicKey));
    return peer && this.#info(peer);
  }

  /** Sends an IP packet to the peer that its destination address belongs to. The packet is copied. */
  sendPacket(packet: Uint8Array): SendResult {
    const context = this.#context;
    context.turn.begin();
    let result: SendResult | undefined;
    let released = true;
    try {
      result = sendPacket(context, packet);
    } finally {
      released = this.#end();
    }
    // The gate has counted the drop; the caller learns of it too.
    if (result === 'sent') return released ? result : STALE;
    return result === 'staged' ? this.#fateOf(packet) : result;
  }

  /** What has become of a packet that was staged, now that its handshake was begun, or had to wait. */
  #fateOf(packet: Uint8Array): SendResult {
    const { allowedIps, drops, held, waiting } = this.#context;
    if (held) return drops.drop('held');
    const peer = allowedIps.lookupDestination(packet, 0);
    // Who hears of a fork may have removed it.
    if (!peer) return drops.drop('noRoute');
    return waiting.has(peer) ? 'waitingForFreshness' : 'staged';
  }

  /** Sends a keepalive to a peer, with a handshake before it where one is needed. Throws `ERR_UNKNOWN_PEER`. */
  sendKeepalive(publicKey: Uint8Array): void {
    const peer = this.#peer(publicKey);
    this.#turn(() => this.#context.wishes.add(peer, Wish.keepalive));
  }

  /** Starts a handshake, unless one was started less than five seconds ago. Throws `ERR_UNKNOWN_PEER`. */
  initiateHandshake(publicKey: Uint8Array): void {
    const peer = this.#peer(publicKey);
    this.#turn(() => this.#context.wishes.add(peer, Wish.handshake));
  }

  /**
   * Call when a connection to an endpoint was made anew: whoever is at its other end may have been restarted, or forked, and
   * know nothing of our sessions. Peers there that we have any with are called, unless they were in the last five seconds.
   */
  renewSessions(to: Endpoint): void {
    const { peers, wishes } = this.#context;
    this.#turn(() => {
      for (const peer of peers.values()) {
        if (peer.keypairs.size > 0 && peer.endpoint?.equals(to)) wishes.add(peer, Wish.handshake);
      }
    });
  }

  /**
   * Whoever has several packets for `sendPacket`, `packets[0, count)`, may say so before the first of them: with very many
   * peers they are then sent faster. It changes nothing, and may be wrong.
   */
  expectPackets(packets: readonly Uint8Array[], count: number): void {
    touchDestinations(this.#context, packets, count);
  }

  /**
   * Takes a datagram from the wire, and does at once what it asks for: for whoever is not flooded. Data is decrypted in
   * place: the content of `datagram` is undefined afterwards. Between `cork` and `uncork` it must stay as it is, since its
   * packet is handed out then.
   */
  receiveDatagram(datagram: Uint8Array, from: Endpoint): ReceiveResult {
    return this.#turn(() => receiveDatagram(this.#context, datagram, from));
  }

  /**
   * As `receiveDatagram`, but a handshake message is copied and waits for `runTimers`, which does a bounded part of what
   * waits: so data never waits behind it. Between `cork` and `uncork` data may wait to be opened together: until `uncork`
   * the datagram must stay as it is. In a `Room` a native cipher opens it by its address, which saves it the question.
   */
  gatherDatagram(datagram: Memory, from: Endpoint): void {
    this.#context.turn.begin();
    try {
      gatherDatagram(this.#context, datagram, from);
    } finally {
      this.#end();
    }
  }

  /**
   * Call while a part of the handshake messages is kept away from the device: it is under load then, and for a second
   * after, though few of them wait.
   */
  noteLoad(): void {
    this.#context.load.note(this.#context.clock.now());
  }

  /**
   * From here to `uncork` is one turn: sealed datagrams gather, and one reading of the generation, made after the last was
   * sealed, releases or discards all of them; packets and events are handed out after that. Do not wait for anything
   * before `uncork`. Calls may nest.
   */
  cork(): void {
    this.#corks++;
    this.#context.turn.begin();
  }

  /** One too many does no harm. */
  uncork(): void {
    if (this.#corks === 0) return;
    this.#corks--;
    this.#end();
  }

  /** Does everything that is due. Call when `nextDeadline` has come; calling it more often does no harm. */
  runTimers(): void {
    this.#turn(() => this.#runTimers());
  }

  #runTimers(): void {
    const context = this.#context;
    const { crng, turn } = context;
    const epoch = enter(context);
    recall(context);
    if (this.#waitsForFreshness() && turn.now >= this.#retryAt) {
      this.#retryAt = turn.now + FRESHNESS_POLL_MS;
      if (epoch !== NO_EPOCH && crng.isFresh()) {
        if (context.enrolment === 'due') drawIdentity(context, epoch);
        retryWaiting(context);
      }
    }
    openGathered(context);
    consumeQueued(context);
    fireTimers(context, turn.now);
    expireAdmissions(context, turn.now);
  }

  #waitsForFreshness(): boolean {
    return this.#context.waiting.size > 0 || this.#context.enrolment === 'due';
  }

  /**
   * When `runTimers` must be called next, in monotonic milliseconds; Infinity when nothing is due, -Infinity when it is due
   * at once, though not before datagrams get their turn.
   */
  nextDeadline(): number {
    const { admissions, deadlines, gate, handshakeQueue, recalled, turn, wishes } = this.#context;
    // What it has begun it also ends.
    if (turn.isOpen) return deadlines.nextDeadline();
    if (handshakeQueue.length > 0 || recalled.size > 0 || !wishes.isEmpty) return Number.NEGATIVE_INFINITY;
    const retryAt = this.#waitsForFreshness() ? this.#retryAt : Number.POSITIVE_INFINITY;
    const admissionsEnd = admissions?.nextDeadline() ?? Number.POSITIVE_INFINITY;
    return Math.min(deadlines.nextDeadline(), gate.nextDeadline(), retryAt, admissionsEnd);
  }

  /** Erases all sessions and handshakes, as when the machine goes to sleep; identities stay. */
  wipe(): void {
    this.#wipe();
    this.#handOutQuietly();
  }

  #wipe(): void {
    this.#context.handshakeQueue.clear();
    this.#wipedKeypairs += wipeSessions(this.#context).wipedKeypairs;
    endAdmissions(this.#context);
  }

  /** Counters since the start, and what holds the device up. */
  stats(): DeviceStats {
    const { admissions, clock, drops, epoch, held, recovery, waiting } = this.#context;
    return {
      drops: { ...drops.counts },
      epoch,
      held,
      forks: this.#forks,
      drills: this.#drills,
      wipedKeypairs: this.#wipedKeypairs,
      handshakesCompleted: this.#handshakesCompleted,
      clonedPeers: this.#clonedPeers,
      discardedAtRelease: this.#discardedAtRelease,
      waitingForFreshness: waiting.size,
      sessionSlabBytes: this.#sessionSlab.bytes,
      recovery: recovery.stats(clock.now()),
      admission: admissions && {
        awaited: admissions.awaited,
        provisional: admissions.provisional,
        present: admissions.present,
        admitted: admissions.admitted,
        expired: admissions.expired,
        evicted: admissions.evicted,
      },
    };
  }

  /** The fewest counters that the sending keypair of any peer has left; `undefined` without one. Looks at every peer. */
  nonceHeadroom(): bigint | undefined {
    let least: bigint | undefined;
    for (const { keypairs } of this.#context.peers.values()) {
      if (!keypairs.current) continue;
      const left = REJECT_AFTER_MESSAGES - keypairs.current.counter.value;
      if (least === undefined || left < least) least = left;
    }
    return least;
  }

  /** Keypairs that would seal in another epoch than this: none, after every response to a fork. Looks at every peer. */
  staleKeypairs(): number {
    const { peers, epoch } = this.#context;
    const isStale = (keypair: Keypair | undefined) =>
      keypair !== undefined && keypair.sendEpoch !== NO_EPOCH && keypair.sendEpoch !== epoch;
    let count = 0;
    for (const { keypairs } of peers.values()) {
      for (const each of [keypairs.previous, keypairs.current, keypairs.next]) if (isStale(each)) count++;
    }
    return count;
  }

  /** Erases everything, identities too. The device is of no more use. */
  close(): void {
    for (const unregister of this.#unregister.splice(0)) unregister();
    try {
      this.#wipe();
    } finally {
      const { gate, gathered, handout, recalled, wishes } = this.#context;
      for (const waiting of [gate, gathered, handout, recalled, wishes]) waiting.clear();
      // Even if that failed: there are no sessions any more, so that taking the peers away fails no more, and nobody is
      // left to seal under what the slabs hold then.
      for (const { publicKey } of this.peers()) this.removePeer(publicKey);
      forgetIdentity(this.#context);
      this.#identitySlab.release();
      this.#sessionSlab.release();
    }
  }

  /** A call into the device: all of it is done when this returns. */
  #turn<T>(work: () => T): T {
    this.#context.turn.begin();
    try {
      return work();
    } finally {
      this.#end();
    }
  }

  /**
   * The end of a turn, unless it goes on around this call: see turn.ts. False when something was discarded at the gate.
   * What throws on the way keeps nothing from being handed out.
   */
  #end(): boolean {
    const context = this.#context;
    const { turn, gate } = context;
    if (turn.isNested) {
      turn.end();
      return true;
    }
    let released = true;
    try {
      openGathered(context);
      pump(context);
    } finally {
      turn.end();
      try {
        released = gate.flush();
      } finally {
        this.#handOut();
      }
    }
    return released;
  }

  // By the chain: in the middle of a turn, or between two.
  #respondToFork(epoch: number): void {
    respondToFork(this.#context, epoch);
    this.#handOutQuietly();
  }

  /** After what ends sessions, and sends nothing: whom it recalls is called by the next `runTimers`. */
  #handOutQuietly(): void {
    if (!this.#context.turn.isOpen) this.#handOut();
  }

  #handOut(): void {
    try {
      this.#context.handout.deliver();
    } finally {
      this.#sink.turnOver?.();
    }
  }

  /** Asks whoever decides; the answer is a turn of its own. */
  #ask(awaited: Stranger): void {
    const settle = (answer: AdmittedPeer | undefined | 'failed') =>
      this.#turn(() => settleAdmission(this.#context, awaited, answer, acceptInitiation));
    let answer: ReturnType<Admission['admit']> | 'failed';
    try {
      answer = this.#admission?.admit(new Uint8Array(awaited.publicKey));
    } catch {
      answer = 'failed';
    }
    if (answer && answer !== 'failed' && 'then' in answer) answer.then(settle, () => settle('failed'));
    else settle(answer);
  }

  #peer(publicKey: Uint8Array): Peer {
    const peer = this.#context.peers.get(bytesToHex(publicKey));
    if (!peer) throw new SessionError('ERR_UNKNOWN_PEER', 'no peer has this public key');
    return peer;
  }

  #info(peer: Peer): PeerInfo {
    const { vmgenid, allowedIps, clock, recovery } = this.#context;
    const { current } = peer.keypairs;
    const hasSession =
      current?.sendEpoch === vmgenid.epoch && clock.now() - current.createdAt < REJECT_AFTER_TIME_MS;
    return {
      publicKey: new Uint8Array(peer.publicKey),
      endpoint: peer.endpoint,
      persistentKeepalive: peer.persistentKeepaliveMs / 1_000,
      allowedIps: allowedIps.entries(peer),
      hasPresharedKey: !isZero(peer.presharedKey),
      lastHandshakeAt: peer.lastHandshakeAt,
      rxBytes: peer.rxBytes,
      txBytes: peer.txBytes,
      hasSession,
      sessionEpoch: hasSession ? current.sendEpoch : undefined,
      sessionIndex: hasSession ? current.localIndex : undefined,
      recovery: recovery.of(peer),
      origin: !peer.admission ? 'configured' : peer.isProvisional ? 'provisional' : 'admitted',
    };
  }

  // What has left counts: for the peer's traffic, and for the timers that watch it.
  #released({ bytes, kind, peer, notBefore }: Output): void {
    if (!peer) return;
    peer.txBytes += bytes.length;
    authenticatedPacketSent(this.#context, peer, notBefore);
    if (kind === 'data') dataSent(this.#context, peer, notBefore);
    else if (kind === 'keepalive') keepaliveSent(this.#context, peer, notBefore);
  }

  // What was discarded was traffic of the old epoch: the peer is called anew, so that the next packet finds a session.
  #discarded({ kind, peer, epoch }: Output): void {
    this.#discardedAtRelease++;
    this.#context.drops.drop('staleEpoch');
    const { held, peers, recalled, recovery } = this.#context;
    if (!peer || kind === 'response' || held || peers.get(peer.id) !== peer) return;
    recalled.add(peer);
    if (epoch !== this.#context.epoch) recovery.called(peer, this.#context.epoch);
  }

  #emit(event: DeviceEvent): void {
    if (event.type === 'vmFork') {
      if (event.isDrill) this.#drills++;
      else this.#forks++;
      this.#wipedKeypairs += event.wipedKeypairs;
      // What parts this clone from its siblings may be there already.
      this.#retryAt = Number.NEGATIVE_INFINITY;
    } else if (event.type === 'handshakeComplete') {
      this.#handshakesCompleted++;
    } else if (event.type === 'peerCloned') {
      this.#clonedPeers++;
      this.#wipedKeypairs += event.wipedKeypairs;
    }
    this.#context.handout.event(event);
  }
}
