// Screenshots of the page of `wireonce demo --web`: each scene played to its end in Debian's Chromium, in
// light and in dark.
// Promises: a picture is taken only when the page says what the picture is to show. Whether two are equal is
// left to the reader: pixels differ between machines and fonts, what the page says does not.
// Read on: main.ts (who keeps them), test/system/browser/screenshots.test.ts, web/demo/scenes.tsx.

import type { BrowserContextOptions, Page } from 'playwright-core';

/** CSS pixels, which are those of the files. */
export const SIZE = { width: 960, height: 600 };
/** What a page is opened with. */
export const WINDOW: BrowserContextOptions = { viewport: SIZE, reducedMotion: 'reduce' };
const THEMES = ['light', 'dark'] as const;
type Theme = (typeof THEMES)[number];

const QUALITY = 80;
const PATIENCE_MS = 120_000;

export interface Scene {
  /** Its address, behind that of the page. */
  readonly at: string;
  /** What is pressed, if anything. */
  readonly press?: string;
  /** What is there when it is over. */
  readonly ends: string;
  /** The number that stands with these words then, from and to. */
  readonly counts: readonly [label: string, from: number, to: number];
  /** By name: what stands at the top of the picture. */
  readonly pictures: Readonly<Record<string, string>>;
}

const TWICE = 'keys and counters used twice';
const panel = (label: string) => `.panel[aria-label="${label}"]`;

export const SCENES: readonly Scene[] = [
  {
    at: '#/fork',
    press: 'Fork the machine',
    ends: '.verdict.harm:has-text("has accepted it as the machine’s")',
    counts: [TWICE, 1, Number.POSITIVE_INFINITY],
    pictures: { fork: panel('The wire'), pictures: '.columns:has-text("Recovered: the picture of clone A")' },
  },
  {
    at: '#/protected',
    press: 'Fork the machine',
    ends: '.verdict.good',
    counts: [TWICE, 0, 0],
    pictures: { protected: panel('The wire') },
  },
  {
    at: '#/late?delay=100&hold=0',
    ends: '.verdict.harm',
    counts: [TWICE, 1, Number.POSITIVE_INFINITY],
    pictures: { late: 'main .row' },
  },
  {
    at: '#/clones?clones=100&key=own',
    press: 'Clone the machine',
    ends: '.verdict.good',
    counts: ['addresses', 100, 100],
    pictures: { clones: panel('The clones') },
  },
];

/** The files of all scenes. */
export const FILES = SCENES.flatMap(({ pictures }) =>
  Object.keys(pictures).flatMap(name => THEMES.map(theme => fileOf(name, theme))),
);

function fileOf(name: string, theme: Theme): string {
  return `${name}-${theme}.webp`;
}

/**
 * Plays a scene to its end, on a page that is at its address. Resolves with its files in WebP; rejects if the
 * page does not say what they are to show.
 */
export async function capture(page: Page, scene: Scene): Promise<ReadonlyMap<string, Buffer>> {
  page.setDefaultTimeout(PATIENCE_MS);
  if (scene.press !== undefined)
    await page.getByRole('button', { name: scene.press, disabled: false }).click();
  await page.locator(scene.ends).last().waitFor();
  await checkCount(page, scene);
  const files = new Map<string, Buffer>();
  for (const [name, top] of Object.entries(scene.pictures)) {
    await page.locator(top).first().evaluate(toTop);
    for (const theme of THEMES) files.set(fileOf(name, theme), await picture(page, theme));
  }
  return files;
}

interface Scrolls {
  scrollIntoView(options: { readonly block: 'start' }): void;
}

function toTop(element: unknown): void {
  (element as Scrolls).scrollIntoView({ block: 'start' });
}

async function checkCount(page: Page, { at, counts: [label, from, to] }: Scene): Promise<void> {
  const words = await page.locator('.stats div', { hasText: label }).locator('dd').first().innerText();
  const count = Number(words.replaceAll(',', ''));
  if (!(count >= from && count <= to)) throw new Error(`${at}: ${label}: ${words}`);
}

async function picture(page: Page, colorScheme: Theme): Promise<Buffer> {
  await page.emulateMedia({ colorScheme });
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: QUALITY });
  await session.detach();
  return Buffer.from(data, 'base64');
}
