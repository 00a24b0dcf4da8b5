// The page of `wireonce demo --web` in Debian's Chromium: each scene to its end, by keyboard, and what it must never do.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Page } from 'playwright-core';
import { LIE, PICTURES, SECRET } from '../../../demo/fork-story.js';
import { Site, THEMES, WIDTHS, overflowOf, pixelsOf, violationsOf } from './support/site.js';

let site: Site;
beforeAll(async () => {
  site = await Site.open('demo', '--web', '--no-open');
});
afterAll(async () => {
  expect(await site?.close()).toBe(0);
});
afterEach(() => {
  expect(site.faults.splice(0)).toEqual([]);
});

/** The number above these words. */
const statOf = async (page: Page, label: string) =>
  Number(
    (await page.locator('.stats div', { hasText: label }).locator('dd').innerText()).replaceAll(',', ''),
  );

const words = (text: string) => text.replaceAll(/\s+/g, ' ').trim();

async function fork(page: Page): Promise<void> {
  await page.locator('button.main:enabled', { hasText: 'Fork the machine' }).focus();
  await page.keyboard.press('Enter');
}

describe('a fork', () => {
  it('without protection: pictures are recovered to the pixel, and a forged packet is accepted', async () => {
    const page = await site.visit('#/fork');
    await fork(page);
    await page.getByText('has accepted it as the machine’s').waitFor();
    expect(await statOf(page, 'keys and counters used twice')).toBe(13);
    await expect(pixelsOf(page, 'Recovered: the picture of clone A')).resolves.toEqual([...PICTURES[0][0]]);
    await expect(pixelsOf(page, 'Recovered: the picture of clone B')).resolves.toEqual([...PICTURES[1][0]]);
    const text = words(await page.locator('main').innerText());
    expect(text).toContain(`“${LIE}”`);
    expect(text).toContain(words(SECRET));
    expect(await page.getByRole('log').innerText()).toContain('has accepted a forged packet');
    expect(await violationsOf(page)).toEqual([]);
    await page.close();
  });

  it('with a peer that notices: the forgery is refused', async () => {
    const page = await site.visit('#/fork?tripwire=on');
    await fork(page);
    await page.locator('.verdict', { hasText: 'The peer has refused it' }).waitFor();
    expect(await page.getByText('has accepted it as the machine’s').count()).toBe(0);
    await page.close();
  });

  it('with protection: both sessions are wiped, and nothing meets', async () => {
    const page = await site.visit('#/protected');
    await fork(page);
    await page.getByText('Nothing to find').waitFor();
    expect(await statOf(page, 'keys and counters used twice')).toBe(0);
    expect(await statOf(page, 'sessions wiped')).toBe(2);
    expect(await statOf(page, 'new handshakes')).toBeGreaterThanOrEqual(2);
    expect(await page.getByText('Recovered').count()).toBe(0);
    expect(await violationsOf(page)).toEqual([]);
    await page.close();
  });
});

describe.each(THEMES)('in a %s theme', colorScheme => {
  it.each(WIDTHS)('at %i pixels every scene fits, and axe finds nothing', async width => {
    const page = await site.visit('', {
      viewport: { width, height: 800 },
      colorScheme,
      reducedMotion: 'reduce',
    });
    const scenes = await page.getByRole('navigation', { name: 'Scenes' }).getByRole('link').all();
    expect(scenes.length).toBeGreaterThan(1);
    for (const scene of scenes) {
      await scene.click();
      await page.locator('.scenes [aria-current=page]', { hasText: await scene.innerText() }).waitFor();
      expect(await overflowOf(page), await scene.innerText()).toBe(0);
      expect(await violationsOf(page), await scene.innerText()).toEqual([]);
    }
    await page.close();
  });
});
