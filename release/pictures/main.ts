// The pictures of docs/pictures: `npm run docs:pictures`. Drawings are written from their source.
// Promises: every file of the folder is made here, and what is no longer made is no longer there.
// Read on: drawings.ts (what is drawn).

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { svg } from './drawing.js';
import { DRAWINGS } from './drawings.js';

const folder = join(fileURLToPath(import.meta.url), '../../../../docs/pictures');
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
for (const drawing of DRAWINGS) writeFileSync(join(folder, `${drawing.name}.svg`), svg(drawing));
