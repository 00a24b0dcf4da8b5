// Two clones whose word of the fork comes late: what they send until then, and what holding datagrams back
// does about it.
// Promises: the clones' time is simulated, everything else is the real code: the source, the driver, the
// gate.
// Read on: docs/architecture.md "Delayed sources".

import { type Suite, publicKeyOf } from '../protocol/suite.js';
import { LocalNetwork } from './local-network.js';
import { Machine } from './machine.js';
import { innerPacket, ipOf } from './packet.js';
import { GATEWAY_IP, SANDBOX_IP } from './public-knowledge.js';
import { Wiretap, nonceOf } from './wiretap.js';

export interface DelayedOptions {
  /** Between the restore and the word of it. Milliseconds. */
  readonly delayMs: number;
  readonly holdBackMs: number;
}

/** One data message of a clone. Times are milliseconds since the restore; negative: before the snapshot. */
export interface DelayedPacket {
  readonly clone: 0 | 1;
  readonly sealedAt: number;
  readonly leftAt: number;
  /** Numbered from 1. */
  readonly key: number;
  readonly counter: number;
  /** The other clone has sent other content under this key and counter. */
  readonly collides: boolean;
}

/** What came of these options. */
export interface DelayedOutcome extends DelayedOptions {
  readonly packets: readonly DelayedPacket[];
  readonly collisions: number;
  /** Sealed, and never sent. */
  readonly discarded: number;
  readonly untilMs: number;
}

export const LONGEST_DELAY_MS = 200;
export const LONGEST_HOLD_MS = 250;
const EVERY_MS = 10;
const BEFORE_MS = 60;
const AFTER_MS = 240;

export function runDelayed(suite: Suite, { delayMs, holdBackMs }: DelayedOptions): DelayedOutcome {
  const network = new LocalNetwork(suite);
  const privateKey = network.crng.x25519PrivateKey();
  network.peer.setPeer({
    publicKey: publicKeyOf(suite, privateKey),
    allowedIps: [{ ip: ipOf(SANDBOX_IP), prefix: 32 }],
  });
  const port = network.port();
  const machine = new Machine({
    seed: network.crng.bytes(32),
    privateKey,
    suite,
    guarded: true,
    timing: 'delayed',
    holdBackMs,
    clock: network.clock,
    peer: {
      publicKey: network.peerKey,
      endpoint: network.peerEndpoint,
      allowedIps: [{ ip: ipOf(GATEWAY_IP), prefix: 32 }],
    },
    onDatagram: port.send,
  });
  port.machine = machine;
  machine.hear(device => device.sendPacket(words('hello')));
  const step = () => network.pass(1);
  for (let ms = 0; ms < 4 * holdBackMs + 20; ms++) step();
  for (let ms = -BEFORE_MS; ms < 0; ms++) {
    if (ms % EVERY_MS === 0) machine.hear(device => device.sendPacket(words(`before ${ms}`)));
    step();
  }

  port.machine = undefined;
  const start = network.clock.now();
  const untilMs = AFTER_MS + holdBackMs;
  const wiretap = new Wiretap();
  const keys: number[] = [];
  const packets: {
    clone: 0 | 1;
    sealedAt: number;
    leftAt: number;
    key: number;
    counter: number;
    name: string;
  }[] = [];
  const clashing = new Set<string>();
  const clones = ([0, 1] as const).map(clone => {
    const own = network.port();
    own.machine = machine.restore(network.crng.bytes(16), {
      onDatagram: datagram => {
        const nonce = nonceOf(datagram);
        if (nonce) {
          const name = `${nonce.receiverIndex}/${nonce.counter}`;
          if (!keys.includes(nonce.receiverIndex)) keys.push(nonce.receiverIndex);
          if (wiretap.see(datagram)) clashing.add(name);
          const leftAt = network.clock.now() - start;
          const sealedAt = leftAt - holdBackMs;
          const key = keys.indexOf(nonce.receiverIndex) + 1;
          packets.push({ clone, sealedAt, leftAt, key, counter: Number(nonce.counter), name });
        }
        own.send(datagram);
      },
    });
    return own.machine;
  });
  for (let ms = 0; ms <= untilMs; ms++) {
    for (const [i, clone] of clones.entries()) {
      if (ms === delayMs) clone.signal();
      if (ms % EVERY_MS === 0 && ms < AFTER_MS)
        clone.hear(device => device.sendPacket(words(`clone ${i} at ${ms}`)));
    }
    step();
  }
  return {
    delayMs,
    holdBackMs,
    packets: packets.map(({ name, ...packet }) => ({ ...packet, collides: clashing.has(name) })),
    collisions: wiretap.reuses.length,
    discarded: clones.reduce((sum, { device }) => sum + device.stats().discardedAtRelease, 0),
    untilMs,
  };
}

const words = (text: string) => innerPacket(SANDBOX_IP, GATEWAY_IP, text);
