// The API reference: every public symbol has a docstring, and each subpath a page.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { ROOT, run } from './packed.js';

const TYPEDOC = 'release/api/node_modules/typedoc/bin/typedoc';
let folder: string;
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('is made of docstrings, and none is missing', async () => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-api-'));
  await run(ROOT, 'npm', 'ci', '--prefix', 'release/api', '--prefer-offline', '--no-audit', '--no-fund');
  // Exits with a status of its own for a symbol without a docstring, and a link to nothing.
  const flags = ['--options', 'release/api/typedoc.json', '--out', folder];
  await run(ROOT, process.execPath, TYPEDOC, ...flags).catch((error: { stdout: string; stderr: string }) => {
    throw new Error(error.stdout + error.stderr);
  });
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: object };
  const subpaths = Object.keys(exports).filter(name => !/^\.$|json$/.test(name));
  expect(subpaths.length).toBeGreaterThan(5);
  for (const name of subpaths) {
    const page = readFileSync(join(folder, `${name.slice(2)}.md`), 'utf8');
    expect(page.match(/^### /gm)?.length, name).toBeGreaterThan(5);
  }
  expect(readFileSync(join(folder, 'sessions.md'), 'utf8')).toContain('longer than its delay. Default 0.');
});

it('fails where a docstring is missing (control)', async () => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-api-'));
  // Properties have their names; were they asked for a docstring too, some have none.
  const flags = [
    '--options',
    'release/api/typedoc.json',
    '--emit',
    'none',
    '--requiredToBeDocumented',
    'Property',
  ];
  const failed = await run(ROOT, process.execPath, TYPEDOC, ...flags).then(
    () => 'nothing',
    (error: { stdout: string; stderr: string }) => error.stdout + error.stderr,
  );
  expect(failed).toContain('does not have any documentation');
});
