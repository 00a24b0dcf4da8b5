// The program where it is installed: as a Debian package, by npm, in an image; each on a machine with a real systemd.

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { debianTree } from './debian.js';
import { describeInstalled, describePackage } from './installed/deb.js';
import type { Given } from './installed/given.js';
import { describeImage } from './installed/image.js';
import { describeSandboxPage } from './installed/sandbox-page.js';
import { describeUnits } from './installed/units.js';
import { Packed, run } from './packed.js';

/** So that the package is the same when it is made again. */
Object.assign(process.env, { SOURCE_DATE_EPOCH: '1790000000', DEBEMAIL: 'maintainer@wireonce.example' });

const given = {} as { -readonly [K in keyof Given]: Given[K] };
beforeAll(async () => {
  debianTree();
  given.packed = await Packed.make();
  given.shared = await given.packed.install('prefix', [given.packed.tarball], ['--global', '--prefix', '.']);
  const said = await run(
    given.packed.repository,
    'npm',
    'run',
    'deb',
    '--silent',
    '--',
    '--out',
    given.shared,
  );
  given.deb = said.trim().split('\n').at(-1) ?? '';
  copyFileSync(given.deb, join(given.shared, 'wireonce.deb'));
}, 600_000);
afterAll(() => given.packed?.close());

describePackage(given);
describeInstalled(given);
describeUnits(given);
describeSandboxPage(given);
describeImage(given);
