// A gateway's door: static keys that no peer has, from the initiation to the peer, and every way in which that ends.

import { describe, expect, it } from 'vitest';
import { writeMac1, mac1Key } from '../../protocol/cookie.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import type { Admission, AdmittedPeer } from '../../sessions/admission.js';
import {
  ADMISSION_TIMEOUT_MS,
  ASKS_AT_ONCE,
  ASKS_PER_SECOND,
  Admissions,
  MAX_AWAITED,
  MAX_PROVISIONAL,
  MAX_REFUSED,
  PROVISIONAL_MS,
  REFUSED_MS,
  type Stranger,
} from '../../sessions/admissions.js';
import type { Peer } from '../../sessions/peer.js';
import { HANDSHAKE_BUDGET } from '../../sessions/receive-handshakes.js';
import { SimEndpoint } from '../support/machine.js';
import { type Datagram, End, type EndOptions, Pair, introduce, packetBetween } from '../support/pair.js';

const suite = await fastestSuite();
const RESPONSE = 2;
const COOKIE = 3;
const ID = new Uint8Array(16).fill(0xf0);
const PSK = new Uint8Array(32).fill(0x5a);
const ERASE_MS = 540_000;
const range = (host: number) => ({ ip: Uint8Array.of(10, 0, 0, host), prefix: 32 });

type Answer = AdmittedPeer | undefined | Promise<AdmittedPeer | undefined>;

/** A gateway `b` that knows nobody, and a clone `a` that calls it. */
function strangers(answer: (publicKey: Uint8Array) => Answer, more: { a?: EndOptions; b?: EndOptions } = {}) {
  const asked: Uint8Array[] = [];
  const admission: Admission = {
    admit: publicKey => {
      asked.push(publicKey);
      return answer(publicKey);
    },
  };
  const pair = new Pair({
    a: { ...more.a, peer: { presharedKey: PSK, ...more.a?.peer } },
    b: { ...more.b, device: { admission, ...more.b?.device } },
  });
  pair.b.device.removePeer(pair.a.publicKey);
  return { pair, asked };
}

const yes = (host = 1, more: Partial<AdmittedPeer> = {}): AdmittedPeer => ({
  presharedKey: PSK,
  allowedIps: [range(host)],
  ...more,
});

const origin = (pair: Pair) => pair.b.device.peer(pair.a.publicKey)?.origin;
const admissionOf = (pair: Pair) => pair.b.device.stats().admission;

/** Lets every promise that is settled be heard. */
const heard = () => new Promise<void>(resolve => setImmediate(resolve));

/** The initiation of `a`, which nobody has received. */
function call(pair: Pair): Datagram {
  pair.a.device.initiateHandshake(pair.b.publicKey);
  const [initiation] = pair.a.take();
  return initiation;
}

