// The pictures of the documents: `npm run docs:pictures`. Drawings are written from their source, screenshots
// are taken of the demonstration's page in Debian's Chromium.
// Promises: every file of the two folders is made here, and what is no longer made is no longer there.
// Read on: drawings.ts (what is drawn), screenshots.ts (what is played).

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { svg } from './drawing.js';
import { DRAWINGS } from './drawings.js';
import { SCENES, WINDOW, capture } from './screenshots.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

function emptied(folder: string): string {
  const path = join(root, folder);
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path);
  return path;
}

function draw(): void {
  const folder = emptied('docs/pictures');
  for (const drawing of DRAWINGS) writeFileSync(join(folder, `${drawing.name}.svg`), svg(drawing));
}

async function takeScreenshots(): Promise<void> {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const words = [join(root, 'dist/cli/main.js'), 'demo', '--web', '--no-open'];
  const command = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [url] = (await once(createInterface(command.stdout), 'line')) as [string];
    const folder = emptied('docs/screenshots');
    for (const scene of SCENES) {
      const page = await browser.newPage(WINDOW);
      await page.goto(url + scene.at);
      for (const [file, bytes] of await capture(page, scene)) writeFileSync(join(folder, file), bytes);
      await page.close();
    }
  } finally {
    command.kill('SIGINT');
    await browser.close();
  }
}

draw();
await takeScreenshots();
