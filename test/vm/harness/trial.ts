// One WireGuard in one machine, under load, forked as often as one likes: what its clones send is compared.
// Promises: each clone talks to a peer of its own, so that none disturbs the other's return; everything that a guest
// has sent between its first instruction and the end of the observation is in the result.
// Read on: instants.ts (when the snapshot falls); wiretap.ts (what is compared).

import { HANDSHAKE_INITIATION, HANDSHAKE_RESPONSE } from '../../../protocol/constants.js';
import { messageType } from '../../../protocol/messages.js';
import type { LoadOptions } from '../guest/load.js';
import { PAYLOAD_TEXT } from '../guest/payloads.js';
import type { Keys, Subject } from '../subjects/subject.js';
import { HostPeer, WIREGUARD_PORT } from './host-peer.js';
import { identityOf } from './identity.js';
import type { Snapshot, VmLab } from './lab.js';
import type { Link } from './link.js';
import type { Machine } from './machine.js';
import { Wiretap, findRepeatedEphemerals, findReuse, recoverPlaintext } from './wiretap.js';
import { sleep, until } from './waiting.js';

/** Where a snapshot is to be taken, and what the network does to its clones first. */
export interface Moment {
  readonly machine: Machine;
  /** Of everything up to the snapshot. */
  readonly tap: Wiretap;
  /** Datagrams that reach every clone in its first instant: what was on its way, or what an attacker replays. */
  readonly arriving?: readonly Uint8Array[];
  /** A peer that the attacker shows every answer of every clone, while all clones are shown what it says. */
  readonly between?: HostPeer;
  /** Ends what was started to get there. */
  close?(): Promise<void>;
}

export interface ForkOptions {
  readonly clones?: number;
  /** The generation ID of all clones. Default: a new one each. */
  readonly generationId?: string;
  /** A clone that has sent so many datagrams under old keys is not waited for: it will not return by itself. */
  readonly enough?: number;
  /** How long clones are waited for, in milliseconds. */
  readonly observeMs?: number;
  /** Shows the peer of the machine both datagrams of a pair: its tripwire ends the session, where it works. */
  readonly showPair?: boolean;
}

/** From the restore on. */
export interface Instant {
  /** On the clock of the wall. */
  readonly ms: number;
  /** Of a real processor that ran the emulated one. */
  readonly processorMs: number;
}

export interface CloneResult {
  /** Datagrams under keys of before the fork that are this clone's alone: sealed after the restore. */
  readonly sentUnderOldKeys: number;
  /** From the restore to the last of them, in milliseconds; 0 without any. */
  readonly windowMs: number;
  /** From the restore to the first data under keys of a new handshake; undefined when there was none. */
  readonly recoveredMs: number | undefined;
  /**
   * The same time by how long a real processor ran the emulated one: to the first handshake message, and to the message by
   * which the peer knew that the clone has the new keys. Undefined when there was none.
   */
  readonly called: Instant | undefined;
  readonly recovered: Instant | undefined;
  /** Data of every kind. */
  readonly datagrams: number;
  /** Sealed datagrams that its release gate has discarded: what the snapshot found in a batch. Where the subject tells. */
  readonly discarded?: number;
}

export interface ForkResult {
  /** Keys with a nonce under which clones have sent different bytes. */
  readonly reused: number;
  /** Ephemeral keys that more than one clone has shown. */
  readonly repeatedEphemerals: number;
  readonly clones: readonly CloneResult[];
  /** Data messages a second that the machine sent when it was snapshotted. */
  readonly packetsPerSecond: number;
  /** What XOR gave for one pair: the plaintext of the second, recovered from the first. */
  readonly recovered?: string;
  /** Whether the peer noticed by its tripwire, after `showPair`. */
  readonly tripped: boolean;
}

const ENOUGH = 5_000;
const OBSERVE_MS = 30_000;
const SETTLED_MS = 150;
const SESSION_MS = 60_000;
/** Thousands of packets a second, and the queues on their way mostly empty: what waits in one is the same in clones. */
const STEADY_LOAD: LoadOptions = { burst: 64, pauseMs: 2, joined: true };
/** Over which the rate at the snapshot is taken, in milliseconds. */
const RATE_MS = 200;

export class Trial {
  readonly lab: VmLab;
  readonly subject: Subject;
  readonly machine: Machine;
  readonly keys: Keys;
  /** The peer of the machine that is cloned. */
  hostPeer: HostPeer;
  #tap = new Wiretap();
  #received = 0;

