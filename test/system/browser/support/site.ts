// The page of a command in Debian's Chromium: the command as its user starts it, one browser, and what the
// page must never do.
// Promises: whatever a page complains of, and whatever it asks of anybody but its own server, is kept and
// held against it. Command and browser are gone after `close`.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { AxeResults } from 'axe-core';
import { type Browser, type BrowserContextOptions, type Page, chromium } from 'playwright-core';

const COMMAND = fileURLToPath(new URL('../../../../dist/cli/main.js', import.meta.url));
const PAGES = fileURLToPath(new URL('../../../../dist/web/pages', import.meta.url));
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const WIDTHS = [360, 768, 1280];
export const THEMES = ['light', 'dark'] as const;

/** Without motion: what is half faded in has half of its contrast. */
const AS_TESTED: BrowserContextOptions = { viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' };

export class Site {
  /** Without what stands behind `#`. */
  readonly url: string;
  /** What does, with the mark. */
  readonly fragment: string;
  /** What pages have complained of, or asked of others. */
  readonly faults: string[] = [];
  readonly #browser: Browser;
  readonly #command: ChildProcess;

  private constructor(url: string, browser: Browser, command: ChildProcess) {
    [this.url, this.fragment = ''] = url.split(/(?=#)/);
    this.#browser = browser;
    this.#command = command;
  }

  /** Starts `wireonce` with these words, and waits for the address that it prints. */
  static async open(...words: string[]): Promise<Site> {
    const command = spawn(process.execPath, [COMMAND, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [url] = (await once(createInterface(command.stdout), 'line')) as [string];
      const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
      return new Site(url, browser, command);
    } catch (error) {
      command.kill();
      throw error;
    }
  }

  /** A page of its own, at a scene. */
  async visit(hash: string, options: BrowserContextOptions = {}): Promise<Page> {
    const page = await this.#browser.newPage({ ...AS_TESTED, ...options });
    page.on('console', message => this.faults.push(`console: ${message.text()}`));
    page.on('pageerror', error => this.faults.push(String(error)));
    page.on('requestfailed', request => this.faults.push(`failed: ${request.url()}`));
    const isOwn = (url: string) => url.replace(/^ws/, 'http').startsWith(this.url);
    page.on('request', request => isOwn(request.url()) || this.faults.push(`asked ${request.url()}`));
    page.on('websocket', socket => isOwn(socket.url()) || this.faults.push(`called ${socket.url()}`));
    await page.goto(this.url + hash);
    return page;
  }

  /** Ends the command, under pages that are open. Resolves with its exit status. */
  async end(): Promise<number | null> {
    if (this.#command.exitCode === null && this.#command.signalCode === null) {
      const ended = once(this.#command, 'exit');
      this.#command.kill('SIGINT');
      await ended;
    }
    return this.#command.exitCode;
  }

  /** Ends all of it. Resolves with the exit status of the command. */
  async close(): Promise<number | null> {
    await this.#browser.close();
    return this.end();
  }
}

/** Kilobytes, compressed, of what a page names: its scripts, what they load at once, its styles. */
export function sizeOf(name: string): number {
  const page = readFileSync(join(PAGES, name, 'index.html'), 'utf8');
  const files = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => join(PAGES, path));
  return kilobytes(files);
}

/** The same of what pages have workers for. */
export function sizeOfWorkers(): number {
  const files = readdirSync(join(PAGES, 'assets')).filter(name => name.startsWith('worker'));
  return kilobytes(files.map(name => join(PAGES, 'assets', name)));
}

function kilobytes(files: readonly string[]): number {
  return files.reduce((sum, path) => sum + gzipSync(readFileSync(path)).length / 1_000, 0);
}

/**
 * What axe finds wrong with the page as it is now. It reads style sheets once more, which a page from a file
 * may not.
 */
export async function violationsOf(page: Page, preload = true): Promise<string[]> {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate<AxeResults>(
    `axe.run({ preload: ${preload}, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })`,
  );
  return violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(node => node.html.slice(0, 120)).join(' | ')}`,
  );
}

/** Pixels by which the page is wider than its window, or a part of it than the page. */
export function overflowOf(page: Page): Promise<number> {
  return page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
}

/** The grey values of a picture that the page has drawn, by its caption. */
export function pixelsOf(page: Page, caption: string): Promise<number[]> {
  return page
    .locator('figure', { hasText: caption })
    .locator('canvas')
    .evaluate((canvas: never) => {
      const { width, height } = canvas as { width: number; height: number };
      const context = (canvas as { getContext(kind: '2d'): CanvasRenderingContext }).getContext('2d');
      const { data } = context.getImageData(0, 0, width, height);
      return Array.from({ length: width * height }, (_, i) => data[4 * i]);
    });
}

interface CanvasRenderingContext {
  getImageData(x: number, y: number, width: number, height: number): { readonly data: Uint8ClampedArray };
}
