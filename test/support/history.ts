// Random histories of machines that can be cloned: they talk, datagrams are lost, doubled and reordered, time passes,
// machines are saved at any instant and restored, clones are cloned again. What plays them sees machines and a wire.

import fc from 'fast-check';

export type Step =
  | { readonly do: 'send'; readonly who: number; readonly to: number }
  | { readonly do: 'deliver'; readonly which: number; readonly who: number; readonly again: boolean }
  | { readonly do: 'gather'; readonly who: number; readonly times: number }
  | { readonly do: 'turn'; readonly who: number }
  | { readonly do: 'lose'; readonly which: number }
  | { readonly do: 'settle' }
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'rekey'; readonly who: number; readonly to: number }
  | { readonly do: 'roam'; readonly who: number }
  | { readonly do: 'batch'; readonly who: number; readonly to: number; readonly size: number }
  | { readonly do: 'snapshot'; readonly who: number }
  | { readonly do: 'restore'; readonly which: number; readonly clones: number }
  | { readonly do: 'restoreNow'; readonly who: number; readonly clones: number }
  | { readonly do: 'signal'; readonly who: number };

const n = fc.nat(1_000);
const waits = fc.constantFrom(1, 10, 60, 400, 5_400, 11_000, 26_000, 121_000, 181_000);

