// Every way in which the admission of a stranger comes to an end: who is told, what counts, and that nothing is left of it.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { mac1Key, writeMac1 } from '../../protocol/cookie.js';
import { ConsumedInitiation, createInitiation } from '../../protocol/handshake.js';
import type { Suite } from '../../protocol/suite.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { tai64n } from '../../protocol/tai64n.js';
import type { AdmittedPeer } from '../../sessions/admission.js';
import { Admissions, PROVISIONAL_MS } from '../../sessions/admissions.js';
import type { DeviceOptions } from '../../sessions/device.js';
import type { Peer } from '../../sessions/peer.js';
import { type Datagram, End, Pair, introduce } from '../support/pair.js';

afterEach(() => {
  vi.restoreAllMocks();
});

const INITIATION_BYTES = 148;
const RESPONSE = 2;
const COOKIE = 3;
const ERASE_MS = 540_000;
const ID = new Uint8Array(16).fill(0xf0);
const PSK = new Uint8Array(32).fill(0x5a);
const OTHER = new Uint8Array(32).fill(9);
const range = (host: number) => ({ ip: Uint8Array.of(10, 0, 0, host), prefix: 32 });
const fastest = await fastestSuite();

type Answer = AdmittedPeer | undefined | 'failed';

/** A gateway `b` that knows nobody, and answers when it is told to; `shared` is what its strangers' keys and its own share. */
function gateway(device: Partial<DeviceOptions> = {}) {
  const shared: Uint8Array[] = [];
  const strangers = new Set<string>();
  const sharedSecret: Suite['sharedSecret'] = (privateKey, publicKey, into) => {
    if (strangers.has(publicKey.join()) && privateKey[0] === 0x62) shared.push(into);
    return fastest.sharedSecret(privateKey, publicKey, into);
  };
  const suite = Object.assign(Object.create(fastest) as Suite, { sharedSecret });
  const asked: Uint8Array[] = [];
  let settle: (answer: Answer) => void = () => {};
  const admit = (publicKey: Uint8Array) => {
    asked.push(publicKey);
    return new Promise<AdmittedPeer | undefined>((resolve, reject) => {
      settle = answer => (answer === 'failed' ? reject(new Error('away')) : resolve(answer));
    });
  };
  const pair = new Pair({
    suite,
    a: { peer: { presharedKey: PSK } },
    b: { device: { admission: { admit }, ...device } },
  });
  pair.b.device.removePeer(pair.a.publicKey);
  strangers.add(pair.a.publicKey.join());
  const answer = async (given: Answer) => {
    settle(given);
    await new Promise(resolve => setImmediate(resolve));
  };
  return { pair, asked, shared, answer, strangers };
}

const yes = (...hosts: number[]): AdmittedPeer => ({
  presharedKey: PSK,
  allowedIps: (hosts.length > 0 ? hosts : [1]).map(range),
});

/** Another initiation of `a`, however soon after the last. */
function call(pair: Pair): Datagram {
  pair.a.device.removePeer(pair.b.publicKey);
  introduce(pair.a, pair.b, { presharedKey: PSK });
  pair.clock.ms += 20;
  pair.a.device.initiateHandshake(pair.b.publicKey);
  const [initiation] = pair.a.take();
  return initiation;
}

/** Somebody else who calls `b`. */
function another(pair: Pair): { end: End; initiation: Datagram } {
  const end = new End(3, pair.clock, fastest, {});
  introduce(end, pair.b, { presharedKey: PSK });
  end.device.initiateHandshake(pair.b.publicKey);
  return { end, initiation: end.take()[0] };
}

/** An initiation whose maker says that he has this public key, and shares with `b` what he does not know. */
function claiming(pair: Pair, publicKey: Uint8Array): Datagram {
  const bytes = new Uint8Array(INITIATION_BYTES);
  const remote = { publicKey: pair.b.publicKey, staticShared: OTHER, presharedKey: PSK };
  const input = { ephemeralPrivate: OTHER.slice(), senderIndex: 7, timestamp: tai64n(Date.UTC(2040, 0)) };
  createInitiation(fastest, { privateKey: OTHER, publicKey }, remote, input, bytes);
  writeMac1(fastest, mac1Key(fastest, pair.b.publicKey), bytes);
  return { bytes, from: pair.a.endpoint, to: pair.b.endpoint };
}

const areZero = (all: readonly Uint8Array[]) => all.map(bytes => bytes.every(byte => byte === 0));

