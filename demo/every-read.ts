// One run of a machine, forked at every instant at which it could learn of a fork: each look that it takes at
// its generation.
// Promises: for each look two clones go on from there, with protection, and once more as if nobody had
// looked; what they send is compared. Every run looks at the same instants, or there is an error.
// Read on: test/properties/exhaustive.test.ts (the same as a test, in both roles, with more of everything).

import { type Suite, publicKeyOf } from '../protocol/suite.js';
import { LocalNetwork, type Port } from './local-network.js';
import { Machine, type MachineOptions } from './machine.js';
import { innerPacket, ipOf } from './packet.js';
import { GATEWAY_IP, SANDBOX_IP } from './public-knowledge.js';
import { remembering } from './remembering.js';
import { Wiretap } from './wiretap.js';

/** What the machine does, in order. */
export const STEPS = [
  'a first packet waits for a handshake',
  'single packets',
  'a batch of packets',
  'a handshake that the machine asks for',
  'a handshake that its peer asks for',
] as const;

/** A fork at one look. */
export interface ForkAtRead {
  readonly read: number;
  /** Index of `STEPS`. */
  readonly step: number;
  readonly guarded: Harm;
  /** The same clones, had they not heeded what they saw. */
  readonly heedless: Harm;
}

export interface Harm {
  /** Data messages of both clones. */
  readonly datagrams: number;
  /** Pairs of different ones under one key and counter. */
  readonly collisions: number;
  /** Sealed messages that the gate did not let out. */
  readonly discarded: number;
  readonly handshakes: number;
}

export interface EveryRead {
  /** Of a whole run. */
  readonly reads: number;
  readonly forks: Iterable<ForkAtRead>;
}

const CLONES = ['clone A', 'clone B'];

export function forkAtEveryRead(suite: Suite): EveryRead {
  const { first, last, stepOf } = new Run(suite, false);
  return {
    reads: last - first,
    forks: (function* () {
      for (let read = first; read < last; read++) {
        // Of a run of its own each: what clones do takes time, and keys grow old.
        const runs = [false, true].map(looksAway => new Run(suite, looksAway));
        if (runs.some(run => run.first !== first || run.last !== last))
          throw new Error('a run of the script has looked at other instants than the first');
        const [guarded, heedless] = runs.map(run => run.forkAt(read));
        yield { read: read - first, step: stepOf(read), guarded, heedless };
      }
    })(),
  };
}

/** A machine that has lived through the script. */
class Run {
  readonly first: number;
  readonly last: number;
  readonly #network: LocalNetwork;
  readonly #machine: Machine;
  readonly #port: Port;
  readonly #key: Uint8Array;
  /** Looks taken when each step was over. */
  readonly #ends: number[] = [];

  constructor(plainSuite: Suite, looksAway: boolean) {
    // What the machine has computed, its clones need not.
    const suite = remembering(plainSuite);
    const network = new LocalNetwork(suite);
    this.#network = network;
    const privateKey = network.crng.x25519PrivateKey();
    this.#key = publicKeyOf(suite, privateKey);
    network.peer.setPeer({
      publicKey: this.#key,
      allowedIps: [{ ip: ipOf(SANDBOX_IP), prefix: 32 }],
    });
    this.#port = network.port();
    const options: MachineOptions = {
      seed: network.crng.bytes(32),
      privateKey,
      suite,
      guarded: !looksAway,
      looksAway,
      clock: network.clock,
      peer: {
        publicKey: network.peerKey,
        endpoint: network.peerEndpoint,
        allowedIps: [{ ip: ipOf(GATEWAY_IP), prefix: 32 }],
      },
      onDatagram: this.#port.send,
    };
    const machine = new Machine(options);
    this.#machine = machine;
    this.#port.machine = machine;
    this.first = machine.reads;
    this.#live();
    this.last = machine.reads;
    this.#port.machine = undefined;
  }

  readonly stepOf = (read: number): number => this.#ends.findIndex(end => read < end);

  /** Two clones part at this look, and go on. */
  forkAt(read: number): Harm {
    const network = this.#network;
    const wiretap = new Wiretap();
    const clones = CLONES.map(name => {
      const port = network.port();
      const send = (datagram: Uint8Array) => {
        wiretap.see(datagram);
        port.send(datagram);
      };
      port.machine = this.#machine.forkAtRead(read, network.crng.bytes(16), { onDatagram: send });
      return {
        name,
        port,
        machine: port.machine,
        handshakes: port.machine.device.stats().handshakesCompleted,
      };
    });
    for (let round = 0; round < 3; round++) {
      for (const { name, machine } of clones) {
        machine.hear(device => device.sendPacket(words(`${name} says ${round}`)));
        network.deliver();
        network.pass(60);
      }
      network.pass(6_000);
    }
    for (const { port } of clones) port.machine = undefined;
    const stats = clones.map(({ machine }) => machine.device.stats());
    return {
      datagrams: wiretap.datagrams,
      collisions: wiretap.reuses.length,
      discarded: stats.reduce((sum, { discardedAtRelease }) => sum + discardedAtRelease, 0),
      handshakes: stats.reduce(
        (sum, { handshakesCompleted }, i) => sum + handshakesCompleted - clones[i].handshakes,
        0,
      ),
    };
  }

  #live(): void {
    const [network, machine] = [this.#network, this.#machine];
    const say = (text: string) => {
      machine.hear(device => device.sendPacket(words(text)));
      network.deliver();
    };
    const ends = () => this.#ends.push(machine.reads);
    say('staged until the handshake is done');
    ends();
    for (let i = 0; i < 3; i++) say(`packet ${i}`);
    ends();
    machine.hear(device => {
      device.cork();
      for (let i = 0; i < 3; i++) device.sendPacket(words(`batch ${i}`));
      device.uncork();
    });
    network.deliver();
    ends();
    network.pass(6_000);
    machine.hear(device => device.initiateHandshake(network.peerKey));
    network.deliver();
    say('under the new keys');
    ends();
    network.pass(6_000);
    network.peer.initiateHandshake(this.#key);
    network.deliver();
    say('under the newest keys');
    ends();
  }
}

const words = (text: string) => innerPacket(SANDBOX_IP, GATEWAY_IP, text);
