import { expect, test } from 'vitest';
import { settle } from '../../sessions/settings.js';
import { Pair } from '../support/pair.js';

const DEFAULTS = { forkPolicy: 'wipe', strict: false, holdBackMs: 0, tripwire: true };

test('what is undefined has its default, as what is absent has', () => {
  expect(settle({})).toEqual(DEFAULTS);
  const open = { forkPolicy: undefined, strict: undefined, holdBackMs: undefined, tripwire: undefined };
  expect(settle(open)).toEqual(DEFAULTS);
  expect(settle({ ...open, tripwire: false })).toEqual({ ...DEFAULTS, tripwire: false });
});

test('a device shows what it was told, and does it', () => {
  const settings = { forkPolicy: 'hold', strict: true, holdBackMs: 7, tripwire: false } as const;
  const { a } = new Pair({ a: { device: settings } });
  expect(a.device.settings).toEqual(settings);
  a.source.fork(new Uint8Array(16).fill(9));
  a.vmgenid.check();
  expect(a.device.held).toBe(true);
});