describe('nothing is left of a stranger', () => {
  const endings: [string, (world: ReturnType<typeof gateway>) => unknown][] = [
    ['who is refused', ({ answer }) => answer(undefined)],
    ['about whom nothing could be found out', ({ answer }) => answer('failed')],
    [
      'whose answer no peer can be given',
      ({ answer }) => answer({ ...yes(), presharedKey: new Uint8Array(3) }),
    ],
    [
      'whose address another has',
      ({ pair, answer }) => {
        pair.b.device.setPeer({ publicKey: OTHER, allowedIps: [range(1)] });
        return answer(yes());
      },
    ],
    [
      'whose answer comes while nobody vouches for the generation',
      ({ pair, answer }) => {
        pair.b.blind = true;
        return answer(yes());
      },
    ],
    ['whose answer takes too long', ({ pair }) => pair.advance(6_000)],
    ['after a fork', ({ pair }) => pair.b.source.fork(ID)],
    ['after another key was set', ({ pair }) => pair.b.device.setPrivateKey(OTHER)],
    ['after the device was closed', ({ pair }) => pair.b.device.close()],
    [
      'whom an operator has set meanwhile, with a later timestamp',
      async ({ pair, answer }) => {
        pair.b.device.setPeer({ publicKey: pair.a.publicKey, presharedKey: PSK, allowedIps: [range(1)] });
        pair.b.receive(call(pair));
        await answer(yes());
      },
    ],
  ];
  it.each(endings)('%s', async (_name, end) => {
    const wipe = vi.spyOn(ConsumedInitiation.prototype, 'wipe');
    const world = gateway();
    world.pair.b.receive(call(world.pair));
    expect(areZero(world.shared)).toEqual([false]);
    wipe.mockClear();
    await end(world);
    world.pair.b.vmgenid.check();
    expect(areZero([world.shared[0]])).toEqual([true]);
    expect(wipe).toHaveBeenCalled();
    expect(world.pair.b.device.stats().admission).toMatchObject({ awaited: 0, provisional: 0 });
  });

  it('who is not who he says he is', () => {
    const { pair, asked, shared } = gateway();
    expect(pair.b.receive(claiming(pair, pair.a.publicKey))).toEqual({ drop: 'badTag' });
    expect([areZero(shared), asked]).toEqual([[true], []]);
  });

  it.each(['configured', 'unknown'])('who has a key that shares nothing with anybody, and is %s', who => {
    const { pair, asked } = gateway();
    if (who === 'configured') pair.b.device.setPeer({ publicKey: new Uint8Array(32) });
    expect(pair.b.receive(claiming(pair, new Uint8Array(32)))).toEqual({ drop: 'unknownPeer' });
    expect(asked).toEqual([]);
  });

  it('who comes when enough were asked about', () => {
    const wipe = vi.spyOn(ConsumedInitiation.prototype, 'wipe');
    const { pair, asked, shared } = gateway();
    vi.spyOn(Admissions.prototype, 'mayAsk').mockReturnValue(false);
    expect(pair.b.receive(call(pair))).toEqual({ drop: 'queueFull' });
    expect([areZero(shared), asked, pair.b.device.stats().admission?.awaited]).toEqual([[true], [], 0]);
    expect(wipe).toHaveBeenCalledTimes(1);
  });

  it('who is let in, but what his peer has', async () => {
    const { pair, shared, answer } = gateway();
    pair.b.receive(call(pair));
    await answer(yes());
    expect(areZero(shared)).toEqual([true]);
    expect(pair.b.types).toEqual([RESPONSE]);
  });
});

describe('an answer that is late', () => {
  it('is not worth a look, when the device is closed', async () => {
    const { pair, answer } = gateway();
    pair.b.receive(call(pair));
    pair.b.device.close();
    const { reads } = pair.b;
    await answer(yes());
    expect(pair.b.reads).toBe(reads);
  });

  it('counts as stale, while nobody vouches for the generation', async () => {
    const { pair, answer } = gateway();
    pair.b.receive(call(pair));
    pair.b.blind = true;
    await answer(yes());
    expect(pair.b.drops.staleEpoch).toBe(1);
    expect([pair.b.sent, pair.b.device.peers()]).toEqual([[], []]);
  });
});

describe('a stranger who calls again before there is an answer', () => {
  it('is answered as he called last, and all that he sent counts', async () => {
    const { pair, asked, answer } = gateway();
    expect(pair.b.receive(call(pair))).toBe('handshake');
    expect(pair.b.receive(call(pair))).toBe('handshake');
    await answer(yes());
    expect(asked).toHaveLength(1);
    expect(pair.b.device.peer(pair.a.publicKey)?.rxBytes).toBe(2 * INITIATION_BYTES);
    pair.settle();
    expect(pair.a.device.peers()[0].hasSession).toBe(true);
  });

  it('is not disturbed by who only says that he is him', async () => {
    const { pair, answer } = gateway();
    pair.b.receive(call(pair));
    expect(pair.b.receive(claiming(pair, pair.a.publicKey))).toEqual({ drop: 'badTag' });
    await answer(yes());
    pair.settle();
    pair.advance(6_000);
    pair.b.take();
    // What the two share is still what it was: our own calls are made of it.
    pair.b.device.initiateHandshake(pair.a.publicKey);
    pair.settle();
    expect(pair.a.events.at(-1)).toMatchObject({ type: 'handshakeComplete', role: 'responder' });
  });
});

