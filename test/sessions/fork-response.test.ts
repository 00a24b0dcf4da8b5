// What a device does when its machine is forked: the three policies, waiting for fresh randomness, and failing closed.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { HANDSHAKE_STATE_BYTES, ReceivedInitiation } from '../../protocol/handshake.js';
import type { ForkPolicy } from '../../sessions/events.js';
import { CookieJar } from '../../sessions/cookie-jar.js';
import { Keypairs } from '../../sessions/keypairs.js';
import { PEER_SESSION_BYTES } from '../../sessions/peer.js';
import { Announcer } from '../crng/machine.js';
import { watchKeyBlocks } from '../support/key-blocks.js';
import { type EndOptions, Pair, payloadOf } from '../support/pair.js';

const INITIATION = 1;
const RESPONSE = 2;
const DATA = 4;
/** How long a peer may have been silent and is still called after a wipe: paper 6.5, Keepalive-Timeout + Rekey-Timeout. */
const RECENT_TRAFFIC_MS = 15_000;
const KEEPALIVE_BYTES = 32;
const isFilled = (bytes: Uint8Array) => bytes.some(byte => byte !== 0);
const ID = new Uint8Array(16).fill(0xf0);
/** What a counter shows after so many forks. */
const count = (forks: number) => new Uint8Array(16).fill(forks, 0, 1);

afterEach(() => {
  vi.restoreAllMocks();
});

const withPolicy = (forkPolicy: ForkPolicy, more: EndOptions = {}) =>
  new Pair({ a: { ...more, device: { forkPolicy, ...more.device } } });

function forkEvents(pair: Pair) {
  return pair.a.events.filter(event => event.type === 'vmFork');
}

