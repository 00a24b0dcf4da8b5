// One machine that pings a gateway, copied as often as one likes: under which keys its clones come back, and at which address.
// Promises: everything that a guest has sent between its first instruction and the end of the observation is in the result, and
// so is what the machine that was copied sends meanwhile: it goes on.
// Read on: host-gateway.ts; trial.ts (clones of one peer).

import type { Enrollee } from '../subjects/enrollee.js';
import { HANDSHAKE_RESPONSE } from '../../../protocol/constants.js';
import { messageType } from '../../../protocol/messages.js';
import { HostGateway, type Ping } from './host-gateway.js';
import { identityOf } from './identity.js';
import type { VmLab } from './lab.js';
import type { LinkDatagram } from './link.js';
import type { Machine } from './machine.js';
import { Wiretap, findRepeatedEphemerals, findReuse } from './wiretap.js';
import { sleep, until } from './waiting.js';

/** `pinging`: a machine that has enrolled is copied. `enrolling`: a clone of it, in its first second. */
export const COPIED = ['pinging', 'enrolling'] as const;

export interface EnrolmentFork {
  readonly copied: (typeof COPIED)[number];
  readonly clones: number;
  /** Clones that the gateway has admitted, under a key that nobody had before the snapshot. */
  readonly admitted: number;
  /** Static keys under which the clones came, and addresses in the tunnel: as many as there are clones, where each is its own. */
  readonly keys: number;
  readonly addresses: number;
  /** Clones whose pings came back to them. */
  readonly pinged: number;
  /** Messages of clones under the key of the machine that was copied, which that one has not sent. */
  readonly underParentKey: number;
  /** Keys with a nonce under which two machines have sent different bytes, and ephemeral keys that two have shown. */
  readonly reused: number;
  readonly repeatedEphemerals: number;
  /** Whether the machine that was copied pings on, under no clone's key. */
  readonly originalGoesOn: boolean;
  /** Of each clone that came so far: from its first instruction to its first ping at the gateway. */
  readonly firstPingMs: readonly number[];
  /** What clones that were not heard say of themselves. */
  readonly silent: readonly string[];
}

export interface EnrolmentForkOptions {
  readonly clones: number;
  readonly copied: EnrolmentFork['copied'];
  /** In [0, 1): where in a second the snapshot falls. */
  readonly moment: number;
  /** How long clones are waited for, in milliseconds. */
  readonly observeMs: number;
}

/** Without a ping for so long there is no session: the machine stood still for longer than its gateway keeps one. */
const QUIET_MS = 3_000;
const SESSION_MS = 60_000;
const ECHO_MS = 400;
const MOMENTS_MS = 1_000;

export class EnrolmentTrial {
  readonly #lab: VmLab;
  readonly #subject: Enrollee;
  readonly #machine: Machine;
  readonly #gateway: HostGateway;

  private constructor(lab: VmLab, subject: Enrollee, machine: Machine, gateway: HostGateway) {
    this.#lab = lab;
    this.#subject = subject;
    this.#machine = machine;
    this.#gateway = gateway;
  }

  /** Boots, sets up and waits until the machine has been let in. */
  static async start(lab: VmLab, subject: Enrollee): Promise<EnrolmentTrial> {
    const identity = identityOf('the gateway of the tests');
    const prepare = (fresh: Machine) => subject.start(fresh, identity.publicKey);
    const machine = await lab.machine({ prepared: { name: subject.name, recipe: subject.recipe, prepare } });
    const gateway = await HostGateway.start(identity);
    const trial = new EnrolmentTrial(lab, subject, machine, gateway);
    try {
      gateway.attach(machine.link);
      await subject.ping(machine);
      await trial.#conversation();
    } catch (error) {
      await trial.close();
      throw error;
    }
    return trial;
  }

