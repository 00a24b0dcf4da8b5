// The site of the documents in Debian's Chromium, opened as a file: it is found what is searched, and nobody
// is asked.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Browser, type Page as Tab, chromium } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Page } from '../../../release/site/pages.js';
import { buildSite } from '../../../release/site/site.js';
import { THEMES, overflowOf, violationsOf } from './support/site.js';

const out = mkdtempSync(join(tmpdir(), 'wireonce-site-'));
const faults: string[] = [];
let browser: Browser;
let pages: readonly Page[];

beforeAll(async () => {
  pages = await buildSite(fileURLToPath(new URL('../../..', import.meta.url)), out);
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
});
afterAll(async () => {
  await browser?.close();
  rmSync(out, { recursive: true, force: true });
});
afterEach(() => {
  expect(faults.splice(0)).toEqual([]);
});

async function open(file: string, options: Parameters<Browser['newPage']>[0] = {}): Promise<Tab> {
  const page = await browser.newPage(options);
  page.on('console', message => faults.push(message.text()));
  page.on('pageerror', error => faults.push(String(error)));
  page.on('requestfailed', request => {
    // Whoever leaves a page asks for no more of it.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') faults.push(`failed: ${request.url()}`);
  });
  page.on('request', request => {
    if (!request.url().startsWith(pathToFileURL(out).href)) faults.push(`asked ${request.url()}`);
  });
  await page.goto(pathToFileURL(join(out, file)).href);
  return page;
}

it('finds a page by a word that is in it, from a page in a folder, by keyboard alone', async () => {
  const page = await open('examples/index.html');
  await page.keyboard.press('/');
  await page.keyboard.type('polynomial');
  const first = page.locator('#found a').first();
  await first.waitFor();
  expect(await first.innerText()).toContain('How a fork breaks a VPN');
  expect(await page.locator('#found-count').innerText()).toMatch(/^(\d+ found|the first \d+ of \d+)$/);
  expect(await violationsOf(page, false)).toEqual([]);
  await page.keyboard.press('Enter');
  await page.waitForURL(/how-a-fork-breaks-a-vpn\.html#the-story$/);
  await page.getByRole('heading', { name: 'The story' }).waitFor();
  await page.close();
});

it('finds names of the code by how they begin, says so when there is nothing, and is gone with Escape', async () => {
  const page = await open('index.html');
  const box = page.getByRole('searchbox');
  await box.fill('holdBack');
  await page.locator('#found a', { hasText: 'Configuration' }).first().waitFor();
  await box.fill('<b>zzzz</b>');
  await page.getByText('Nothing found').waitFor();
  expect(await page.locator('#found').isVisible()).toBe(false);
  await page.keyboard.press('Escape');
  expect(await box.inputValue()).toBe('');
  await page.close();
});

it('fits into 360 pixels, every page of it', async () => {
  const page = await open('index.html', { viewport: { width: 360, height: 800 } });
  for (const { target } of pages) {
    await page.goto(pathToFileURL(join(out, target)).href);
    expect(await overflowOf(page), target).toBe(0);
  }
  await page.close();
});

it.each(THEMES)('in a %s theme axe finds nothing in text, drawings and code', async colorScheme => {
  for (const file of ['docs/how-a-fork-breaks-a-vpn.html', 'examples/hub.ts.html']) {
    const page = await open(file, { colorScheme, viewport: { width: 360, height: 800 } });
    expect(await violationsOf(page, false), file).toEqual([]);
    await page.close();
  }
});