describe('policy wipe', () => {
  it('erases every session secret at the first look', () => {
    const blocks = watchKeyBlocks();
    const pair = withPolicy('wipe').connect();
    pair.advance(30_000, true);
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.clock.ms += 30_000;
    const used = blocks.filter(
      block => block.length === PEER_SESSION_BYTES && block.some(byte => byte !== 0),
    );
    expect(used.length).toBe(2);
    pair.a.source.fork(ID);
    pair.a.vmgenid.check();
    expect(used.filter(block => block.some(byte => byte !== 0)).length).toBe(1);
    expect(forkEvents(pair)).toEqual([
      { type: 'vmFork', epoch: 2, policy: 'wipe', wipedKeypairs: 1, wipedHandshakes: 1 },
    ]);
    expect(pair.a.device.stats()).toMatchObject({ forks: 1, wipedKeypairs: 1, epoch: 2, held: false });
    expect(pair.a.device.peers()[0].hasSession).toBe(false);
  });

  it('ends what was received for the old sessions', () => {
    const pair = withPolicy('wipe').connect();
    pair.send(pair.b);
    const [data] = pair.b.take();
    pair.a.source.fork(ID);
    expect(pair.a.receive(data)).toEqual({ drop: 'unknownIndex' });
  });

  it('sends the plaintext that waits after a new handshake, though one was made just now', () => {
    const pair = withPolicy('wipe').connect();
    pair.advance(100);
    pair.a.source.fork(ID);
    expect(pair.send(pair.a, 'after')).toBe('staged');
    expect(pair.a.types).toEqual([INITIATION]);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'after']);
  });

  it('calls peers with staged packets by itself', () => {
    const pair = withPolicy('wipe');
    pair.send(pair.a, 'waits');
    pair.a.take();
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    expect(pair.a.types).toEqual([INITIATION]);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['waits']);
  });

  it('does not finish a handshake that its sibling has begun too', () => {
    const pair = withPolicy('wipe');
    pair.send(pair.a);
    pair.b.receive(pair.a.take()[0]);
    const [response] = pair.b.take();
    pair.a.source.fork(ID);
    expect(pair.a.receive(response)).toEqual({ drop: 'unknownIndex' });
    expect(pair.a.types).toEqual([]);
  });

  it('keeps persistent keepalives going', () => {
    const pair = withPolicy('wipe', { peer: { persistentKeepalive: 25 } });
    pair.settle();
    pair.a.source.fork(ID);
    pair.advance(25_000, true);
    expect(pair.a.count('handshakeComplete')).toBe(2);
  });

  // The peer may be a gateway that reaches us through the hole that keepalives hold open: the clone's is another.
  it.each([
    [0, [INITIATION]],
    [20, [INITIATION]],
    [25, [INITIATION]],
  ])('calls a peer that is kept in reach at once, %d s after the last keepalive', (seconds, types) => {
    const pair = withPolicy('wipe', { peer: { persistentKeepalive: 25 } });
    pair.settle();
    pair.advance(100, true);
    pair.clock.ms += seconds * 1_000;
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    expect(pair.a.types).toEqual(types);
    pair.settle();
    expect(pair.a.count('handshakeComplete')).toBe(2);
  });

  it('keeps them going for a peer that was out of reach, too', () => {
    const pair = withPolicy('wipe', { peer: { persistentKeepalive: 25 } });
    pair.settle();
    // Nothing was sent for longer than that, as in a machine that stood still: it is not called for a conversation.
    pair.clock.ms += 60_000;
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    expect(pair.a.types).toEqual([INITIATION]);
    pair.settle();
    expect(pair.a.count('handshakeComplete')).toBe(2);
  });

  it.each([
    [RECENT_TRAFFIC_MS - 1, [INITIATION]],
    [RECENT_TRAFFIC_MS, []],
  ])('calls a peer in conversation by itself, and none that was silent: %d ms', (silence, types) => {
    const pair = withPolicy('wipe').connect();
    pair.clock.ms += silence;
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    expect(pair.a.types).toEqual(types);
  });

  it('answers what comes under the new session with one keepalive, whatever it owed under the old', () => {
    const pair = withPolicy('wipe').connect();
    pair.advance(1_000, true);
    // Two packets: one keepalive is owed for the first, and then another.
    for (const _ of [1, 2]) {
      pair.send(pair.b);
      pair.settle();
    }
    pair.a.source.fork(ID);
    pair.send(pair.a, 'new');
    pair.settle();
    pair.send(pair.b, 'one packet');
    pair.settle();
    const before = pair.b.device.peers()[0].rxBytes;
    pair.advance(60_000, true);
    expect(pair.b.device.peers()[0].rxBytes - before).toBe(KEEPALIVE_BYTES);
  });

  it('answers each fork once', () => {
    const pair = withPolicy('wipe').connect();
    for (let i = 1; i <= 3; i++) {
      pair.a.source.fork(new Uint8Array(16).fill(i));
      pair.a.device.runTimers();
      pair.a.device.runTimers();
    }
    expect(pair.a.device.stats()).toMatchObject({ forks: 3, epoch: 4, wipedKeypairs: 1 });
    expect(forkEvents(pair).map(({ wipedHandshakes }) => wipedHandshakes)).toEqual([0, 1, 0]);
  });
});