describe('a stranger who is welcome', () => {
  it('is asked about once, answered at once, and a peer with his first data', () => {
    const { pair, asked } = strangers(() => yes());
    expect(pair.send(pair.a, 'first')).toBe('staged');
    const [initiation] = pair.a.take();
    expect(pair.b.receive(initiation)).toBe('handshake');
    expect(asked).toEqual([pair.a.publicKey]);
    expect(pair.b.types).toEqual([RESPONSE]);
    expect(origin(pair)).toBe('provisional');
    expect(pair.b.device.peer(pair.a.publicKey)?.allowedIps).toEqual([]);
    expect(pair.b.device.sendPacket(packetBetween(pair.b, pair.a))).toEqual({ drop: 'noRoute' });
    pair.settle();
    expect(pair.b.received).toHaveLength(1);
    expect(origin(pair)).toBe('admitted');
    expect(pair.b.device.peer(pair.a.publicKey)?.allowedIps).toEqual([range(1)]);
    expect(pair.b.events.filter(({ type }) => type === 'peerAdmitted')).toEqual([
      {
        type: 'peerAdmitted',
        peer: pair.a.publicKey,
        allowedIps: [range(1)],
        timestamp: expect.any(Uint8Array),
      },
    ]);
    expect(pair.send(pair.b, 'answer')).toBe('sent');
    pair.settle();
    expect(pair.a.received).toHaveLength(1);
    expect(admissionOf(pair)).toEqual({
      awaited: 0,
      provisional: 0,
      present: 1,
      admitted: 1,
      expired: 0,
      evicted: 0,
    });
  });

  it('is so after one answer that took its time, without another initiation', async () => {
    let answer: (admitted: AdmittedPeer) => void = () => {};
    const { pair } = strangers(() => new Promise(resolve => (answer = resolve)));
    pair.send(pair.a, 'first');
    pair.settle();
    expect(pair.b.types).toEqual([]);
    expect(admissionOf(pair)?.awaited).toBe(1);
    pair.advance(1_000);
    answer(yes());
    await heard();
    expect(pair.b.types).toEqual([RESPONSE]);
    pair.settle();
    expect(pair.b.received).toHaveLength(1);
    expect(pair.a.count('handshakeInitiated')).toBe(1);
  });

  it('gets the keepalive that he was promised when he is proven', () => {
    const { pair } = strangers(() => yes(1, { persistentKeepalive: 7 }));
    pair.send(pair.a, 'first');
    pair.settle();
    expect(pair.b.device.peer(pair.a.publicKey)?.persistentKeepalive).toBe(7);
    pair.advance(7_000);
    expect(pair.b.types).toEqual([4]);
  });

  it('goes when all his keys have expired, and comes again by asking', () => {
    const { pair, asked } = strangers(() => yes());
    pair.send(pair.a, 'first');
    pair.settle();
    pair.advance(ERASE_MS + 1);
    pair.a.take();
    expect(pair.b.device.peers()).toEqual([]);
    const [evicted] = pair.b.events.filter(event => event.type === 'peerEvicted');
    expect(evicted).toMatchObject({ peer: pair.a.publicKey, timestamp: expect.any(Uint8Array) });
    expect(admissionOf(pair)).toMatchObject({ present: 0, evicted: 1 });
    pair.send(pair.a, 'again');
    pair.settle();
    expect(asked).toHaveLength(2);
    expect(origin(pair)).toBe('admitted');
  });

  it('goes too if a fork of the gateway has ended his keys and he never calls', () => {
    const { pair } = strangers(() => yes());
    pair.send(pair.a, 'first');
    pair.settle();
    pair.advance(60_000);
    pair.a.take();
    pair.b.source.fork(ID);
    pair.b.device.runTimers();
    pair.b.take();
    expect(origin(pair)).toBe('admitted');
    pair.advance(ERASE_MS + 1);
    expect(pair.b.device.peers()).toEqual([]);
  });

  it('whom an operator then sets is configured, and stays', () => {
    const { pair } = strangers(() => yes());
    pair.send(pair.a, 'first');
    pair.settle();
    pair.b.device.setPeer({ publicKey: pair.a.publicKey, allowedIps: [range(1)] });
    expect(origin(pair)).toBe('configured');
    expect(admissionOf(pair)?.present).toBe(0);
    pair.advance(ERASE_MS + 1);
    expect(origin(pair)).toBe('configured');
  });
});

describe('a provisional peer that calls again', () => {
  it('is told of before it is asked about, and answered under what is said then', () => {
    const story: string[] = [];
    const answers = [yes(1, { presharedKey: new Uint8Array(32).fill(1) }), yes()];
    const { pair } = strangers(
      () => {
        story.push('asked');
        return answers.shift();
      },
      { b: { device: { onEvent: ({ type }) => story.push(type) } } },
    );
    pair.send(pair.a, 'first');
    pair.settle();
    expect(origin(pair)).toBe('provisional');
    pair.advance(5_400);
    pair.settle();
    expect(story.slice(0, 4)).toEqual(['asked', 'admissionExpired', 'asked', 'peerAdmitted']);
    expect(origin(pair)).toBe('admitted');
    expect(admissionOf(pair)).toMatchObject({ provisional: 0, present: 1, expired: 1 });
  });

  it('is not asked about for a replay, and goes on waiting for data', () => {
    const { pair, asked } = strangers(() => yes());
    pair.send(pair.a, 'first');
    const [initiation] = pair.a.take();
    pair.b.receive(initiation);
    expect(pair.b.receive(initiation)).toEqual({ drop: 'replayedInitiation' });
    expect(asked).toHaveLength(1);
    pair.settle();
    expect(origin(pair)).toBe('admitted');
  });
});