  private constructor(lab: VmLab, subject: Subject, machine: Machine, keys: Keys, hostPeer: HostPeer) {
    this.lab = lab;
    this.subject = subject;
    this.machine = machine;
    this.keys = keys;
    this.hostPeer = hostPeer;
  }

  /** Boots, sets up and waits until packets arrive. */
  static async start(lab: VmLab, subject: Subject): Promise<Trial> {
    const keys = { guest: identityOf('the guest of the tests'), host: identityOf('the host of the tests') };
    const prepared = {
      name: subject.name,
      recipe: subject.recipe,
      prepare: (fresh: Machine) => subject.start(fresh, keys),
    };
    const machine = await lab.machine({ ...subject.hardware, prepared });
    const hostPeer = await HostPeer.start(keys.host, keys.guest);
    const trial = new Trial(lab, subject, machine, keys, hostPeer);
    try {
      trial.meet(hostPeer);
      await trial.conversation();
      await subject.status?.(machine);
    } catch (error) {
      await trial.close();
      throw error;
    }
    return trial;
  }

  /** Makes this the machine's peer from now on. */
  meet(peer: HostPeer): void {
    if (peer !== this.hostPeer) void this.hostPeer.close();
    this.hostPeer = peer;
    peer.attach(this.machine.link);
    peer.onPacket = () => this.#received++;
  }

  /** Returns when packets go through the tunnel ; calls for a new session where they do not. */
  async conversation(): Promise<void> {
    await this.subject.load(this.machine, STEADY_LOAD);
    const arriving = async (timeoutMs: number) => {
      const before = this.#received;
      return until(() => this.#received > before, timeoutMs);
    };
    if (await arriving(1_000)) return;
    await this.subject.restart(this.machine, this.keys);
    if (!(await arriving(SESSION_MS))) {
      throw new Error(`${this.subject.name} does not get through: ${this.machine.console().slice(-1000)}`);
    }
  }

  /** What the wire has shown of the machine so far, with the data since the last call only. */
  tap(): Wiretap {
    this.#tap = new Wiretap(this.#tap).read(this.machine.link.log);
    this.machine.link.log.length = 0;
    return this.#tap;
  }

  /** Forks the machine at the moment that `reach` brings it to, and compares its clones. */
  async fork(reach: (trial: Trial) => Promise<Moment>, options: ForkOptions = {}): Promise<ForkResult> {
    await this.machine.resume();
    await this.conversation();
    this.tap();
    const moment = await reach(this);
    const snapshot = await this.lab.snapshot(moment.machine);
    try {
      const tap = moment.machine === this.machine ? this.tap() : moment.tap;
      return await this.#compare(snapshot, { ...moment, tap }, options);
    } finally {
      snapshot.remove();
      await moment.close?.();
    }
  }

  async close(): Promise<void> {
    await this.hostPeer.close();
    await this.machine.close();
  }

  async #compare(snapshot: Snapshot, moment: Moment, options: ForkOptions): Promise<ForkResult> {
    const { tap, arriving = [], between } = moment;
    const { clones: count = 2, generationId, enough = ENOUGH, observeMs = OBSERVE_MS } = options;
    const clones = await snapshot.restore(count, { running: false, ...(generationId && { generationId }) });
    const peers: HostPeer[] = [];
    try {
      for (const { link } of clones) {
        const peer = await HostPeer.start(this.keys.host, this.keys.guest);
        peers.push(peer);
        peer.attach(link);
        for (const datagram of arriving) link.send(datagram, WIREGUARD_PORT, WIREGUARD_PORT);
        if (between) standBetween(between, link, clones);
      }
      const stopwatches = clones.map((clone, i) => new Stopwatch(clone, peers[i]));
      await Promise.all(clones.map(clone => clone.resume()));
      const taps = clones.map(() => new Wiretap(tap));
      const listen = () => clones.forEach(({ link }, i) => taps[i].read(link.log.splice(0)));
      const decided = (clone: Wiretap) =>
        clone.data.length >= enough || firstUnderNewKeys(clone, tap) !== undefined;
      await until(() => {
        listen();
        return taps.every(decided);
      }, observeMs);
      await sleep(SETTLED_MS);
      const statuses = await Promise.all(clones.map(async clone => this.subject.status?.(clone)));
      await Promise.all(clones.map(clone => clone.pause()));
      listen();
      const result = this.#result(clones, taps, tap, stopwatches, options.showPair ?? false);
      const withStatus = (clone: CloneResult, i: number) => {
        const discarded = statuses[i]?.discardedAtRelease;
        return discarded === undefined ? clone : { ...clone, discarded };
      };
      return { ...result, clones: result.clones.map(withStatus) };
    } finally {
      for (const peer of peers) await peer.close();
      await Promise.all(clones.map(clone => clone.close()));
    }
  }