describe('policy expire-sending, as Linux', () => {
  it('sends nothing more under current, and goes on receiving', () => {
    const pair = withPolicy('expire-sending').connect();
    pair.send(pair.b, 'on its way');
    const [data] = pair.b.take();
    pair.advance(100);
    pair.a.source.fork(ID);
    expect(pair.a.receive(data)).toBe('data');
    expect(pair.a.device.peers()[0].hasSession).toBe(false);
    expect(pair.send(pair.a, 'after')).toBe('staged');
    expect(pair.a.types).toEqual([INITIATION]);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'after']);
  });

  it('keeps no key that seals, and no cookie secret', () => {
    const blocks = watchKeyBlocks();
    const sealing: string[] = [];
    const { install } = Keypairs.prototype;
    vi.spyOn(Keypairs.prototype, 'install').mockImplementation(function (this: Keypairs, keys, input) {
      if (input.isInitiator) sealing.push(Buffer.from(keys.subarray(0, 32)).toString('hex'));
      return install.call(this, keys, input);
    });
    const cookies: Uint8Array[] = [];
    const { secret } = CookieJar.prototype;
    vi.spyOn(CookieJar.prototype, 'secret').mockImplementation(function (this: CookieJar, ...given) {
      const drawn = secret.call(this, ...given);
      if (drawn) cookies.push(drawn);
      return drawn;
    });
    const pair = withPolicy('expire-sending', { device: { underLoadThreshold: 0 } });
    pair.b.device.initiateHandshake(pair.a.publicKey);
    expect(pair.a.receive(pair.b.take()[0])).toEqual({ drop: 'underLoad' });
    pair.a.take();
    pair.advance(6_000);
    pair.b.take();
    const open = withPolicy('expire-sending').connect();
    // The other end opens with that key.
    open.b.device.close();
    const held = () => {
      const memory = blocks.map(block => Buffer.from(block).toString('hex')).join(' ');
      return [sealing.filter(key => memory.includes(key)).length, cookies.filter(isFilled).length];
    };
    expect(held()).toEqual([1, 1]);
    for (const { a } of [pair, open]) {
      a.source.fork(ID);
      a.device.runTimers();
    }
    expect(held()).toEqual([0, 0]);
  });

  it('sends no initiation again that the fork has ended', () => {
    const pair = withPolicy('expire-sending');
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.a.take();
    pair.a.source.fork(ID);
    pair.advance(60_000);
    expect(pair.a.types).toEqual([]);
  });

  it('a next that is confirmed after the fork does not send either', () => {
    const pair = new Pair({ b: { device: { forkPolicy: 'expire-sending' } } });
    pair.send(pair.a, 'confirms');
    pair.b.receive(pair.a.take()[0]);
    pair.a.receive(pair.b.take()[0]);
    pair.b.source.fork(ID);
    expect(pair.b.receive(pair.a.take()[0])).toBe('data');
    expect(pair.send(pair.b)).toBe('staged');
    expect(pair.b.types).toEqual([INITIATION]);
  });

  it('ends handshakes, and forgets when the last one was sent', () => {
    const pair = withPolicy('expire-sending');
    pair.send(pair.a);
    pair.b.receive(pair.a.take()[0]);
    const [response] = pair.b.take();
    pair.a.source.fork(ID);
    expect(pair.a.receive(response)).toEqual({ drop: 'unknownIndex' });
    pair.advance(10);
    expect(pair.a.types).toEqual([INITIATION]);
    expect(forkEvents(pair)).toMatchObject([{ wipedKeypairs: 0, wipedHandshakes: 1 }]);
  });

  it('counts a keypair that can no longer send once, and at the fork that took it; one of before not at all', () => {
    const pair = withPolicy('expire-sending').connect();
    pair.advance(6_000, true);
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.settle();
    for (const id of [1, 2]) {
      pair.a.source.fork(new Uint8Array(16).fill(id));
      pair.a.device.runTimers();
    }
    expect(forkEvents(pair)).toMatchObject([
      { wipedKeypairs: 1, wipedHandshakes: 0 },
      { wipedKeypairs: 0, wipedHandshakes: 0 },
    ]);
    // Nor is anybody called for whom nothing waits.
    expect(pair.a.types).toEqual([]);
    expect(pair.a.device.stats()).toMatchObject({ forks: 2, wipedKeypairs: 1 });
  });
});

