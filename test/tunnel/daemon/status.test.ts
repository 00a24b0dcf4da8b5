import { describe, expect, test } from 'vitest';
import { type DeviceStatus, parseStatus } from '../../../tunnel/daemon/status.js';
import { deviceStatus, keyText, peerStatus } from './status.js';

describe('parseStatus', () => {
  const full = deviceStatus({
    peers: [peerStatus(), peerStatus({ endpoint: null, hasSession: true, sessionEpoch: 3 })],
    nonceHeadroom: '18446744073709543423',
    lastTripwire: { peer: keyText(9), at: 1_700_000_000_000 },
    lastForkAt: 1_700_000_000_000,
    lastDrillAt: 1_700_000_000_001,
    epochs: [{ epoch: 2, at: 1_700_000_000_000, cause: 'fork' }],
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