describe('a stranger who is not', () => {
  it('is refused without an answer, and not asked about again for a while', () => {
    const { pair, asked } = strangers(() => undefined);
    pair.send(pair.a, 'first');
    pair.settle();
    pair.advance(6_000, true);
    expect(asked).toHaveLength(1);
    expect(pair.b.sent).toEqual([]);
    expect(pair.b.drops).toMatchObject({ notAdmitted: 2 });
    expect(pair.b.device.peers()).toEqual([]);
    pair.advance(REFUSED_MS, true);
    expect(asked.length).toBeGreaterThan(1);
  });

  it('is asked about at once when refusals are forgotten', () => {
    let welcome = false;
    const { pair } = strangers(() => (welcome ? yes() : undefined));
    pair.send(pair.a, 'first');
    pair.settle();
    welcome = true;
    pair.b.device.forgetRefusals();
    pair.advance(6_000, true);
    expect(origin(pair)).toBe('admitted');
  });

  it.each([
    ['rejects', () => Promise.reject(new Error('the store is away'))],
    [
      'throws',
      () => {
        throw new Error('the store is away');
      },
    ],
  ])('nor one about whom whoever decides %s: that is no answer, and he may call again', async (_, fail) => {
    let isAway = true;
    const { pair } = strangers(() => (isAway ? fail() : yes()));
    pair.send(pair.a, 'first');
    pair.settle();
    await heard();
    expect(pair.b.drops).toMatchObject({ admissionFailed: 1, notAdmitted: 0 });
    isAway = false;
    pair.advance(6_000, true);
    expect(origin(pair)).toBe('admitted');
  });

  it('nor one about whom nothing is said in time', async () => {
    let answer: (admitted: AdmittedPeer) => void = () => {};
    const { pair } = strangers(() => new Promise(resolve => (answer = resolve)));
    pair.b.receive(call(pair));
    pair.advance(ADMISSION_TIMEOUT_MS + 1);
    expect(pair.b.drops).toMatchObject({ admissionFailed: 1 });
    answer(yes());
    await heard();
    expect([pair.b.sent, pair.b.device.peers()]).toEqual([[], []]);
  });

  it('nor one whose address another has', () => {
    const { pair } = strangers(() => yes(9));
    pair.b.device.setPeer({ publicKey: new Uint8Array(32).fill(9), allowedIps: [range(9)] });
    pair.send(pair.a, 'first');
    pair.settle();
    expect(pair.b.drops).toMatchObject({ addressTaken: 1 });
    expect(origin(pair)).toBeUndefined();
    expect(pair.b.device.peer(new Uint8Array(32).fill(9))?.allowedIps).toEqual([range(9)]);
  });

  it('nor one whose address another gets before he is proven', () => {
    const { pair } = strangers(() => yes());
    pair.send(pair.a, 'first');
    pair.b.receive(pair.a.take()[0]);
    pair.b.device.setPeer({ publicKey: new Uint8Array(32).fill(9), allowedIps: [range(1)] });
    pair.settle();
    expect(pair.b.drops).toMatchObject({ addressTaken: 1 });
    expect(origin(pair)).toBeUndefined();
    expect(pair.b.received).toEqual([]);
  });

  it('nor one without the preshared key: he is answered, and gone in time', () => {
    const { pair } = strangers(() => yes(), { a: { peer: { presharedKey: new Uint8Array(32).fill(1) } } });
    pair.send(pair.a, 'first');
    pair.settle();
    expect(origin(pair)).toBe('provisional');
    expect(pair.a.drops.badTag).toBe(1);
    pair.advance(PROVISIONAL_MS + 1);
    expect(origin(pair)).toBeUndefined();
    expect(pair.b.count('admissionExpired')).toBe(1);
    expect(admissionOf(pair)).toMatchObject({ admitted: 0, expired: 1, provisional: 0 });
  });

  it('control: where none is asked of him he is a peer', () => {
    const { pair } = strangers(() => yes(1, { presharedKey: undefined }), {
      a: { peer: { presharedKey: new Uint8Array(32) } },
    });
    pair.send(pair.a, 'first');
    pair.settle();
    expect(origin(pair)).toBe('admitted');
  });

  it('nor one who only knows the public key of somebody who is', () => {
    const { pair, asked } = strangers(() => yes());
    const initiation = call(pair);
    // Everything is as `a` would have it, but the proof that he is.
    initiation.bytes[88 + 3] ^= 1;
    writeMac1(suite, mac1Key(suite, pair.b.publicKey), initiation.bytes);
    expect(pair.b.receive(initiation)).toEqual({ drop: 'badTag' });
    expect(asked).toEqual([]);
  });

  it('without anybody who decides is unknown, as ever', () => {
    const { pair } = strangers(() => yes(), { b: { device: { admission: undefined } } });
    pair.send(pair.a, 'first');
    pair.settle();
    expect(pair.b.drops).toMatchObject({ unknownPeer: 1 });
    expect(admissionOf(pair)).toBeUndefined();
  });
});