describe('policy hold', () => {
  it('is silent until there is a new private key', () => {
    const pair = withPolicy('hold', { peer: { persistentKeepalive: 5 } });
    pair.settle();
    pair.send(pair.b);
    const [data] = pair.b.take();
    pair.a.source.fork(ID);
    expect(pair.send(pair.a)).toEqual({ drop: 'held' });
    expect(pair.a.receive(data)).toEqual({ drop: 'held' });
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.a.device.sendKeepalive(pair.b.publicKey);
    pair.advance(60_000, true);
    expect(pair.a.types).toEqual([]);
    expect(pair.a.device.stats()).toMatchObject({ held: true, waitingForFreshness: 0 });

    const privateKey = new Uint8Array(32).fill(0x33);
    pair.a.device.setPrivateKey(privateKey);
    pair.b.device.setPeer({
      publicKey: pair.a.device.publicKey as Uint8Array,
      endpoint: pair.a.endpoint,
      allowedIps: [{ ip: Uint8Array.of(10, 0, 0, 1), prefix: 32 }],
    });
    pair.advance(5_000, true);
    pair.send(pair.a, 'someone new');
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toContain('someone new');
  });

  it('waits for nothing and has nothing due, whatever waited and was due before', () => {
    const pair = withPolicy('hold', { peer: { persistentKeepalive: 25 } });
    pair.settle();
    pair.a.crng.isFresh = () => false;
    pair.advance(121_000, true);
    pair.send(pair.a);
    expect(pair.a.device.stats().waitingForFreshness).toBe(1);
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    expect(pair.a.device.stats().waitingForFreshness).toBe(0);
    expect(pair.a.device.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it('begins a new interval of keepalives with the new key', () => {
    const pair = withPolicy('hold', { peer: { persistentKeepalive: 25 } });
    pair.settle();
    pair.a.source.fork(ID);
    pair.advance(60_000, true);
    pair.a.device.setPrivateKey(new Uint8Array(32).fill(0x33));
    pair.advance(24_999);
    expect(pair.a.types).toEqual([]);
    pair.advance(1);
    expect(pair.a.types).toEqual([INITIATION]);
  });

  it('drops the plaintext that waited', () => {
    const pair = withPolicy('hold');
    pair.send(pair.a, 'never');
    pair.a.take();
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    expect(pair.a.device.stats().held).toBe(true);
    pair.a.device.setPrivateKey(pair.a.privateKey);
    pair.advance(10_000);
    expect(pair.a.types).toEqual([]);
    // Nor does it leave with the first packet of the new identity.
    expect(pair.send(pair.a, 'someone new')).toBe('staged');
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['someone new']);
  });
});

describe('a drill', () => {
  it.each(['wipe', 'hold', 'enrol'] as const)(
    'by policy %s ends every session, leaves us who we are, and calls the peers in conversation',
    forkPolicy => {
      const pair = withPolicy(forkPolicy).connect();
      const { publicKey } = pair.a.device;
      pair.advance(1_000);
      pair.a.vmgenid.drill();
      expect(forkEvents(pair)).toEqual([
        { type: 'vmFork', epoch: 2, policy: 'wipe', isDrill: true, wipedKeypairs: 1, wipedHandshakes: 0 },
      ]);
      expect(pair.a.device.stats()).toMatchObject({ forks: 0, drills: 1, epoch: 2, held: false });
      expect(pair.a.device.publicKey).toEqual(publicKey);
      pair.a.device.runTimers();
      expect(pair.a.types).toEqual([INITIATION]);
      pair.settle();
      expect(pair.a.device.peers()[0]).toMatchObject({ hasSession: true, sessionEpoch: 2 });
    },
  );

  it('by policy expire-sending ends what it ends at a fork', () => {
    const pair = withPolicy('expire-sending').connect();
    pair.a.vmgenid.drill();
    expect(forkEvents(pair)).toMatchObject([{ policy: 'expire-sending', isDrill: true, wipedKeypairs: 1 }]);
    expect(pair.a.device.peers()[0].hasSession).toBe(false);
  });

  it.each([
    ['before it', (pair: Pair) => [pair.a.source.fork(ID), pair.a.vmgenid.drill()]],
    ['after it', (pair: Pair) => [pair.a.vmgenid.drill(), pair.a.source.fork(ID)]],
    [
      'found in it',
      (pair: Pair) => {
        pair.a.vmgenid.register('randomness', ({ isDrill }) => isDrill && pair.a.source.fork(ID));
        pair.a.vmgenid.drill();
      },
    ],
  ] as const)('a fork %s holds the device all the same', (_, act) => {
    const pair = withPolicy('hold').connect();
    act(pair);
    pair.a.device.runTimers();
    pair.advance(60_000, true);
    expect(pair.a.device.stats()).toMatchObject({ forks: 1, held: true });
    expect(pair.a.types).toEqual([]);
  });
});

describe('every policy', () => {
  it.each<ForkPolicy>(['wipe', 'expire-sending', 'hold'])(
    '%s: whoever looks before the chain has reached the device finds the fork answered',
    policy => {
      const pair = withPolicy(policy).connect();
      pair.advance(6_000);
      const answers: unknown[] = [];
      pair.a.vmgenid.register('randomness', () => {
        answers.push(pair.send(pair.a, 'from the chain'), pair.a.device.stats().forks);
      });
      pair.a.source.fork(ID);
      pair.a.vmgenid.check();
      expect(answers).toEqual(policy === 'hold' ? [{ drop: 'held' }, 1] : ['staged', 1]);
      expect(pair.a.types).toEqual(policy === 'hold' ? [] : [INITIATION]);
      // The chain comes to the device after that: what was begun since stands, and nothing is counted again.
      expect(pair.a.device.stats()).toMatchObject({ forks: 1, wipedKeypairs: 1 });
      pair.settle();
      expect(pair.b.received.map(payloadOf)).toEqual(
        policy === 'hold' ? ['connect'] : ['connect', 'from the chain'],
      );
    },
  );
});

it('an epoch that goes back is no epoch: the device throws, and sends nothing', () => {
  const pair = new Pair().connect();
  pair.advance(6_000);
  pair.a.source.fork(ID);
  pair.a.device.runTimers();
  pair.a.take();
  vi.spyOn(pair.a.vmgenid, 'check').mockReturnValue(1);
  expect(() => pair.send(pair.a)).toThrow('an epoch never goes back');
  expect(() => pair.a.device.runTimers()).toThrow('an epoch never goes back');
  expect(pair.a.types).toEqual([]);
});

describe('a fork at any read of the generation', () => {
  /** Handshakes of both roles, traffic, a batch, a rekey, timers. The fork shows at read `at` of A. */
  function script(forkPolicy: ForkPolicy, at: number) {
    let reads = 0;
    let sent = 0;
    let sentAtFork = -1;
    const pair: Pair = new Pair({
      a: {
        device: { forkPolicy },
        peer: { persistentKeepalive: 25 },
        source: {
          onRead: () => {
            if (++reads !== at) return;
            sentAtFork = sent;
            pair.a.source.fork(ID);
          },
        },
        onDatagram: () => {
          sent++;
        },
      },
    });
    pair.send(pair.a, 'one');
    pair.settle();
    pair.a.device.cork();
    pair.send(pair.a, 'two');
    pair.send(pair.a, 'three');
    pair.a.device.uncork();
    pair.send(pair.b, 'back');
    pair.settle();
    pair.advance(6_000);
    pair.b.device.initiateHandshake(pair.a.publicKey);
    pair.settle();
    pair.advance(16_000, true);
    pair.advance(121_000);
    pair.send(pair.a, 'old');
    pair.advance(6_000);
    pair.settle();
    return { pair, reads, sentAtFork, sent };
  }

  // The first reads fall into the building of the devices.
  const FIRST = 20;
  const { reads } = script('wipe', Number.POSITIVE_INFINITY);

  it('leaves nothing to be sent under policy hold', () => {
    expect(reads).toBeGreaterThan(40);
    for (let at = FIRST; at <= reads; at++) {
      const { pair, sent, sentAtFork } = script('hold', at);
      expect(sent, `fork at read ${at}`).toBe(sentAtFork);
      expect(pair.a.device.stats(), `fork at read ${at}`).toMatchObject({ held: true, forks: 1 });
    }
  });

  it.each<ForkPolicy>(['wipe', 'expire-sending'])('is recovered from under policy %s', policy => {
    for (let at = FIRST; at <= reads; at++) {
      const { pair } = script(policy, at);
      pair.advance(6_000, true);
      pair.send(pair.a, 'recovered');
      pair.advance(6_000, true);
      expect(pair.b.received.map(payloadOf), `fork at read ${at}`).toContain('recovered');
      expect(pair.a.device.stats().forks).toBe(1);
    }
  });
});

describe('while nothing parts this clone from its siblings', () => {
  function counterOnly() {
    const announcer = new Announcer();
    const pair = new Pair({ a: { source: { uniqueness: 'counter' }, sources: [announcer] } });
    return { pair, announcer };
  }

  it('no handshake is made; the packet waits, and leaves when evidence comes', () => {
    const { pair, announcer } = counterOnly();
    pair.connect();
    pair.advance(30_000, true);
    pair.a.source.fork(count(1));
    expect(pair.send(pair.a, 'patience')).toBe('waitingForFreshness');
    expect(pair.send(pair.a, 'more of it')).toBe('waitingForFreshness');
    pair.advance(3_000);
    expect(pair.a.types).toEqual([]);
    expect(pair.a.count('waitingForFreshness')).toBe(1);
    expect(pair.a.device.stats().waitingForFreshness).toBe(1);
    announcer.announce({ kernelReseeded: true });
    expect(pair.a.device.nextDeadline()).toBeLessThanOrEqual(pair.clock.ms);
    pair.advance(0);
    expect(pair.a.types).toEqual([INITIATION]);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'patience', 'more of it']);
    expect(pair.a.device.stats().waitingForFreshness).toBe(0);
  });

  it('an initiation is kept, and answered when evidence comes', () => {
    const { pair, announcer } = counterOnly();
    pair.connect();
    pair.a.source.fork(count(1));
    pair.advance(6_000);
    pair.b.take();
    pair.b.device.initiateHandshake(pair.a.publicKey);
    expect(pair.a.receive(pair.b.take()[0])).toBe('handshake');
    pair.advance(1_000);
    expect(pair.a.types).toEqual([]);
    announcer.announce({ kernelReseeded: true });
    pair.advance(0);
    expect(pair.a.types).toEqual([RESPONSE]);
    pair.settle();
    pair.send(pair.a, 'answered');
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toContain('answered');
  });

  it('of several initiations the last is answered', () => {
    const { pair, announcer } = counterOnly();
    pair.send(pair.b);
    pair.advance(5_400);
    const [first, second] = pair.b.take();
    pair.a.source.fork(count(1));
    expect(pair.a.receive(first)).toBe('handshake');
    pair.advance(20);
    expect(pair.a.receive(second)).toBe('handshake');
    announcer.announce({ kernelReseeded: true });
    pair.advance(0);
    expect(pair.a.types).toEqual([RESPONSE]);
    pair.settle();
    expect(pair.a.received.length).toBe(1);
  });

  it.each<ForkPolicy>(['wipe', 'expire-sending', 'hold'])(
    'under policy %s a fork erases the initiation that waits',
    policy => {
      const kept: Uint8Array[] = [];
      const held = () => kept.map(bytes => bytes.some(byte => byte !== 0));
      const { verify } = ReceivedInitiation.prototype;
      vi.spyOn(ReceivedInitiation.prototype, 'verify').mockImplementation(function (
        this: ReceivedInitiation,
        remote,
      ) {
        const storage = new Uint8Array(HANDSHAKE_STATE_BYTES);
        kept.push(storage);
        return verify.call(this, remote, storage);
      });
      const pair = new Pair({ a: { device: { forkPolicy: policy }, source: { uniqueness: 'counter' } } });
      pair.send(pair.b);
      pair.a.crng.isFresh = () => false;
      pair.a.receive(pair.b.take()[0]);
      expect(held()).toEqual([true]);
      pair.a.source.fork(count(1));
      pair.a.device.runTimers();
      expect(held()).toEqual([false]);
    },
  );

  it('a wipe ends it, and what was erased is answered by nobody', () => {
    const { pair, announcer } = counterOnly();
    pair.a.source.fork(count(1));
    pair.send(pair.b);
    pair.a.receive(pair.b.take()[0]);
    pair.a.device.wipe();
    announcer.announce({ kernelReseeded: true });
    pair.advance(1);
    expect(pair.a.types).not.toContain(RESPONSE);
  });

  it('a second fork ends the wait for what was kept', () => {
    const { pair, announcer } = counterOnly();
    pair.a.source.fork(count(1));
    pair.send(pair.b);
    pair.a.receive(pair.b.take()[0]);
    pair.a.source.fork(count(2));
    pair.advance(0);
    announcer.announce({ kernelReseeded: true });
    pair.advance(1);
    expect(pair.a.types).not.toContain(RESPONSE);
  });
});

