import { describe, expect, test } from 'vitest';
import { type DeviceStatus, hintsFor, parseStatus } from '../../tunnel/status.js';
import { deviceStatus, keyText, peerStatus } from './status.js';

describe('parseStatus', () => {
  const full = deviceStatus({
    peers: [peerStatus(), peerStatus({ endpoint: null, hasSession: true, sessionEpoch: 3 })],
    nonceHeadroom: '18446744073709543423',
    lastTripwire: { peer: keyText(9), at: 1_700_000_000_000 },
    sources: [
      { name: 'file:/x', timing: 'delayed', uniqueness: 'unique', readable: false, reason: 'no such file' },
    ],
  });

  test('reads back what was sent', () => {
    expect(parseStatus(JSON.stringify(full))).toEqual(full);
  });

  test('refuses a status in which any one field is missing or of another type', () => {
    for (const name of Object.keys(full) as (keyof DeviceStatus)[]) {
      for (const wrong of [undefined, 7.5 as unknown, { x: 'y' }, [1], ['a', null]]) {
        if (typeof full[name] === typeof wrong && typeof wrong === 'number') continue;
        const text = JSON.stringify({ ...full, [name]: wrong });
        expect(() => parseStatus(text), `${name} ${JSON.stringify(wrong)}`).toThrow(Error);
      }
    }
  });

  test.each(['', 'x', 'null', '[]', '7', '{}'])('refuses %j', text => {
    expect(() => parseStatus(text)).toThrow(Error);
  });
});

describe('hintsFor', () => {
  const hints = (change: Partial<DeviceStatus>) => hintsFor(deviceStatus(change)).join('\n');

  test('has nothing to say of a device at rest with an immediate source', () => {
    expect(hints({})).toBe('');
  });

  test('says what is wrong, and only then', () => {
    expect(hints({ publicKey: null })).toContain('no private key');
    expect(hints({ held: true })).toContain('set a new private key');
    expect(hints({ protection: 'none' })).toContain('nothing tells of a fork');
    expect(hints({ protection: 'delayed' })).toContain('HoldBackMs');
    expect(hints({ protection: 'delayed', holdBackMs: 300 })).toBe('');
    expect(hints({ protection: 'delayed', holdBackMs: 1 })).toContain('1 ms is less than has been measured');
    expect(hints({ clockBehindMs: 3_599_600 })).toContain('left the clock 3600 s behind');
    const keyMemory = { bytes: 4_096, lockedBytes: 0, refused: 'mlock: ENOMEM' };
    expect(hints({ keyMemory })).toContain('kept out of swap and core dumps: mlock: ENOMEM');
    expect(hints({ waitingForFreshness: 1 })).toContain('handshakes wait');
    expect(hints({ lastTripwire: { peer: keyText(9), at: 1 } })).toContain(keyText(9));
    const broken = {
      name: 'file:/x',
      timing: 'delayed',
      uniqueness: 'unique',
      readable: false,
      reason: 'gone',
    } as const;
    expect(hints({ sources: [broken] })).toContain('file:/x does not work: gone');
  });

  test('suspects the clock when calls after a fork stay without an answer', () => {
    const handshakes = { completed: 5, initiatedSinceFork: 3, completedSinceFork: 0 };
    expect(hints({ forks: 1, handshakes })).toContain('clock');
    expect(hints({ forks: 0, handshakes })).toBe('');
    expect(hints({ forks: 1, handshakes: { ...handshakes, completedSinceFork: 1 } })).toBe('');
    expect(hints({ forks: 1, handshakes: { ...handshakes, initiatedSinceFork: 2 } })).toBe('');
  });
});
