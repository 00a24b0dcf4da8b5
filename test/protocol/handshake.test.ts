import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  HANDSHAKE_STATE_BYTES,
  type LocalIdentity,
  type RemoteIdentity,
  createInitiation,
  receiveInitiation,
} from '../../protocol/handshake.js';
import { INITIATION, RESPONSE } from '../../protocol/messages.js';
import type { Suite } from '../../protocol/suite.js';
import { SymmetricState } from '../../protocol/symmetric-state.js';
import { tai64n } from '../../protocol/tai64n.js';
import { type ReferenceInput, referenceHandshake } from '../support/noise-reference.js';
import { suites, toHex } from '../support/suites.js';

const INPUT: ReferenceInput = {
  initiatorStatic: new Uint8Array(32).fill(0x11),
  responderStatic: new Uint8Array(32).fill(0x22),
  initiatorEphemeral: new Uint8Array(32).fill(0x33),
  responderEphemeral: new Uint8Array(32).fill(0x44),
  presharedKey: new Uint8Array(32),
  timestamp: tai64n(1_700_000_000_000),
  initiatorIndex: 0x8001_0203,
  responderIndex: 0xffff_fffe,
};
const PSK = new Uint8Array(32).fill(0x55);

// Points of small order on Curve25519 and its twist (cr.yp.to/ecdh.html), little-endian, and zero.
const LOW_ORDER = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map(point => new Uint8Array(Buffer.from(point, 'hex')));

function keys() {
  return { send: new Uint8Array(32), receive: new Uint8Array(32) };
}

/** Both identities, as each side sees them. */
function parties(suite: Suite, input: ReferenceInput, responderPsk = input.presharedKey) {
  const publicKey = (privateKey: Uint8Array) => {
    const out = new Uint8Array(32);
    suite.publicKey(privateKey, out);
    return out;
  };
  const local = (privateKey: Uint8Array): LocalIdentity => ({ privateKey, publicKey: publicKey(privateKey) });
  const initiator = local(input.initiatorStatic);
  const responder = local(input.responderStatic);
  const staticShared = new Uint8Array(32);
  suite.sharedSecret(initiator.privateKey, responder.publicKey, staticShared);
  const remote = (from: LocalIdentity, presharedKey: Uint8Array): RemoteIdentity => ({
    publicKey: from.publicKey,
    staticShared,
    presharedKey,
  });
  return {
    initiator,
    responder,
    toResponder: remote(responder, input.presharedKey),
    toInitiator: remote(initiator, responderPsk),
  };
}

/** A handshake up to the response, which nobody has consumed yet. */
function halfWay(suite: Suite, input: ReferenceInput, responderPsk = input.presharedKey) {
  const who = parties(suite, input, responderPsk);
  const initiation = new Uint8Array(148);
  const storage = new Uint8Array(new SharedArrayBuffer(HANDSHAKE_STATE_BYTES));
  const sent = createInitiation(
    suite,
    who.initiator,
    who.toResponder,
    {
      ephemeralPrivate: input.initiatorEphemeral,
      senderIndex: input.initiatorIndex,
      timestamp: input.timestamp,
    },
    initiation,
    storage,
  );
  const received = receiveInitiation(suite, who.responder, initiation);
  const consumed = received?.verify(who.toInitiator);
  if (!sent || !received || !consumed) throw new Error('an honest initiation was refused');
  const response = new Uint8Array(92);
  const responderKeys = keys();
  const created = consumed.createResponse(
    { ephemeralPrivate: input.responderEphemeral, senderIndex: input.responderIndex },
    who.toInitiator,
    response,
    responderKeys,
  );
  return { ...who, initiation, storage, sent, received, consumed, created, response, responderKeys };
}