describe('while no source can vouch for the generation', () => {
  it('nothing leaves and nothing is taken in; then the old session goes on', () => {
    const pair = new Pair().connect();
    pair.send(pair.b);
    const [data] = pair.b.take();
    pair.a.blind = true;
    expect(pair.send(pair.a, 'blind')).toBe('waitingForFreshness');
    expect(pair.a.receive(data)).toEqual({ drop: 'staleEpoch' });
    pair.a.device.sendKeepalive(pair.b.publicKey);
    pair.advance(60_000);
    expect(pair.a.types).toEqual([]);
    pair.a.blind = false;
    pair.advance(10);
    expect(pair.a.types).toEqual([DATA]);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'blind']);
  });

  it('a fork behind the blindness is found when it ends', () => {
    const pair = new Pair().connect();
    pair.advance(100);
    pair.a.blind = true;
    pair.send(pair.a, 'blind');
    pair.a.source.fork(ID);
    pair.a.blind = false;
    pair.advance(10);
    expect(pair.a.types).toEqual([INITIATION]);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'blind']);
  });

  it('what was sealed before the page went away is discarded, and the caller hears of it', () => {
    let failAt = Number.POSITIVE_INFINITY;
    let reads = 0;
    const onRead = () => {
      if (++reads === failAt) throw new Error('torn');
    };
    const pair = new Pair({ a: { source: { onRead } } }).connect();
    // The first read is the look before sealing, the second the gate's.
    failAt = reads + 2;
    expect(pair.send(pair.a, 'lost')).toEqual({ drop: 'staleEpoch' });
    expect(pair.a.types).toEqual([]);
    expect(pair.a.device.stats().discardedAtRelease).toBe(1);
    expect(pair.send(pair.a, 'next')).toBe('sent');
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'next']);
  });
});

