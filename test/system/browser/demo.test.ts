// The page of `wireonce demo --web` in Debian's Chromium: each scene to its end, by keyboard, and what it
// must never do.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Page, WebSocket } from 'playwright-core';
import { LIE, PICTURES } from '../../../demo/fork-story.js';
import { SECRET } from '../../../demo/secret.js';
import {
  Site,
  THEMES,
  WIDTHS,
  overflowOf,
  pixelsOf,
  sizeOf,
  sizeOfWorkers,
  violationsOf,
} from './support/site.js';

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

/** Kilobytes, compressed. */
const LARGEST = { page: 95, worker: 62 };

/** The number above these words. */
const statOf = async (page: Page, label: string) =>
  Number(
    (await page.locator('.stats div', { hasText: label }).locator('dd').innerText()).replaceAll(',', ''),
  );

const words = (text: string) => text.replaceAll(/\s+/g, ' ').trim();

async function fork(page: Page): Promise<void> {
  const button = page.getByRole('button', { name: 'Fork the machine', disabled: false });
  await button.focus();
  await page.keyboard.press('Enter');
}

describe('a fork', () => {
  it('without protection: pictures are recovered to the pixel, and a forged packet is accepted', async () => {
    const page = await site.visit('#/fork');
    await fork(page);
    await page.getByText('has accepted it as the machine’s').waitFor();
    // Whoever works by keyboard is where he was, though that button does nothing now.
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Fork the machine');
    await page.getByRole('button', { name: 'Fork the machine', disabled: true }).waitFor();
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
    const page = await site.visit('#/proof');
    const sockets: WebSocket[] = [];
    page.on('websocket', socket => sockets.push(socket));
    await page.getByRole('link', { name: 'With protection' }).click();
    await fork(page);
    await page.getByText('Nothing to find').waitFor();
    // The page's words, and a wire of the machine and of each clone: the story is over, and so are they.
    expect(sockets).toHaveLength(4);
    await expect
      .poll(() => sockets.map(socket => socket.isClosed()), { timeout: 30_000 })
      .not.toContain(false);
    expect(await statOf(page, 'keys and counters used twice')).toBe(0);
    expect(await statOf(page, 'sessions wiped')).toBe(2);
    expect(await statOf(page, 'new handshakes')).toBeGreaterThanOrEqual(2);
    expect(await page.getByText('Recovered').count()).toBe(0);
    expect(await violationsOf(page)).toEqual([]);
    await page.close();
  });
});