describe.each(suites.map(suite => [suite.name, suite] as const))('with the %s suite', (_, suite) => {
  it.each([
    ['no preshared key', INPUT],
    ['a preshared key', { ...INPUT, presharedKey: PSK }],
  ])('messages and keys are those of the paper, byte for byte, with %s', (_name, input) => {
    const expected = referenceHandshake(input);
    const half = halfWay(suite, input);
    expect(toHex(half.initiation)).toBe(toHex(expected.initiation));
    expect(half.received.remotePublicKey).toEqual(half.initiator.publicKey);
    expect(half.consumed.timestamp).toEqual(input.timestamp);
    expect(half.consumed.remoteIndex).toBe(input.initiatorIndex);
    expect(half.created).toBe(true);
    expect(toHex(half.response)).toBe(toHex(expected.response));
    const initiatorKeys = keys();
    expect(half.sent.consumeResponse(half.response, half.initiator, half.toResponder, initiatorKeys)).toBe(
      true,
    );
    expect(toHex(initiatorKeys.send)).toBe(toHex(expected.initiatorSends));
    expect(toHex(initiatorKeys.receive)).toBe(toHex(expected.responderSends));
    expect(toHex(half.responderKeys.send)).toBe(toHex(expected.responderSends));
    expect(toHex(half.responderKeys.receive)).toBe(toHex(expected.initiatorSends));
  });

  it('any keys, indices and timestamps agree with the paper', () => {
    const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const index = fc.integer({ min: 0, max: 0xffff_ffff });
    const input = fc.record({
      initiatorStatic: key,
      responderStatic: key,
      initiatorEphemeral: key,
      responderEphemeral: key,
      presharedKey: key,
      timestamp: fc.uint8Array({ minLength: 12, maxLength: 12 }),
      initiatorIndex: index,
      responderIndex: index,
    });
    fc.assert(
      fc.property(input, given => {
        const expected = referenceHandshake(given);
        const half = halfWay(suite, given);
        expect(toHex(half.initiation)).toBe(toHex(expected.initiation));
        expect(toHex(half.response)).toBe(toHex(expected.response));
        expect(toHex(half.responderKeys.send)).toBe(toHex(expected.responderSends));
      }),
      { numRuns: 10 },
    );
  });

  it('messages may lie in a Node Buffer, and stay as they are', () => {
    const half = halfWay(suite, INPUT);
    const initiation = Buffer.from(half.initiation);
    const consumed = receiveInitiation(suite, half.responder, initiation)?.verify(half.toInitiator);
    expect(consumed?.timestamp).toEqual(INPUT.timestamp);
    expect(toHex(initiation)).toBe(toHex(half.initiation));
    expect(
      half.sent.consumeResponse(Buffer.from(half.response), half.initiator, half.toResponder, keys()),
    ).toBe(true);
  });

  it('a wrong preshared key fails at the response, on either side', () => {
    for (const [ours, theirs] of [
      [PSK, new Uint8Array(32)],
      [new Uint8Array(32), PSK],
    ]) {
      const half = halfWay(suite, { ...INPUT, presharedKey: ours }, theirs);
      const into = keys();
      expect(half.sent.consumeResponse(half.response, half.initiator, half.toResponder, into)).toBe(false);
      expect(into).toEqual(keys());
    }
  });

  it('an initiation for another key, or from another than it says, is refused', () => {
    const half = halfWay(suite, INPUT);
    const other = parties(suite, { ...INPUT, responderStatic: new Uint8Array(32).fill(0x66) });
    expect(receiveInitiation(suite, other.responder, half.initiation)).toBeUndefined();
    // Mallory knows the names of both, but no private key: the second proof fails.
    const received = receiveInitiation(suite, half.responder, half.initiation);
    expect(
      received?.verify({ ...half.toInitiator, staticShared: new Uint8Array(32).fill(7) }),
    ).toBeUndefined();
  });

  it('a flipped bit in any authenticated byte of an initiation is refused', () => {
    const half = halfWay(suite, INPUT);
    const step = suite.name === 'noble' ? 9 : 1;
    for (let at = INITIATION.ephemeral; at < INITIATION.mac1; at += step) {
      const wrong = half.initiation.slice();
      // Bit 7 of an X25519 public key does not count for the point, but does for the transcript.
      wrong[at] ^= 0x80;
      const consumed = receiveInitiation(suite, half.responder, wrong)?.verify(half.toInitiator);
      expect(consumed, `byte ${at}`).toBeUndefined();
    }
  });

  it('a false response leaves the state able to take the true one', () => {
    const half = halfWay(suite, INPUT);
    const into = keys();
    const step = suite.name === 'noble' ? 7 : 1;
    for (let at = RESPONSE.ephemeral; at < RESPONSE.mac1; at += step) {
      const wrong = half.response.slice();
      wrong[at] ^= 0x80;
      const taken = half.sent.consumeResponse(wrong, half.initiator, half.toResponder, into);
      expect(taken, `byte ${at}`).toBe(false);
    }
    expect(into).toEqual(keys());
    expect(half.sent.consumeResponse(half.response, half.initiator, half.toResponder, into)).toBe(true);
    expect(toHex(into.send)).toBe(toHex(half.responderKeys.receive));
  });

  it('low-order ephemeral keys are refused in both messages', () => {
    const half = halfWay(suite, INPUT);
    for (const point of LOW_ORDER) {
      const initiation = half.initiation.slice();
      initiation.set(point, INITIATION.ephemeral);
      expect(receiveInitiation(suite, half.responder, initiation)).toBeUndefined();
      const response = half.response.slice();
      response.set(point, RESPONSE.ephemeral);
      expect(half.sent.consumeResponse(response, half.initiator, half.toResponder, keys())).toBe(false);
    }
  });

  it('nor are they taken from one who has made all else of the message for the shared secret that they give: zeros', () => {
    for (const point of LOW_ORDER) {
      const mallory: Suite = {
        ...suite,
        publicKey: (_privateKey, out) => out.set(point),
        sharedSecret: (_privateKey, _publicKey, out) => {
          out.fill(0);
          return true;
        },
      };
      const { initiator, responder, toResponder, toInitiator, sent, initiation } = halfWay(suite, INPUT);
      const ephemeralPrivate = INPUT.initiatorEphemeral;
      const forged = new Uint8Array(148);
      const input = { ephemeralPrivate, senderIndex: 1, timestamp: INPUT.timestamp };
      createInitiation(mallory, initiator, toResponder, input, forged);
      // Control: one who does not look takes it.
      expect(receiveInitiation(mallory, responder, forged)?.verify(toInitiator)).toBeDefined();
      expect(receiveInitiation(suite, responder, forged)).toBeUndefined();

      // The responder may be the forger: an initiation that it has consumed in honesty, it answers so.
      const mask = { ...mallory, sharedSecret: suite.sharedSecret };
      const state = receiveInitiation(mask, responder, initiation)?.verify(toInitiator);
      mask.sharedSecret = mallory.sharedSecret;
      const response = new Uint8Array(92);
      state?.createResponse({ ephemeralPrivate, senderIndex: 1 }, toInitiator, response, keys());
      expect(response.subarray(RESPONSE.ephemeral, RESPONSE.ephemeral + 32)).toEqual(point);
      expect(sent.consumeResponse(response, initiator, toResponder, keys())).toBe(false);
    }
  });

  it('of an initiation that is refused no state is left', () => {
    const wiped = vi.spyOn(SymmetricState.prototype, 'wipe');
    onTestFinished(() => wiped.mockRestore());
    const half = halfWay(suite, INPUT);
    const refusals = [
      (initiation: Uint8Array) => initiation.set(LOW_ORDER[0], INITIATION.ephemeral),
      (initiation: Uint8Array) => void (initiation[INITIATION.static] ^= 1),
    ];
    for (const spoil of refusals) {
      const initiation = half.initiation.slice();
      spoil(initiation);
      wiped.mockClear();
      expect(receiveInitiation(suite, half.responder, initiation)).toBeUndefined();
      expect(wiped).toHaveBeenCalledTimes(1);
    }
  });

  it('a low-order static key is neither called nor answered', () => {
    for (const publicKey of LOW_ORDER) {
      const { initiator, toResponder } = parties(suite, INPUT);
      const storage = new Uint8Array(HANDSHAKE_STATE_BYTES);
      const { initiatorEphemeral: ephemeralPrivate, timestamp } = INPUT;
      const input = { ephemeralPrivate, senderIndex: 1, timestamp };
      const out = new Uint8Array(148);
      expect(
        createInitiation(suite, initiator, { ...toResponder, publicKey }, input, out, storage),
      ).toBeUndefined();
      expect(storage).toEqual(new Uint8Array(HANDSHAKE_STATE_BYTES));

      const half = halfWay(suite, INPUT);
      const consumed = receiveInitiation(suite, half.responder, half.initiation)?.verify(half.toInitiator);
      const into = keys();
      const response = { ephemeralPrivate: INPUT.responderEphemeral, senderIndex: 1 };
      expect(
        consumed?.createResponse(response, { ...half.toInitiator, publicKey }, new Uint8Array(92), into),
      ).toBe(false);
      expect(into).toEqual(keys());
    }
  });

  it('each state makes its move once and keeps nothing', () => {
    const half = halfWay(suite, INPUT);
    const spent = expect.objectContaining({ code: 'ERR_HANDSHAKE_SPENT' });
    const response = { ephemeralPrivate: INPUT.responderEphemeral, senderIndex: 1 };
    expect(() => half.received.verify(half.toInitiator)).toThrow(spent);
    expect(() =>
      half.consumed.createResponse(response, half.toInitiator, new Uint8Array(92), keys()),
    ).toThrow(spent);
    expect(half.storage.some(byte => byte !== 0)).toBe(true);
    expect(half.sent.consumeResponse(half.response, half.initiator, half.toResponder, keys())).toBe(true);
    expect(half.storage.every(byte => byte === 0)).toBe(true);
    expect(() => half.sent.consumeResponse(half.response, half.initiator, half.toResponder, keys())).toThrow(
      spent,
    );
  });

  it('has erased every shared secret when it asks the suite to forget, which may fail', () => {
    const derived: Uint8Array[] = [];
    const left: boolean[] = [];
    const isZero = (bytes: Uint8Array) => bytes.every(byte => byte === 0);
    const watched: Suite = {
      ...suite,
      sharedSecret(privateKey, publicKey, out) {
        derived.push(out);
        return suite.sharedSecret(privateKey, publicKey, out);
      },
      forget: () => void left.push(!derived.every(isZero)),
    };
    const half = halfWay(suite, INPUT);
    const initiation = new Uint8Array(148);
    const input = { ephemeralPrivate: INPUT.initiatorEphemeral, senderIndex: 1, timestamp: INPUT.timestamp };
    const sent = createInitiation(watched, half.initiator, half.toResponder, input, initiation);
    const received = receiveInitiation(watched, half.responder, initiation);
    const consumed = received?.verify(half.toInitiator);
    const response = new Uint8Array(92);
    const answer = { ephemeralPrivate: INPUT.responderEphemeral, senderIndex: 2 };
    consumed?.createResponse(answer, half.toInitiator, response, keys());
    expect(sent?.consumeResponse(response, half.initiator, half.toResponder, keys())).toBe(true);
    expect(derived.length).toBeGreaterThanOrEqual(4);
    // Once for each move of either side.
    expect(left).toEqual([false, false, false, false, false]);
    expect(derived.every(isZero)).toBe(true);
  });

  it('a state that failed to verify, was discarded or wiped is spent too', () => {
    const spent = expect.objectContaining({ code: 'ERR_HANDSHAKE_SPENT' });
    const half = halfWay(suite, INPUT);
    const failed = receiveInitiation(suite, half.responder, half.initiation);
    failed?.verify({ ...half.toInitiator, staticShared: new Uint8Array(32).fill(7) });
    expect(() => failed?.verify(half.toInitiator)).toThrow(spent);
    const discarded = receiveInitiation(suite, half.responder, half.initiation);
    discarded?.discard();
    expect(() => discarded?.verify(half.toInitiator)).toThrow(spent);
    half.sent.wipe();
    expect(() => half.sent.consumeResponse(half.response, half.initiator, half.toResponder, keys())).toThrow(
      spent,
    );
  });
});
