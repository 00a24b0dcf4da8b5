// A peer that was cloned and does not know it, and the device at the other end that finds out.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import type { PeerCloned } from '../../sessions/events.js';
import { describePeerCloned } from '../../sessions/index.js';
import type { Machine } from '../support/machine.js';
import { Network, type Overrides } from '../support/network.js';
import { Pair, packetBetween } from '../support/pair.js';

const suite = await fastestSuite();
const DATA = 4;
const INITIATION = 1;

/** Blind to forks: identity 0 has no source of generations. Identity 1 watches what it receives. */
const UNGUARDED: Overrides = { unprotected: true };

interface Setting {
  readonly watcher?: Overrides;
  /** Who begins the handshake: 0 is the peer that will be cloned. */
  readonly initiator?: 0 | 1;
}

/** A session with traffic both ways; then the unguarded peer is restored twice under its old generation. */
function clonedPeer({ watcher = {}, initiator = 0 }: Setting = {}) {
  const network = new Network(suite);
  const events: PeerCloned[] = [];
  const onEvent: NonNullable<Overrides['device']>['onEvent'] = event => {
    if (event.type === 'peerCloned') events.push(event);
  };
  const [subject, observer] = network.addMachines(2, identity =>
    identity === 0 ? UNGUARDED : { ...watcher, device: { onEvent, ...watcher.device } },
  );
  const ends = [subject, observer];
  network.send(ends[initiator], initiator, 1 - initiator, 'hello');
  network.settle();
  network.send(subject, 0, 1, 'from the peer');
  network.send(observer, 1, 0, 'to the peer');
  network.settle();
  network.machines.splice(0, 1);
  const snapshot = subject.snapshot();
  const clones = ['left', 'right'].map(label => subject.restore(snapshot, label, true));
  for (const clone of clones) network.addClone(0, clone);
  return { network, observer, clones, events };
}

/** What one clone sends, taken from the wire. */
function dataOf(network: Network, clone: Machine, payload: string) {
  network.send(clone, 0, 1, payload);
  return network.inFlight.splice(0).filter(({ bytes }) => bytes[0] === DATA)[0];
}

const stats = (machine: Machine) => machine.device.stats();

describe.each([0, 1] as const)('a cloned peer in a session that identity %i began', initiator => {
  it('is found out by the first counter that both copies use', () => {
    const { network, observer, clones, events } = clonedPeer({ initiator });
    const [left, right] = clones.map(clone => dataOf(network, clone, 'the same words, other bytes'));
    network.deliver(left, observer);
    expect(events).toEqual([]);
    const before = network.received[1].length;
    network.deliver(right, observer);
    expect(events).toHaveLength(1);
    expect(events[0].counter).toBe(new DataView(right.bytes.buffer).getBigUint64(8, true));
    expect(events[0]).toMatchObject({ wipedKeypairs: 1, from: right.from });
    expect(stats(observer)).toMatchObject({ clonedPeers: 1, wipedKeypairs: 1 });
    expect(stats(observer).drops).toMatchObject({ reusedCounter: 1, replayedCounter: 0 });
    // What proved it is not delivered, and what comes under the old keys opens no more.
    expect(network.received[1]).toHaveLength(before);
    network.deliver(dataOf(network, clones[0], 'more'), observer);
    expect(stats(observer).drops.unknownIndex).toBe(1);
    expect(observer.device.peers()[0].hasSession).toBe(false);
  });

  it('gets a new session, by our call or its own, and the traffic goes on', () => {
    const { network, observer, clones } = clonedPeer({ initiator });
    for (const clone of clones) network.deliver(dataOf(network, clone, 'twice'), observer);
    network.machines.splice(
      network.machines.findIndex(({ machine }) => machine === clones[1]),
      1,
    );
    network.advance(6_000);
    expect(network.inFlight.filter(({ bytes }) => bytes[0] === INITIATION)).toHaveLength(1);
    network.settle();
    const before = network.received[1].length;
    network.send(clones[0], 0, 1, 'under new keys');
    network.send(observer, 1, 0, 'and back');
    network.settle();
    expect(network.received[1]).toHaveLength(before + 1);
    expect(stats(observer)).toMatchObject({ clonedPeers: 1 });
  });
});

describe('what is no proof', () => {
  it('the same datagram again is an ordinary replay', () => {
    const { network, observer, clones, events } = clonedPeer();
    const data = dataOf(network, clones[0], 'once');
    for (let i = 0; i < 3; i++) network.deliver(data, observer);
    expect(events).toEqual([]);
    expect(stats(observer).drops).toMatchObject({ replayedCounter: 2, reusedCounter: 0 });
    expect(observer.device.peers()[0].hasSession).toBe(true);
  });

  it('equal messages of both copies, as their keepalives are, give nothing away', () => {
    const { network, observer, clones, events } = clonedPeer();
    for (const clone of clones) clone.run(device => device.sendKeepalive(device.peers()[0].publicKey));
    const keepalives = network.inFlight.splice(0);
    expect(keepalives[0].bytes).toEqual(keepalives[1].bytes);
    for (const keepalive of keepalives) network.deliver(keepalive, observer);
    expect(events).toEqual([]);
    expect(stats(observer).drops).toMatchObject({ replayedCounter: 1, reusedCounter: 0 });
  });

  it('whatever the network does to the datagrams of an honest peer accuses nobody', () => {
    const datagram = fc.record({
      which: fc.nat(1_000),
      at: fc.nat(1_000),
      xor: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 255 })),
    });
    let opened = 0;
    fc.assert(
      fc.property(fc.array(datagram, { minLength: 1, maxLength: 60 }), deliveries => {
        const pair = new Pair().connect();
        for (let i = 0; i < 30; i++) pair.send(pair.a, `packet ${i}`);
        const sent = pair.a.take();
        for (const { which, at, xor } of deliveries) {
          const { bytes, from } = sent[which % sent.length];
          const damaged = bytes.slice();
          damaged[at % damaged.length] ^= xor;
          if (pair.b.receive({ bytes: damaged, from, to: from }) === 'data') opened++;
        }
        expect(pair.b.count('peerCloned')).toBe(0);
        expect(pair.b.drops.reusedCounter).toBe(0);
      }),
      { numRuns: 200 },
    );
    // What was never opened proves nothing.
    expect(opened).toBeGreaterThan(200);
  });

  it('our own fork, after which the tags are our sibling’s too, accuses nobody', () => {
    const pair = new Pair({ b: { device: { forkPolicy: 'expire-sending' } } }).connect();
    pair.send(pair.a);
    const data = pair.a.take();
    pair.b.receive(data[0]);
    pair.b.source.fork(new Uint8Array(16).fill(9));
    pair.send(pair.a, 'after');
    for (const datagram of [...data, ...pair.a.take()]) pair.b.receive(datagram);
    expect(pair.b.count('peerCloned')).toBe(0);
    expect(pair.b.drops.replayedCounter).toBe(1);
  });
});

