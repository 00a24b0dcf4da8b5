// The instants at which a machine is snapshotted: quiet ones, busy ones, and every step of a handshake in both roles.
// Promises: drawn from a seed that is printed; the exact instruction is the machine's own affair.

import { messageType } from '../../../protocol/messages.js';
import { HANDSHAKE_INITIATION, HANDSHAKE_RESPONSE } from '../../../protocol/constants.js';
import { HostPeer, WIREGUARD_PORT } from './host-peer.js';
import type { LinkDatagram } from './link.js';
import type { Moment, Trial } from './trial.js';
import { Wiretap } from './wiretap.js';
import { sleep } from './waiting.js';

/** A number in [0, 1). */
export type Draw = () => number;

export type Reach = (trial: Trial, random: Draw) => Promise<Moment>;

/** A machine that has stood still is slow at first: its caches, and those of the emulator, are cold. Milliseconds. */
const WARM_MS = 1_000;

/** By name, as the table shows them. */
export const INSTANTS: Readonly<Record<string, Reach>> = {
  /** A session, and nobody says anything. After the restore the clones have something to say. */
  async idle(trial, random) {
    await trial.subject.load(trial.machine, { burst: 64, pauseMs: 300 });
    await sleep(random() * 300);
    return here(trial);
  },

  /** Thousands of packets a second, batch by batch. */
  async 'steady traffic'(trial, random) {
    await sleep(WARM_MS + random() * 200);
    return here(trial);
  },

  /** As fast as it goes, 64 datagrams in one piece: batches that are being sealed, and every queue on the way is full. */
  async 'mid-burst'(trial, random) {
    await trial.subject.load(trial.machine, { burst: 256, pauseMs: 4, joined: true });
    await sleep(WARM_MS + random() * 200);
    return here(trial);
  },

  /** Bulk TCP, whose pieces are split and sealed as batches, and acknowledgements that are opened in between. */
  async 'bulk TCP'(trial, random) {
    await trial.subject.load(trial.machine, { burst: 0, pauseMs: 0, tcp: true });
    await sleep(WARM_MS + random() * 200);
    return here(trial);
  },

  /** One packet per system call, without a pause: whoever learns of the fork late sends under old keys here. */
  async 'packet by packet'(trial, random) {
    await trial.subject.load(trial.machine, { burst: 1, pauseMs: 0 });
    await sleep(100 + random() * 200);
    return here(trial);
  },

  /** Small packets now and then, as an interactive program sends them. */
  async 'single packets'(trial, random) {
    await trial.subject.load(trial.machine, { burst: 1, pauseMs: 1 });
    await sleep(100 + random() * 200);
    return here(trial);
  },

  /** The cloned machine has called, and the one answer reaches all of its clones. */
  async 'response on the way'(trial) {
    const peer = trial.hostPeer;
    const initiation = seen(trial, HANDSHAKE_INITIATION);
    peer.withheld = [];
    await trial.subject.restart(trial.machine, trial.keys);
    await initiation;
    return release(trial, peer);
  },

  /** The answer has been handed over, and what the initiator does with it is its own affair. */
  async 'response consumed'(trial, random) {
    const peer = trial.hostPeer;
    const initiation = seen(trial, HANDSHAKE_INITIATION);
    peer.withheld = [];
    await trial.subject.restart(trial.machine, trial.keys);
    await initiation;
    for (const datagram of peer.withheld) trial.machine.link.send(datagram, WIREGUARD_PORT, WIREGUARD_PORT);
    peer.withheld = undefined;
    await sleep(random() * 6);
    return here(trial);
  },

  /** A peer that has restarted calls in the middle of the traffic. */
  async 'during a rekey'(trial, random) {
    await caller(trial);
    trial.hostPeer.initiateHandshake();
    await sleep(random() * 20);
    return here(trial);
  },

  /** The cloned machine has answered, and the one confirmation reaches all of its clones. */
  async 'answered, not confirmed'(trial) {
    const peer = await caller(trial);
    const response = seen(trial, HANDSHAKE_RESPONSE);
    peer.initiateHandshake();
    peer.withheld = [];
    await response;
    return release(trial, peer);
  },

  /** An attacker shows one initiation to all clones, in their first instant. */
  async 'one initiation to all'(trial, random) {
    const peer = await caller(trial);
    peer.withheld = [];
    peer.initiateHandshake();
    await sleep(random() * 50);
    const arriving = peer.withheld.splice(0);
    return {
      ...here(trial),
      arriving,
      between: peer,
      close: async () => {
        peer.withheld = undefined;
      },
    };
  },

  /** A clone is cloned again while it still answers to its first fork. */
  async 'during a fork response'(trial, random) {
    const snapshot = await trial.lab.snapshot(trial.machine);
    const tap = trial.tap();
    const [machine] = await snapshot.restore(1, { running: false });
    snapshot.remove();
    const peer = await HostPeer.start(trial.keys.host, trial.keys.guest);
    peer.attach(machine.link);
    await machine.resume();
    await sleep(random() * 60);
    await machine.pause();
    return {
      machine,
      tap: new Wiretap(tap).read(machine.link.log),
      close: async () => {
        await peer.close();
        await machine.close();
      },
    };
  },
};

function here(trial: Trial): Moment {
  return { machine: trial.machine, tap: new Wiretap() };
}

/** What was withheld reaches the clones, and the machine itself when it goes on. */
function release(trial: Trial, peer: HostPeer): Moment {
  const arriving = peer.withheld ?? [];
  return {
    ...here(trial),
    arriving,
    close: async () => {
      peer.withheld = undefined;
      for (const datagram of arriving) trial.machine.link.send(datagram, WIREGUARD_PORT, WIREGUARD_PORT);
    },
  };
}

/** A peer with the same identity that has just been started: it may call at once. */
async function caller(trial: Trial): Promise<HostPeer> {
  const peer = await HostPeer.start(trial.keys.host, trial.keys.guest);
  trial.meet(peer);
  return peer;
}

/** The next message of a type that leaves the guest. Its peer gets it too. */
function seen(trial: Trial, type: number): Promise<LinkDatagram> {
  const { link } = trial.machine;
  const deliver = link.onDatagram;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no message of type ${type} in ${SEEN_MS} ms`)), SEEN_MS);
    link.onDatagram = datagram => {
      deliver(datagram);
      if (messageType(datagram.payload) !== type) return;
      clearTimeout(timer);
      link.onDatagram = deliver;
      resolve(datagram);
    };
  });
}

const SEEN_MS = 60_000;