  #result(
    clones: readonly Machine[],
    taps: readonly Wiretap[],
    origin: Wiretap,
    stopwatches: readonly Stopwatch[],
    showPair: boolean,
  ): ForkResult {
    const reuses = findReuse([origin, ...taps]);
    const times = new Map<string, number>();
    const nameOf = ({ session, bytes }: Wiretap['data'][number]) =>
      `${session} ${Buffer.from(bytes).toString('latin1')}`;
    for (const { data } of [origin, ...taps]) {
      for (const datagram of data) times.set(nameOf(datagram), (times.get(nameOf(datagram)) ?? 0) + 1);
    }
    const recovered = this.#recover(reuses, showPair);
    return {
      reused: reuses.length,
      tripped: this.hostPeer.clonesFound > 0,
      repeatedEphemerals: findRepeatedEphemerals(taps).length,
      packetsPerSecond: rateAtTheEnd(origin),
      ...(recovered !== undefined && { recovered }),
      clones: taps.map((tap, i) => {
        const { resumedAt } = clones[i];
        const old = tap.data.filter(
          datagram => !isNew(datagram, origin) && times.get(nameOf(datagram)) === 1,
        );
        const first = firstUnderNewKeys(tap, origin);
        return {
          sentUnderOldKeys: old.length,
          windowMs: Math.max(0, (old.at(-1)?.at ?? 0) - resumedAt),
          recoveredMs: first === undefined ? undefined : first - resumedAt,
          called: stopwatches[i].called,
          recovered: stopwatches[i].recovered,
          datagrams: tap.data.length,
        };
      }),
    };
  }

  /** The attack: the peer of the machine can read one of the two; the other follows without its key. */
  #recover(reuses: ReturnType<typeof findReuse>, showPair: boolean): string | undefined {
    const count = this.hostPeer.onPacket;
    try {
      for (const reuse of reuses) {
        let known: Uint8Array | undefined;
        this.hostPeer.onPacket = packet => (known = packet);
        this.hostPeer.receive(reuse.first);
        if (!known) continue;
        const said = PAYLOAD_TEXT.exec(Buffer.from(recoverPlaintext(reuse, known)).toString('latin1'));
        if (!said) continue;
        if (showPair) this.hostPeer.receive(reuse.second);
        return said[0];
      }
      return undefined;
    } finally {
      this.hostPeer.onPacket = count;
    }
  }
}

/** When a clone that stands still and its peer, who know each other by no session, come together. Attach the peer before. */
class Stopwatch {
  called: Instant | undefined;
  recovered: Instant | undefined;
  readonly #machine: Machine;
  readonly #begunAt: number;

  constructor(machine: Machine, peer: HostPeer) {
    this.#machine = machine;
    this.#begunAt = machine.processorMs();
    const { link } = machine;
    const deliver = link.onDatagram;
    link.onDatagram = datagram => {
      const type = messageType(datagram.payload);
      if (type === HANDSHAKE_INITIATION || type === HANDSHAKE_RESPONSE) this.called ??= this.#now();
      deliver(datagram);
    };
    peer.onHandshake = () => {
      this.recovered ??= this.#now();
    };
  }

  #now(): Instant {
    return {
      ms: performance.now() - this.#machine.resumedAt,
      processorMs: this.#machine.processorMs() - this.#begunAt,
    };
  }
}

function standBetween(peer: HostPeer, link: Link, clones: readonly Machine[]): void {
  const deliver = link.onDatagram;
  link.onDatagram = datagram => {
    deliver(datagram);
    if (messageType(datagram.payload) !== HANDSHAKE_RESPONSE) return;
    peer.receive(datagram.payload);
    for (const said of peer.withheld?.splice(0) ?? []) {
      for (const clone of clones) clone.link.send(said, WIREGUARD_PORT, WIREGUARD_PORT);
    }
  };
}

function rateAtTheEnd({ data }: Wiretap): number {
  const end = data.at(-1)?.at ?? 0;
  return (data.filter(({ at }) => at > end - RATE_MS).length * 1_000) / RATE_MS;
}

function isNew({ session }: { session: string }, origin: Wiretap): boolean {
  return !origin.knows(session);
}

function firstUnderNewKeys(tap: Wiretap, origin: Wiretap): number | undefined {
  return tap.data.find(datagram => isNew(datagram, origin))?.at;
}