describe('an initiation that is kept', () => {
  it('gives way to a later one of the same key, and nobody is asked twice', async () => {
    let answer: (admitted: AdmittedPeer) => void = () => {};
    const { pair, asked } = strangers(() => new Promise(resolve => (answer = resolve)));
    const first = call(pair);
    pair.b.receive(first);
    pair.advance(5_400);
    const [second] = pair.a.take();
    expect(pair.b.receive(second)).toBe('handshake');
    expect(pair.b.receive(first)).toEqual({ drop: 'replayedInitiation' });
    answer(yes());
    await heard();
    expect(asked).toHaveLength(2);
    pair.settle();
    expect(pair.a.device.peers()[0].hasSession).toBe(true);
  });

  it('is refused when its timestamp is not later than what is known of it', () => {
    const known: { latestTimestamp?: Uint8Array | undefined } = {};
    const { pair } = strangers(() => yes(1, known));
    const initiation = call(pair);
    pair.b.receive(initiation);
    pair.settle();
    pair.a.take();
    pair.advance(ERASE_MS + 1);
    const [evicted] = pair.b.events.filter(event => event.type === 'peerEvicted');
    known.latestTimestamp = evicted?.timestamp;
    expect(pair.b.device.peers()).toEqual([]);
    pair.b.take();
    // Somebody has kept it.
    pair.b.receive(initiation);
    expect(pair.b.drops).toMatchObject({ replayedInitiation: 1 });
    expect([pair.b.sent, pair.b.device.peers()]).toEqual([[], []]);
  });

  it.each(['wipe', 'expire-sending', 'hold'] as const)(
    'is gone with a fork, policy %s: a sibling has it too',
    async forkPolicy => {
      const answers: ((admitted: AdmittedPeer) => void)[] = [];
      const { pair } = strangers(() => new Promise(resolve => answers.push(resolve)), {
        b: { device: { forkPolicy } },
      });
      pair.b.receive(call(pair));
      pair.b.source.fork(ID);
      for (const answer of answers) answer(yes());
      await heard();
      expect([pair.b.sent, pair.b.device.peers()]).toEqual([[], []]);
      expect(admissionOf(pair)?.awaited).toBe(0);
    },
  );

  it('is gone with a change of our key', async () => {
    const answers: ((admitted: AdmittedPeer) => void)[] = [];
    const { pair } = strangers(() => new Promise(resolve => answers.push(resolve)));
    pair.b.receive(call(pair));
    pair.b.device.setPrivateKey(new Uint8Array(32).fill(0x33));
    answers[0](yes());
    await heard();
    expect([pair.b.sent, pair.b.device.peers()]).toEqual([[], []]);
  });

  it('so is whoever was answered, and not proven', () => {
    const { pair } = strangers(() => yes());
    pair.send(pair.a, 'first');
    pair.b.receive(pair.a.take()[0]);
    const late = pair.b.take();
    pair.b.source.fork(ID);
    pair.b.device.runTimers();
    expect(pair.b.device.peers()).toEqual([]);
    for (const datagram of late) pair.a.receive(datagram);
    for (const datagram of pair.a.take()) expect(pair.b.receive(datagram)).toEqual({ drop: 'unknownIndex' });
  });

  it('waits no longer than the device is there', async () => {
    const answers: ((admitted: AdmittedPeer) => void)[] = [];
    const { pair } = strangers(() => new Promise(resolve => answers.push(resolve)));
    pair.b.receive(call(pair));
    pair.b.device.close();
    answers[0](yes());
    await heard();
    expect(pair.b.sent).toEqual([]);
  });
});