describe('protection', () => {
  it('strict refuses a machine without an immediate source', () => {
    const strict = (timing: 'immediate' | 'delayed') => () =>
      new Pair({ a: { device: { strict: true }, source: { timing } } });
    expect(strict('delayed')).toThrow(expect.objectContaining({ code: 'ERR_STRICT_PROTECTION' }));
    expect(strict('immediate')).not.toThrow();
  });

  /** A delayed source: the fork has happened, the word of it comes 30 ms later. */
  function delayed(holdBackMs: number) {
    const pair = new Pair({ a: { device: { holdBackMs }, source: { timing: 'delayed' } } });
    pair.send(pair.a, 'connect');
    pair.advance(1_000, true);
    pair.a.take();
    pair.a.source.fork(ID);
    expect(pair.send(pair.a, 'in the window')).toBe('sent');
    pair.advance(30);
    pair.a.source.signal();
    pair.advance(20);
    return pair;
  }

  it('holding back longer than the delay discards what was sealed in the window', () => {
    const pair = delayed(50);
    expect(pair.a.types).not.toContain(DATA);
    expect(pair.a.device.stats().discardedAtRelease).toBe(1);
    pair.advance(1_000, true);
    pair.send(pair.a, 'after');
    pair.advance(1_000, true);
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'after']);
  });

  it('control: without holding back it leaves', () => {
    expect(delayed(0).a.types).toContain(DATA);
  });
});