describe('a word that comes late', () => {
  it('leaves a window, which hold-back closes; both are in the address', async () => {
    const page = await site.visit('#/late?delay=100&hold=0');
    await page.locator('.verdict.harm').waitFor();
    expect(await statOf(page, 'keys and counters used twice')).toBe(10);
    const hold = page.getByLabel('Each datagram is held back for');
    await hold.focus();
    for (let ms = 0; ms < 120; ms += 10) await page.keyboard.press('ArrowRight');
    await page.locator('.verdict.good').waitFor();
    expect(await statOf(page, 'keys and counters used twice')).toBe(0);
    expect(await statOf(page, 'sealed, and never sent')).toBeGreaterThan(10);
    await page.waitForURL(/#\/late\?delay=100&hold=120$/);
    expect(await violationsOf(page)).toEqual([]);
    await page.close();
  });

  it('may be dragged to and fro: the address follows, no oftener than a browser allows', async () => {
    const page = await site.visit('#/late?delay=0&hold=0');
    await page.evaluate(`
      globalThis.written = 0;
      const { replaceState } = history;
      history.replaceState = (...given) => (written++, replaceState.apply(history, given));
    `);
    await page.getByLabel('The word of the fork comes after').evaluate((slider: never) => {
      const input = slider as { value: string; dispatchEvent(event: Event): boolean };
      for (let i = 0; i < 300; i++) {
        input.value = String(10 * (i % 20));
        input.dispatchEvent(new Event('input', { bubbles: true }));
      }
    });
    await page.waitForURL(/#\/late\?delay=190&hold=0$/);
    // Safari allows a hundred in half a minute.
    expect(await page.evaluate<number>('written')).toBeLessThan(30);
    await page.getByText('19 key and counter pairs used twice').first().waitFor();
    await page.close();
  });

  it('that cannot be computed is said, and is waited for by nobody', async () => {
    const page = await site.visit('');
    await page.route(/worker/, route => route.abort());
    await page.getByRole('link', { name: 'A late word' }).click();
    await page.locator('.verdict.harm', { hasText: 'This went wrong' }).waitFor();
    await page.getByRole('log').getByText('This went wrong').waitFor({ state: 'attached' });
    const faults = site.faults.splice(0).filter(fault => !/worker|ERR_FAILED/.test(fault));
    expect(faults).toEqual([]);
    await page.close();
  });
});

describe('every instant', () => {
  it('does no harm with protection, and nearly everywhere to clones that look away', async () => {
    const page = await site.visit('#/instants?look=1');
    const verdict = await page.locator('.verdict').innerText({ timeout: 120_000 });
    const [, looks, harm, heedless] =
      /^(\d+) instants, .*: (\d+) of them did harm\. .* (\d+);/.exec(verdict) ?? [];
    expect([Number(looks) > 40, Number(harm), Number(heedless) > Number(looks) / 2]).toEqual([true, 0, true]);
    await page.getByLabel('Fork it at look').focus();
    await page.keyboard.press('End');
    const columns = page.locator('.columns .stack');
    expect(Number(await columns.nth(0).locator('dd').first().innerText())).toBe(0);
    expect(Number(await columns.nth(1).locator('dd').first().innerText())).toBeGreaterThan(0);
    await page.waitForURL(new RegExp(`look=${looks}$`));
    expect(await violationsOf(page)).toEqual([]);
    await page.close();
  });
});

describe('a crowd of clones', () => {
  it.each([
    ['own', 50, 0, 'good'],
    ['parent', 1, 50, 'harm'],
  ])(
    'with the key “%s” has %i keys, and %i sessions under that of its parent',
    async (key, keys, under, tone) => {
      const page = await site.visit(`#/clones?clones=50&key=${key}`);
      await page.getByRole('button', { name: 'Clone the machine' }).press('Enter');
      await page.locator(`.verdict.${tone}`).waitFor({ timeout: 60_000 });
      expect(await statOf(page, 'keys')).toBe(keys);
      expect(await statOf(page, 'addresses')).toBe(keys);
      expect(await statOf(page, 'sessions under the parent’s key')).toBe(under);
      expect(await statOf(page, 'clones that have called')).toBe(50);
      expect(await statOf(page, 'reached by the gateway')).toBe(keys);
      expect(await page.getByRole('button', { name: 'Clone the machine' }).isEnabled()).toBe(true);
      await page.close();
    },
  );
});

it('the proof says of each row where and when it was measured', async () => {
  const page = await site.visit('#/proof');
  const rows = page.locator('tbody tr');
  expect(await rows.count()).toBeGreaterThan(4);
  for (const row of await rows.all()) expect(await row.innerText()).toMatch(/\d{4}-\d\d-\d\d, .*, seed \d+/);
  expect(await rows.filter({ hasText: 'wireonce (immediate)' }).locator('.good').count()).toBe(2);
  await page.close();
});

it('what the page loads is no larger than was promised', () => {
  const sizes = { page: sizeOf('demo'), worker: sizeOfWorkers() };
  console.log(`the page: ${sizes.page.toFixed(1)} kB gzip, its worker: ${sizes.worker.toFixed(1)} kB gzip`);
  for (const part of ['page', 'worker'] as const) {
    expect(sizes[part]).toBeLessThan(LARGEST[part]);
    expect(sizes[part]).toBeGreaterThan(30);
  }
});

describe('on a narrow screen', () => {
  /** Whether the last of these can be seen in the box in which it scrolls, beside the names of the rows. */
  const isInSight = (page: Page, what: string) =>
    page.evaluate<boolean>(`(() => {
      const place = [...document.querySelectorAll(${JSON.stringify(what)})].at(-1);
      const box = place.closest('.scroller');
      const [inner, outer, names] = [place, box, box.querySelector('.row-labels')].map(each => each.getBoundingClientRect());
      return inner.left >= names.right && inner.right <= outer.right;
    })()`);

  it.each([
    ['the newest datagram', '#/fork', '.timeline .mark'],
    ['the handshake before it', '#/fork', '.timeline .mark.handshake'],
    ['the word of the fork', '#/late?delay=200&hold=250', '.delayed .instant line'],
    ['the chosen instant', '#/instants?look=40', '.reads:has(.good) .chosen'],
  ])('%s is in sight', async (_, hash, what) => {
    const page = await site.visit(hash, { viewport: { width: 360, height: 800 } });
    await page.locator(what).last().waitFor({ state: 'attached', timeout: 60_000 });
    await expect.poll(() => isInSight(page, what), { timeout: 30_000 }).toBe(true);
    await page.close();
  });
});

it('each scene leads to the next one, and the last to a machine of one’s own', async () => {
  const page = await site.visit('#/fork');
  const seen = [await page.locator('h1').innerText()];
  const next = page.getByText('Next:');
  while ((await next.count()) > 0) {
    const title = await next.getByRole('link').innerText();
    await next.getByRole('link').click();
    await page.locator('h1', { hasText: title }).waitFor();
    seen.push(title);
  }
  expect(new Set(seen).size).toBe(6);
  expect(await page.locator('main').innerText()).toContain('wireonce vmgenid status');
  await page.close();
});

describe.each(THEMES)('in a %s theme', colorScheme => {
  it.each(WIDTHS)('at %i pixels every scene fits, and axe finds nothing', async width => {
    const page = await site.visit('', {
      viewport: { width, height: 800 },
      colorScheme,
      reducedMotion: 'reduce',
    });
    const scenes = await page.getByRole('navigation', { name: 'Scenes' }).getByRole('link').all();
    expect(scenes.length).toBe(6);
    for (const scene of scenes) {
      const name = await scene.innerText();
      await scene.click();
      await page.locator('.scenes [aria-current=page]', { hasText: name }).waitFor();
      expect(await overflowOf(page), name).toBe(0);
      // Colours are the same at every width.
      if (width === WIDTHS[0]) expect(await violationsOf(page), name).toEqual([]);
    }
    await page.close();
  });
});
