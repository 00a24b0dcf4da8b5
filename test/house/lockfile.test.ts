// package-lock.json: what `npm ci` installs is what was locked, wherever it comes from.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
}

const { packages } = JSON.parse(
  readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8'),
) as { packages: Record<string, Locked> };
const locked = Object.entries(packages).filter(([path]) => path !== '');

// npm writes none for a package of another platform that it did not install itself, and then takes whatever comes.
test('every package has its hash, those of other platforms too', () => {
  expect(locked.length).toBeGreaterThan(50);
  const without = locked.filter(([, { integrity }]) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ''));
  expect(without.map(([path]) => path)).toEqual([]);
});

test('no package has an address: any registry may serve it', () => {
  expect(locked.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path)).toEqual([]);
});