it('a provisional peer proves nothing to the connection that it came by; its data does', () => {
  const { pair } = strangers(() => yes());
  pair.send(pair.a, 'first');
  let proofs = 0;
  const from = Object.assign(new SimEndpoint(1, 4_000), { authenticated: () => void proofs++ });
  pair.b.receive(pair.a.take()[0], from);
  expect([proofs, from.isPeers]).toEqual([0, undefined]);
  for (const datagram of pair.b.take()) pair.a.receive(datagram);
  pair.b.receive(pair.a.take()[0], from);
  expect([proofs > 0, from.isPeers]).toEqual([true, true]);
});

describe('an answer that no peer can be given', () => {
  const bad: [string, Partial<AdmittedPeer>][] = [
    ['a preshared key that is too short', { presharedKey: new Uint8Array(31) }],
    ['a preshared key that is too long', { presharedKey: new Uint8Array(33) }],
    ['an address of no family', { allowedIps: [{ ip: new Uint8Array(5), prefix: 8 }] }],
    ['a prefix beyond the address', { allowedIps: [{ ip: new Uint8Array(4), prefix: 33 }] }],
    ['a keepalive of half a second', { persistentKeepalive: 0.5 }],
    ['a timestamp that is none', { latestTimestamp: new Uint8Array(8) }],
  ];
  it.each(bad)('is none: %s', async (_name, wrong) => {
    for (const isLate of [false, true]) {
      const { pair } = strangers(() => (isLate ? Promise.resolve(yes(1, wrong)) : yes(1, wrong)));
      pair.b.receive(call(pair));
      await heard();
      expect([pair.b.device.peers(), pair.b.types]).toEqual([[], []]);
      expect(pair.b.drops.admissionFailed).toBe(1);
      // It is not remembered as a no, either.
      expect(pair.b.drops.notAdmitted).toBe(0);
    }
  });
});

it('who was admitted by one identity of ours is a stranger to the next', () => {
  const { pair, asked } = strangers(() => yes());
  pair.send(pair.a, 'first');
  pair.settle();
  pair.b.device.setPrivateKey(new Uint8Array(32).fill(0x33));
  expect(pair.b.device.peers()).toEqual([]);
  expect(pair.b.count('peerEvicted')).toBe(1);
  expect(admissionOf(pair)).toMatchObject({ present: 0, evicted: 1 });
  const publicKey = pair.b.device.publicKey as Uint8Array;
  pair.a.device.setPeer({ publicKey, presharedKey: PSK, endpoint: pair.b.endpoint });
  pair.a.device.initiateHandshake(publicKey);
  pair.settle();
  expect(asked).toHaveLength(2);
  expect(origin(pair)).toBe('admitted');
});

/** Many who call one gateway. */
function crowd(count: number, pair: Pair): Datagram[] {
  return Array.from({ length: count }, (_, i) => {
    const end = new End(3 + (i % 250), pair.clock, suite, {
      device: { privateKey: Uint8Array.of(...new Uint8Array(28), 1, i >> 8, i & 255, 0x40) },
    });
    introduce(end, pair.b, { presharedKey: PSK });
    end.device.initiateHandshake(pair.b.publicKey);
    return end.take()[0];
  });
}