it('a peer set back to a snapshot, alone, is found out too', () => {
  const { network, observer, clones, events } = clonedPeer();
  for (let i = 0; i < 20; i++) network.deliver(dataOf(network, clones[0], `packet ${i}`), observer);
  network.deliver(dataOf(network, clones[1], 'from the past'), observer);
  expect(events).toHaveLength(1);
});

it('control: switched off, two copies of one peer are taken for a replay, and go on', () => {
  const { network, observer, clones, events } = clonedPeer({ watcher: { device: { tripwire: false } } });
  for (const clone of clones) network.deliver(dataOf(network, clone, 'twice'), observer);
  expect(events).toEqual([]);
  expect(stats(observer)).toMatchObject({ clonedPeers: 0 });
  expect(stats(observer).drops).toMatchObject({ reusedCounter: 0, replayedCounter: 1 });
  expect(observer.device.peers()[0].hasSession).toBe(true);
});

describe('the response', () => {
  it('zeroes all keypairs of the peer and its handshake in flight, and leaves other peers alone', () => {
    const network = new Network(suite);
    const [subject, observer, other] = network.addMachines(3, identity => (identity === 0 ? UNGUARDED : {}));
    for (const from of [0, 2]) network.send([subject, observer, other][from], from, 1, 'hello');
    network.settle();
    network.advance(6_000);
    const [ours] = observer.device.peers();
    observer.run(device => device.initiateHandshake(ours.publicKey));
    const [initiation] = network.inFlight.splice(0);
    const clones = ['left', 'right'].map(label => subject.restore(subject.snapshot(), label, true));
    for (const clone of clones) network.deliver(dataOf(network, clone, 'twice'), observer);
    expect(stats(observer)).toMatchObject({ clonedPeers: 1, wipedKeypairs: 1 });
    expect(observer.device.peers().map(({ hasSession }) => hasSession)).toEqual([false, true]);
    // The answer to the handshake that was under way comes to nothing.
    network.deliver(initiation, clones[0]);
    for (const response of network.inFlight.splice(0)) network.deliver(response, observer);
    expect(stats(observer).drops.unknownIndex).toBe(1);
  });

  it('keeps the packets that wait for the peer, and calls not before the five seconds since our last call', () => {
    const pair = new Pair().connect();
    const twin = new Pair().connect();
    // The same seeds and the same script: twin.b seals under the keys of pair.b.
    pair.send(pair.b, 'one');
    twin.send(twin.b, 'two');
    for (const end of [pair.b, twin.b]) for (const datagram of end.take()) pair.a.receive(datagram);
    expect(pair.a.count('peerCloned')).toBe(1);
    expect(pair.send(pair.a, 'waits')).toBe('staged');
    pair.advance(4_000);
    expect(pair.a.types).toEqual([]);
    pair.advance(1_000, true);
    expect(new TextDecoder().decode(pair.b.received.at(-1)?.subarray(20))).toBe('waits');
  });

  it('may remove the peer from within the event', () => {
    const pair = new Pair({
      a: {
        device: {
          onEvent: event => {
            if (event.type === 'peerCloned') pair.a.device.removePeer(event.peer);
          },
        },
      },
    }).connect();
    const twin = new Pair().connect();
    pair.send(pair.b, 'one');
    twin.send(twin.b, 'two');
    for (const end of [pair.b, twin.b]) for (const datagram of end.take()) pair.a.receive(datagram);
    pair.advance(10_000);
    expect(pair.a.device.peers()).toEqual([]);
    expect(pair.a.take()).toEqual([]);
    expect(pair.a.device.sendPacket(packetBetween(pair.a, pair.b))).toEqual({ drop: 'noRoute' });
  });
});

it('the line for the log says who, which counter, from where, and what to do', () => {
  const { network, observer, clones, events } = clonedPeer();
  const [left, right] = clones.map(clone => dataOf(network, clone, 'twice'));
  network.deliver(left, observer);
  network.roam(0);
  network.deliver({ ...right, from: network.endpoint(0) }, observer);
  const text = describePeerCloned('laptop', events[0]);
  expect(text).toMatch(/^laptop was cloned, or set back to a snapshot: counter 2 /);
  expect(text).toContain('from 192.0.2.1:51821 and from 192.0.2.1:51820');
  expect(text).toContain('Stop all copies but one, or give each a private key of its own');
  expect(text).not.toContain('\n');
});
