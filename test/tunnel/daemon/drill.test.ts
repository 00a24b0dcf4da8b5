// When a drill may begin, how it does, and what a daemon's answer is.

import { describe, expect, it, onTestFinished, test } from 'vitest';
import { beginDrill, parseDrillAnswer, sessionIndicesOf, whyNoDrill } from '../../../tunnel/daemon/drill.js';
import type { DeviceStatus } from '../../../tunnel/daemon/status.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
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

describe('a drill that begins', () => {
  async function machine() {
    const source = new MemorySource();
    const vmgenid = new VmGenId([source]);
    onTestFinished(() => vmgenid.close());
    await vmgenid.start();
    const seen: string[] = [];
    vmgenid.register('sessions', ({ isDrill }) => void seen.push(isDrill ? 'drill' : 'fork'));
    return { source, vmgenid, seen };
  }
  const FORKED = { refused: 'this machine was forked at this very moment' };

  it('is one, and of an earlier fork it takes no notice', async () => {
    const { source, vmgenid, seen } = await machine();
    source.fork(new Uint8Array(16).fill(2));
    vmgenid.poll();
    expect([beginDrill(vmgenid, 2), vmgenid.forkEpoch, seen]).toEqual([3, 2, ['fork', 'drill']]);
    expect([beginDrill(vmgenid, 3), vmgenid.forkEpoch]).toEqual([4, 2]);
  });

  it('is none where the machine has been forked: that is answered, and nothing else happens', async () => {
    const { source, vmgenid, seen } = await machine();
    source.fork(new Uint8Array(16).fill(2));
    expect(beginDrill(vmgenid, 1)).toEqual(FORKED);
    expect([vmgenid.epoch, seen]).toEqual([2, ['fork']]);
  });

  it('is not judged if it finds the fork itself', async () => {
    const { source, vmgenid, seen } = await machine();
    const late = {
      poll: () => vmgenid.poll(),
      get forkEpoch() {
        return vmgenid.forkEpoch;
      },
      drill: () => {
        source.fork(new Uint8Array(16).fill(2));
        return vmgenid.drill();
      },
    };
    expect(beginDrill(late, 1)).toEqual(FORKED);
    expect(seen).toEqual(['fork', 'drill']);
  });

  it('is none where no source can say anything', async () => {
    const { vmgenid, seen } = await machine();
    await vmgenid.close();
    expect(beginDrill(vmgenid, 1)).toEqual({ refused: expect.stringContaining('no source can say') });
    expect(seen).toEqual([]);
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