describe('bounds', () => {
  it('a flood of strangers leaves who is proven alone, and is bounded in what is kept of it', () => {
    const pending: ((admitted: AdmittedPeer | undefined) => void)[] = [];
    let isQuick = true;
    const { pair } = strangers(() => (isQuick ? yes() : new Promise(resolve => pending.push(resolve))));
    pair.send(pair.a, 'first');
    pair.settle();
    isQuick = false;
    const datagrams = crowd(MAX_AWAITED + 20, pair);
    for (const datagram of datagrams.splice(0, MAX_AWAITED)) pair.b.receive(datagram);
    expect(admissionOf(pair)?.awaited).toBe(MAX_AWAITED);
    for (const { bytes, from } of datagrams) pair.b.device.gatherDatagram(bytes, from);
    pair.b.device.runTimers();
    // Each was opened before it was refused.
    expect(pair.b.drops.queueFull).toBeGreaterThan(0);
    expect(pair.b.drops.queueFull).toBeLessThanOrEqual(HANDSHAKE_BUDGET / 32);
    while (pair.b.device.nextDeadline() <= pair.clock.ms) pair.b.device.runTimers();
    // And from the first that finds no room on, all the others have to prove their address.
    expect(pair.b.drops.queueFull + pair.b.drops.underLoad).toBe(20);
    expect(pair.b.drops.underLoad).toBeGreaterThan(0);
    expect(pair.b.types).toContain(COOKIE);
    pair.send(pair.a, 'still here');
    pair.settle();
    expect(pair.b.received).toHaveLength(2);
    pair.advance(ADMISSION_TIMEOUT_MS + 1);
    expect(admissionOf(pair)?.awaited).toBe(0);
    expect(pair.b.drops.admissionFailed).toBe(MAX_AWAITED);
  });

  it('who was answered gives way to who comes after, and never who is proven', () => {
    const admissions = new Admissions();
    const peers = Array.from({ length: MAX_PROVISIONAL + 1 }, () => ({ admission: {} }) as Peer);
    admissions.provide(peers[0], 0);
    admissions.prove(peers[0]);
    for (const peer of peers.slice(1)) expect(admissions.provide(peer, 1)).toBeUndefined();
    expect(admissions.provide({ admission: {} } as Peer, 2)).toBe(peers[1]);
    expect(admissions.present).toBe(1);
  });

  it('so many are asked about, and strangers prove their address when half of that is spent', () => {
    const admissions = new Admissions();
    let asked = 0;
    while (admissions.mayAsk(0)) {
      asked++;
      expect(admissions.isBusy).toBe(asked > ASKS_AT_ONCE / 2);
    }
    expect(asked).toBe(ASKS_AT_ONCE);
    for (let i = 0; i < ASKS_PER_SECOND; i++) expect(admissions.mayAsk(1_000)).toBe(true);
    expect(admissions.mayAsk(1_000)).toBe(false);
    // A clock that goes back, or stands, earns nothing.
    expect(admissions.mayAsk(0)).toBe(false);
  });

  it('refusals are remembered up to a number, the latest of them', () => {
    const admissions = new Admissions();
    for (let i = 0; i <= MAX_REFUSED; i++) admissions.refuse(`key ${i}`, 0);
    expect(admissions.isRefused('key 0', 0)).toBe(false);
    expect(admissions.isRefused('key 1', 0)).toBe(true);
    expect(admissions.isRefused('key 1', REFUSED_MS)).toBe(false);
  });

  it('what is taken is taken once, and only if it is what is awaited', () => {
    const admissions = new Admissions();
    const stranger = { id: 'key', expiresAt: 5 } as Stranger;
    admissions.await(stranger);
    expect(admissions.take({ ...stranger })).toBe(false);
    expect(admissions.nextDeadline()).toBe(5);
    expect(admissions.takeOverdue(4)).toBeUndefined();
    expect([admissions.take(stranger), admissions.take(stranger)]).toEqual([true, false]);
    expect(admissions.nextDeadline()).toBe(Infinity);
  });
});

it('an initiation is answered under load only with a cookie, and then as any other', () => {
  const { pair, asked } = strangers(() => yes(), { b: { device: { underLoadThreshold: 0 } } });
  pair.send(pair.a, 'first');
  pair.settle();
  expect(asked).toEqual([]);
  pair.advance(6_000, true);
  expect(asked).toHaveLength(1);
  expect(origin(pair)).toBe('admitted');
});