  async fork(options: EnrolmentForkOptions): Promise<EnrolmentFork> {
    await this.#machine.resume();
    await this.#conversation();
    await sleep(options.moment * MOMENTS_MS);
    if (options.copied === 'pinging') return this.#copy(this.#machine, new Wiretap(), options);
    const tap = new Wiretap().read(this.#machine.link.log);
    const [between] = await this.#restore(this.#machine, 1);
    try {
      await between.resume();
      await sleep(options.moment * MOMENTS_MS);
      return await this.#copy(between, tap, options);
    } finally {
      await this.#end([between]);
    }
  }

  async close(): Promise<void> {
    await this.#gateway.close();
    await this.#machine.close();
  }

  /** Copies a machine, whose past before its own cable is in `past`, and lets it go on beside its clones. */
  async #copy(origin: Machine, past: Wiretap, options: EnrolmentForkOptions): Promise<EnrolmentFork> {
    const { clones: count, observeMs } = options;
    const gateway = this.#gateway;
    const clones = await this.#restore(origin, count);
    try {
      const before = origin.link.log.length;
      const pingsBefore = gateway.pings(origin.link).length;
      await Promise.all([origin, ...clones].map(machine => machine.resume()));
      const said = (machine: Machine) => gateway.pings(machine.link);
      const isBack = (machine: Machine) => said(machine).length > (machine === origin ? pingsBefore : 0);
      const deadline = performance.now() + observeMs;
      await until(() => [origin, ...clones].every(isBack), observeMs);
      // An echo of what this clone itself has sent: it takes its time in a slow machine.
      const hasEcho = new Set<Machine>();
      while (hasEcho.size < clones.length && performance.now() < deadline) {
        await sleep(ECHO_MS);
        const echoes = await Promise.all(clones.map(clone => this.#subject.echoed(clone)));
        for (const [i, clone] of clones.entries())
          if (said(clone).some(({ text }) => text === echoes[i])) hasEcho.add(clone);
      }
      const silent = await Promise.all(
        clones
          .filter(clone => !isBack(clone))
          .map(clone => this.#subject.account(clone).catch((error: Error) => error.message)),
      );
      await Promise.all([origin, ...clones].map(machine => machine.pause()));

      const { log } = origin.link;
      const parent = past.read(log.slice(0, before));
      const parentKeys = new Set(this.#callers([...this.#machine.link.log, ...log.slice(0, before)]));
      const originTap = new Wiretap(parent).read(log.slice(before));
      const taps = clones.map(({ link }) => new Wiretap(parent).read(link.log));
      const originSent = new Set(log.map(({ payload }) => Buffer.from(payload).toString('latin1')));
      const sentByClones = clones.map(({ link }) =>
        link.log.filter(
          ({ from, payload }) => from === 'guest' && !originSent.has(Buffer.from(payload).toString('latin1')),
        ),
      );
      const underOldKeys = taps.map(
        tap =>
          tap.data.filter(
            ({ session, bytes }) =>
              parent.knows(session) && !originSent.has(Buffer.from(bytes).toString('latin1')),
          ).length,
      );
      const lasts = clones.map(clone => said(clone).at(-1)).filter(ping => ping !== undefined);
      const firsts = clones.map(clone => said(clone)[0] as Ping | undefined);
      const keys = new Set(lasts.map(({ key }) => key));
      const on = said(origin).slice(pingsBefore).at(-1);
      return {
        copied: options.copied,
        clones: count,
        admitted: lasts.filter(({ key }) => gateway.hasAdmitted(key) && !parentKeys.has(key)).length,
        keys: keys.size,
        addresses: new Set(lasts.map(({ address }) => address)).size,
        pinged: hasEcho.size,
        underParentKey: sentByClones.reduce(
          (sum, sent, i) => sum + underOldKeys[i] + this.#underParentKey(sent, parentKeys),
          0,
        ),
        reused: findReuse([originTap, ...taps]).length,
        repeatedEphemerals: findRepeatedEphemerals(taps).length,
        originalGoesOn: on !== undefined && !keys.has(on.key),
        firstPingMs: firsts.flatMap((ping, i) => (ping ? [ping.at - clones[i].resumedAt] : [])),
        silent,
      };
    } finally {
      await this.#end(clones);
    }
  }

  /** Clones of a machine, which stand still, on cables to the gateway. The machine stands still too. */
  async #restore(origin: Machine, count: number): Promise<Machine[]> {
    const snapshot = await this.#lab.snapshot(origin);
    try {
      const clones = await snapshot.restore(count, { running: false });
      for (const { link } of clones) this.#gateway.attach(link);
      return clones;
    } finally {
      snapshot.remove();
    }
  }

  async #end(clones: readonly Machine[]): Promise<void> {
    for (const { link } of clones) this.#gateway.detach(link);
    await Promise.all(clones.map(clone => clone.close()));
  }

  /** The static keys of those who call over a cable. */
  #callers(log: readonly LinkDatagram[]): string[] {
    return log.flatMap(({ from, payload }) =>
      from === 'guest' ? (this.#gateway.callerOf(payload) ?? []) : [],
    );
  }

  /** Handshake messages under such a key. A response answers somebody who called that key: before it has called under one of its own. */
  #underParentKey(sent: readonly LinkDatagram[], parentKeys: ReadonlySet<string>): number {
    let hasItsOwn = false;
    let count = 0;
    for (const { payload } of sent) {
      const caller = this.#gateway.callerOf(payload);
      if (caller !== undefined) hasItsOwn = !parentKeys.has(caller);
      if (caller !== undefined || messageType(payload) === HANDSHAKE_RESPONSE) count += Number(!hasItsOwn);
    }
    return count;
  }

  /** Returns when another ping has come through; calls for a new session where none does. */
  async #conversation(): Promise<void> {
    const { link } = this.#machine;
    const arriving = (timeoutMs: number) => {
      const before = this.#gateway.pings(link).length;
      return until(() => this.#gateway.pings(link).length > before, timeoutMs);
    };
    if (await arriving(QUIET_MS)) return;
    await this.#subject.restart(this.#machine, this.#gateway.publicKey);
    if (await arriving(SESSION_MS)) return;
    throw new Error(`it does not get through: ${await this.#subject.account(this.#machine)}`);
  }
}
