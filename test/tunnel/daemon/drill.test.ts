// When a drill may begin, and what a daemon's answer is.

import { describe, expect, it, test } from 'vitest';
import { parseDrillAnswer, sessionIndicesOf, whyNoDrill } from '../../../tunnel/daemon/drill.js';
import type { DeviceStatus } from '../../../tunnel/daemon/status.js';
import { deviceStatus, keyText, peerStatus } from './status.js';

const ready = (change: Partial<DeviceStatus> = {}) =>
  deviceStatus({ publicKey: keyText(1), linkState: 'up', ...change });
const enrolment = {
  method: 'exec',
  stage: 'asking',
  addresses: [],
  since: null,
  parent: null,
  waitsFor: '/bin/enroller',
} as const;
const recovery = { epoch: 4, ageMs: 9_999, called: 3, back: 2, lastBackMs: 8 };

describe('a drill', () => {
  it('may begin on a device at work, whatever its policy, with peers or without', () => {
    for (const forkPolicy of ['wipe', 'expire-sending', 'hold', 'enrol'] as const)
      expect(whyNoDrill(ready({ forkPolicy }), true)).toBeUndefined();
    const enrolled = { ...enrolment, stage: 'enrolled', waitsFor: null } as const;
    expect(whyNoDrill(ready({ enrolment: enrolled }), true)).toBeUndefined();
  });

  it.each<[string, Partial<DeviceStatus>, RegExp]>([
    ['is silent until it is enrolled', { enrolment, held: true }, /enrolled: it waits for \/bin\/enroller$/],
    ['is held', { held: true }, /^the device is held/],
    ['has no key', { publicKey: null }, /^no private key/],
    ['is down', { linkState: 'down' }, /^the interface is down/],
    ['is still coming back', { recovery }, /epoch 4: 2 of 3 peers are back$/],
  ])('does not begin on one that %s', (_, change, reason) => {
    expect(whyNoDrill(ready(change), true)).toMatch(reason);
  });

  it('does not begin while nothing parts a clone from its siblings', () => {
    expect(whyNoDrill(ready(), false)).toMatch(/random numbers/);
  });

  it('waits for nobody who is back, nor for ever for one who is not', () => {
    expect(whyNoDrill(ready({ recovery: { ...recovery, back: 3 } }), true)).toBeUndefined();
    expect(whyNoDrill(ready({ recovery: { ...recovery, ageMs: 10_000 } }), true)).toBeUndefined();
  });
});

test('the indices are those of the peers with a session', () => {
  const peers = [
    peerStatus({ publicKey: keyText(1), sessionIndex: 0 }),
    peerStatus({ publicKey: keyText(2), sessionIndex: null }),
  ];
  expect(sessionIndicesOf(ready({ peers }))).toEqual({ [keyText(1)]: 0 });
});

describe('the answer of a daemon', () => {
  const start = { epoch: 2, wipedKeypairs: 1, respondedMs: 0.5, forks: 0, sessionIndices: { a: 7 } };

  it('is a beginning or a refusal', () => {
    expect(parseDrillAnswer(JSON.stringify(start))).toEqual(start);
    expect(parseDrillAnswer('{"refused":"no"}')).toEqual({ refused: 'no' });
  });

  it.each([
    'null',
    '7',
    '{}',
    JSON.stringify({ ...start, epoch: '2' }),
    JSON.stringify({ ...start, forks: null }),
    JSON.stringify({ ...start, sessionIndices: null }),
    JSON.stringify({ ...start, sessionIndices: { a: 'x' } }),
  ])('%s is none', text => {
    expect(() => parseDrillAnswer(text)).toThrow('an answer that is');
  });
});