describe('addresses that are taken', () => {
  it.each([[[1, 9]], [[9, 1]], [[9]]])('are not answered about, nor asked about soon: %o', async hosts => {
    const { pair, asked, answer } = gateway();
    pair.b.device.setPeer({ publicKey: OTHER, allowedIps: [range(9)] });
    pair.b.receive(call(pair));
    await answer(yes(...hosts));
    expect([pair.b.types, pair.b.drops.addressTaken]).toEqual([[], 1]);
    expect(pair.b.receive(call(pair))).toEqual({ drop: 'notAdmitted' });
    expect(asked).toHaveLength(1);
  });

  it('meanwhile, one of two, leave him none', async () => {
    const { pair, answer } = gateway();
    pair.b.receive(call(pair));
    await answer(yes(1, 9));
    pair.b.device.setPeer({ publicKey: OTHER, allowedIps: [range(9)] });
    pair.settle();
    expect(pair.b.drops.addressTaken).toBe(1);
    expect(pair.b.device.peers().map(({ publicKey }) => publicKey)).toEqual([OTHER]);
  });
});

describe('who was answered', () => {
  it('has all his time to prove himself, and no more', async () => {
    const { pair, answer } = gateway();
    pair.b.receive(call(pair));
    await answer(yes());
    pair.advance(PROVISIONAL_MS - 1);
    expect(pair.b.device.stats().admission).toMatchObject({ provisional: 1, expired: 0 });
    pair.advance(1);
    expect(pair.b.device.stats().admission).toMatchObject({ provisional: 0, expired: 1 });
  });

  it('is told of when he gives way to another', async () => {
    const { pair, answer, shared } = gateway();
    const provided: Peer[] = [];
    const provide = Admissions.prototype.provide;
    vi.spyOn(Admissions.prototype, 'provide').mockImplementation(function (this: Admissions, peer, now) {
      provide.call(this, peer, now);
      provided.push(peer);
      return provided.length > 1 ? provided[0] : undefined;
    });
    pair.b.receive(call(pair));
    await answer(yes(1));
    const { end, initiation } = another(pair);
    pair.b.receive(initiation);
    await answer(yes(3));
    expect(pair.b.events.filter(({ type }) => type === 'admissionExpired')).toEqual([
      { type: 'admissionExpired', peer: pair.a.publicKey },
    ]);
    expect(pair.b.device.peers().map(({ publicKey }) => publicKey)).toEqual([end.publicKey]);
    expect(shared).toHaveLength(1);
  });

  it('is not computed with anew when he is called', async () => {
    const { pair, answer, shared } = gateway();
    pair.b.receive(call(pair));
    await answer(yes());
    pair.settle();
    pair.advance(6_000);
    pair.b.device.initiateHandshake(pair.a.publicKey);
    expect(pair.b.types).toContain(1);
    expect(shared).toHaveLength(1);
  });
});

it('when half of the questions are spent a stranger proves his address first', () => {
  const { pair, asked } = gateway();
  vi.spyOn(Admissions.prototype, 'isBusy', 'get').mockReturnValue(true);
  pair.b.receive(call(pair));
  expect(pair.b.take()).toEqual([]);
  const { initiation } = another(pair);
  expect(pair.b.receive(initiation)).toEqual({ drop: 'underLoad' });
  expect(pair.b.types).toEqual([COOKIE]);
  expect(asked).toHaveLength(1);
});

it('what goes wrong while an answer is used reaches whoever called, and is no failed answer', () => {
  const admit = () => yes();
  const onDatagram = () => {
    throw new Error('no wire today');
  };
  const pair = new Pair({
    a: { peer: { presharedKey: PSK } },
    b: { onDatagram, device: { admission: { admit } } },
  });
  pair.b.device.removePeer(pair.a.publicKey);
  const initiation = call(pair);
  expect(() => pair.b.receive(initiation)).toThrow('no wire today');
  expect(pair.b.drops.admissionFailed).toBe(0);
});

describe('after a fork, by policy expire-sending', () => {
  it('an admitted peer goes no later than it would have, and who was configured stays', async () => {
    const { pair, answer } = gateway({ forkPolicy: 'expire-sending' });
    const configured = another(pair);
    introduce(pair.b, configured.end, { presharedKey: PSK });
    pair.b.receive(configured.initiation);
    for (const datagram of pair.b.take()) configured.end.receive(datagram);
    for (const datagram of configured.end.take()) pair.b.receive(datagram);
    pair.b.receive(call(pair));
    await answer(yes());
    pair.settle();
    pair.advance(100_000);
    pair.a.device.close();
    pair.b.take();
    pair.b.source.fork(ID);
    pair.b.device.runTimers();
    pair.advance(ERASE_MS - 100_000 + 1_000);
    expect(pair.b.count('peerEvicted')).toBe(1);
    expect(pair.b.device.peers().map(({ origin }) => origin)).toEqual(['configured']);
  });
});
