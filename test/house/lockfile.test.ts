// package-lock.json: what `npm ci` installs is what was locked, wherever it comes from.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly deprecated?: string;
  readonly hasInstallScript?: boolean;
}

// The project's own, that of what makes the API reference, and what guests on arm64 have.
const locked = ['', 'release/api/', 'test/vm/arm64/'].flatMap(folder => {
  const text = readFileSync(new URL(`../../${folder}package-lock.json`, import.meta.url), 'utf8');
  const { packages } = JSON.parse(text) as { packages: Record<string, Locked> };
  return Object.entries(packages).filter(([path]) => path !== '');
});

// npm writes none for a package of another platform that it did not install itself, and then takes whatever comes.
test('every package has its hash, those of other platforms too', () => {
  expect(locked.length).toBeGreaterThan(50);
  const without = locked.filter(([, { integrity }]) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ''));
  expect(without.map(([path]) => path)).toEqual([]);
});

test('no package has an address: any registry may serve it', () => {
  expect(locked.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path)).toEqual([]);
});

test('no package is deprecated: whoever installs reads no warning', () => {
  expect(locked.filter(([, { deprecated }]) => deprecated !== undefined).map(([path]) => path)).toEqual([]);
});

// npm warns of each script that nobody has decided about. These are not needed: what they would build comes built.
test('every install script is decided about, and none is run', () => {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    allowScripts: Record<string, boolean>;
  };
  const withScript = locked.filter(([, { hasInstallScript }]) => hasInstallScript);
  const names = withScript.map(([path]) => path.replace(/^.*node_modules\//, ''));
  expect(names.map(name => [name, manifest.allowScripts[name]])).toEqual(names.map(name => [name, false]));
});
