// Random histories of loop machines: what `History` has, and what a kernel and a network can do to a device thread between
// any two of its system calls.

import { constants } from 'node:os';
import fc from 'fast-check';
import { EAFNOSUPPORT } from '../../tunnel/linux/errno.js';
import { History, type Step, steps } from './history.js';
import type { LoopMachine, LoopSnapshot } from './loop-machine.js';
import type { LoopNetwork, Parcel } from './loop-network.js';

export type LoopStep =
  | Step
  | {
      readonly do: 'stream';
      readonly who: number;
      readonly to: number;
      readonly count: number;
      readonly segment: number;
    }
  | {
      readonly do: 'fail';
      readonly who: number;
      readonly what: Failure;
      readonly after: number;
      readonly times: number;
    }
  | { readonly do: 'room'; readonly who: number; readonly messages: number }
  | { readonly do: 'networkError'; readonly who: number; readonly errno: number }
  | { readonly do: 'link'; readonly who: number; readonly up: boolean }
  | { readonly do: 'mtu'; readonly who: number; readonly mtu: number; readonly isPath: boolean }
  | { readonly do: 'move'; readonly who: number; readonly namespace: number; readonly name: string }
  | { readonly do: 'overrun'; readonly who: number }
  | { readonly do: 'sleep'; readonly who: number; readonly ms: number }
  | { readonly do: 'setClock'; readonly who: number; readonly ms: number }
  | {
      readonly do: 'forkInside';
      readonly who: number;
      readonly to: number;
      readonly which: number;
      readonly clones: number;
    };

type Failure = readonly [call: string, errno: number];

const e = constants.errno;

/** What may fail, and how. A message of a batch fails by itself; what comes before it has gone. */
const FAILURES: Record<string, readonly number[]> = {
  'sendmmsg udp': [e.EINTR, e.EAGAIN, e.ENOBUFS, e.ENOMEM],
  'sendmmsg message': [
    e.EAGAIN,
    e.ENOBUFS,
    e.EPERM,
    e.EACCES,
    e.EINVAL,
    e.EIO,
    e.EMSGSIZE,
    e.ENETDOWN,
    e.ENETUNREACH,
    e.EHOSTUNREACH,
    e.EADDRNOTAVAIL,
    e.ECONNREFUSED,
  ],
  'recvmmsg udp': [e.EINTR, e.EAGAIN, e.ENOMEM, e.ENOBUFS],
  'recvmmsg message': [e.ECONNREFUSED, e.EHOSTUNREACH, e.EAGAIN],
  'read tun': [e.EINTR, e.EAGAIN, e.ENOMEM, e.ENOBUFS],
  'write tun': [e.EINTR, e.EAGAIN, e.ENOMEM, e.ENOBUFS, e.EINVAL, e.EIO],
  'read netlink': [e.EINTR, e.ENOBUFS, e.ENOMEM],
  'write netlink': [e.EINTR, e.ENOBUFS, e.ENOMEM],
  'epollWait epoll': [e.EINTR],
  'epollCtl add': [e.ENOMEM, e.ENOSPC],
  'read event': [e.EINTR],
  'socket udp': [e.EMFILE, e.ENOBUFS, EAFNOSUPPORT],
  'bind udp': [e.EADDRINUSE, e.EADDRNOTAVAIL, e.EACCES],
  'setsockopt udp': [e.EPERM, e.ENOPROTOOPT],
};

const n = fc.nat(1_000);
const failure = fc.constantFrom(
  ...Object.entries(FAILURES).flatMap(([call, errors]) => errors.map((errno): Failure => [call, errno])),
);

export const loopSteps: fc.WeightedArbitrary<LoopStep>[] = [
  ...steps,
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('stream' as const),
      who: n,
      to: n,
      count: fc.integer({ min: 1, max: 40 }),
      segment: fc.constantFrom(1, 100, 536, 1_360),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      who: n,
      what: failure,
      after: fc.nat(3),
      // More than any loop takes for one bad moment.
      times: fc.constantFrom(1, 2, 3, 70),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('room' as const),
      who: n,
      messages: fc.constantFrom(0, 1, 3, Number.POSITIVE_INFINITY),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('networkError' as const),
      who: n,
      errno: fc.constantFrom(e.ECONNREFUSED, e.EHOSTUNREACH, e.EMSGSIZE, e.EPERM),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('link' as const),
      who: n,
      up: fc.constantFrom(true, true, false),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('mtu' as const),
      who: n,
      mtu: fc.constantFrom(576, 1_280, 1_420, 1_500, 9_000),
      isPath: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('move' as const),
      who: n,
      namespace: fc.constantFrom(1, 2),
      name: fc.constantFrom('wg0', 'other'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('overrun' as const), who: n }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('sleep' as const), who: n, ms: fc.constantFrom(100, 60_000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('setClock' as const), who: n, ms: fc.constantFrom(0, 2_000) }),
  },
];

/** The instants at which a machine is saved lie anywhere in a turn that sends and receives. */
export const forkSteps: fc.WeightedArbitrary<LoopStep>[] = [
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('forkInside' as const),
      who: n,
      to: n,
      which: n,
      clones: fc.integer({ min: 1, max: 2 }),
    }),
  },
];

export class LoopHistory extends History<LoopMachine, LoopSnapshot, Parcel> {
  protected override readonly mostMachines = 7;
  readonly #network: LoopNetwork;

  constructor(network: LoopNetwork, identities: number) {
    super(network, identities, false);
    this.#network = network;
  }

  applyToLoop(step: LoopStep): void {
    switch (step.do) {
      case 'stream': {
        const { identity, machine } = this.running(step.who);
        return this.#network.stream(
          machine,
          identity,
          this.other(identity, step.to),
          step.count,
          step.segment,
        );
      }
      case 'forkInside':
        return this.fork(
          step.who,
          ({ identity, machine }) =>
            this.#network.snapshotInside(machine, identity, this.other(identity, step.to), step.which),
          step.clones,
        );
      case 'sleep':
        return this.#network.sleep(this.running(step.who).machine, step.ms);
      case 'fail':
      case 'room':
      case 'networkError':
      case 'link':
      case 'mtu':
      case 'move':
      case 'overrun':
      case 'setClock':
        return this.running(step.who).machine.run(machine => happens(machine, step));
      default:
        return this.apply(step);
    }
  }
}

function happens({ kernel }: LoopMachine, step: LoopStep): void {
  switch (step.do) {
    case 'fail': {
      const [call, errno] = step.what;
      return kernel.fail({ call, errno, after: step.after, times: step.times });
    }
    case 'room':
      for (const socket of kernel.udpSockets) socket.room = step.messages;
      return;
    case 'networkError':
      for (const socket of kernel.udpSockets) socket.error = step.errno;
      return;
    case 'link':
      return kernel.changeLink(tun => (tun.up = step.up));
    case 'mtu':
      if (step.isPath) kernel.pathMtu = step.mtu;
      else kernel.changeLink(tun => (tun.mtu = step.mtu));
      return;
    case 'move':
      return kernel.changeLink(tun => Object.assign(tun, { namespace: step.namespace, name: step.name }));
    case 'overrun':
      return kernel.overrun();
    case 'setClock':
      return kernel.setClock(kernel.clock.realtime + step.ms);
  }
}