/** By how often they come. */
export const steps: fc.WeightedArbitrary<Step>[] = [
  { weight: 8, arbitrary: fc.record({ do: fc.constant('send' as const), who: n, to: n }) },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('deliver' as const), which: n, who: n, again: fc.boolean() }),
  },
  // Several times, so that more handshake messages wait than a turn does.
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('gather' as const),
      who: n,
      times: fc.integer({ min: 1, max: 6 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turn' as const), who: n }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const), which: n }) },
  { weight: 5, arbitrary: fc.constant({ do: 'settle' as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: waits }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rekey' as const), who: n, to: n }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('roam' as const), who: n }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('batch' as const), who: n, to: n, size: fc.nat(4) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('snapshot' as const), who: n }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('restore' as const),
      which: n,
      clones: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('restoreNow' as const),
      who: n,
      clones: fc.integer({ min: 2, max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('signal' as const), who: n }) },
];

/** What a history needs of a machine. */
export interface Cloneable<M, S> {
  snapshot(): S;
  restore(snapshot: S, label: string): M;
  /** The delayed word about the last fork arrives. */
  signal(): void;
}

/** Machines and the wire between them, from which any datagram may be delivered to whoever has the address. */
export interface Wire<M, D> {
  readonly machines: readonly { readonly identity: number; readonly machine: M }[];
  readonly inFlight: D[];
  listeners(datagram: D): M[];
  deliver(datagram: D, machine: M): void;
  gather(datagrams: readonly D[], machine: M): void;
  send(machine: M, from: number, to: number, payload: string): void;
  /** What is sent meanwhile is sent together. */
  batch(machine: M, sending: () => void): void;
  /** The machine does what is due. False when more of it is left. */
  turn(machine: M): boolean;
  rekey(machine: M, peer: number): void;
  roam(identity: number): void;
  settle(rounds?: number): void;
  advance(ms: number): void;
  addClone(identity: number, machine: M): void;
}

interface Saved<M, S> {
  readonly identity: number;
  readonly machine: M;
  readonly snapshot: S;
}

export class History<M extends Cloneable<M, S>, S, D> {
  readonly wire: Wire<M, D>;
  /** Enough for long stories; the work of a history grows with its clones. */
  protected readonly mostMachines: number = 10;
  clones = 0;
  /** Turns whose budget ran out before the queue did. */
  unfinishedTurns = 0;
  readonly #signalLater: M[] = [];
  readonly #saved: Saved<M, S>[] = [];
  readonly #identities: number;
  readonly #signalAtOnce: boolean;
  #packets = 0;

  /** `signalAtOnce`: clones hear of their fork with the next call of `speak`. */
  constructor(wire: Wire<M, D>, identities: number, signalAtOnce: boolean) {
    this.wire = wire;
    this.#identities = identities;
    this.#signalAtOnce = signalAtOnce;
  }

  apply(step: Step): void {
    const { wire } = this;
    switch (step.do) {
      case 'send':
        return this.#send(step.who, step.to);
      case 'batch':
        return wire.batch(this.running(step.who).machine, () => {
          for (let i = 0; i < step.size; i++) this.#send(step.who, step.to);
        });
      case 'deliver': {
        if (wire.inFlight.length === 0) return;
        const at = step.which % wire.inFlight.length;
        const datagram = wire.inFlight[at];
        const listeners = wire.listeners(datagram);
        if (listeners.length > 0) wire.deliver(datagram, listeners[step.who % listeners.length]);
        if (!step.again) wire.inFlight.splice(at, 1);
        return;
      }
      case 'gather': {
        const { machine } = this.running(step.who);
        const forIt = wire.inFlight.filter(datagram => wire.listeners(datagram).includes(machine));
        const batch = Array.from({ length: step.times }, () => forIt).flat();
        return wire.gather(batch, machine);
      }
      case 'turn':
        if (!wire.turn(this.running(step.who).machine)) this.unfinishedTurns++;
        return;
      case 'lose':
        wire.inFlight.splice(step.which % Math.max(1, wire.inFlight.length), 1);
        return;
      case 'settle':
        return wire.settle(4);
      case 'advance':
        return wire.advance(step.ms);
      case 'rekey':
        return wire.rekey(this.running(step.who).machine, step.to);
      case 'roam':
        return wire.roam(step.who % this.#identities);
      case 'snapshot': {
        const { identity, machine } = this.running(step.who);
        this.#hear(machine);
        this.#saved.push({ identity, machine, snapshot: machine.snapshot() });
        return;
      }
      case 'restore':
        if (this.#saved.length > 0) this.#restore(this.#saved[step.which % this.#saved.length], step.clones);
        return;
      case 'restoreNow': {
        const { identity, machine } = this.running(step.who);
        this.#hear(machine);
        return this.#restore({ identity, machine, snapshot: machine.snapshot() }, step.clones);
      }
      case 'signal':
        return this.running(step.who).machine.signal();
    }
  }

  running(who: number): { readonly identity: number; readonly machine: M } {
    return this.wire.machines[who % this.wire.machines.length];
  }

  /** Another identity than this one. */
  other(identity: number, to: number): number {
    return (identity + 1 + (to % (this.#identities - 1))) % this.#identities;
  }

  /** Saves a machine as `snapshot` says, and restores it. */
  fork(
    who: number,
    snapshot: (of: { readonly identity: number; readonly machine: M }) => S,
    count: number,
  ): void {
    const running = this.running(who);
    this.#restore({ ...running, snapshot: snapshot(running) }, count);
  }

  /** Virtual time after which a delayed source has spoken. */
  speak(): void {
    for (const machine of this.#signalLater.splice(0)) machine.signal();
  }

  // A clone that is saved again before the word of its first fork came takes what it holds back into the next life, where
  // the hold ends before the word of the second: SECURITY.md tells of it, and a control of random.test.ts.
  #hear(machine: M): void {
    const at = this.#signalLater.indexOf(machine);
    if (at < 0) return;
    this.#signalLater.splice(at, 1);
    machine.signal();
  }

  #send(who: number, to: number): void {
    const { identity, machine } = this.running(who);
    this.wire.send(machine, identity, this.other(identity, to), `packet ${this.#packets++}`);
  }

  #restore({ identity, machine, snapshot }: Saved<M, S>, count: number): void {
    const room = this.mostMachines - this.wire.machines.length;
    for (let i = 0; i < Math.min(count, room); i++) {
      const clone = machine.restore(snapshot, `clone ${this.clones++}`);
      this.wire.addClone(identity, clone);
      if (this.#signalAtOnce) this.#signalLater.push(clone);
    }
  }
}
