// The page of `wireonce status --web` in Debian's Chromium: a real daemon that is forked, goes and comes
// back, and one with a thousand peers.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterEach, describe, expect, it } from 'vitest';
import { UapiServer } from '../../../tunnel/daemon/uapi/index.js';
import { socketPath } from '../../../tunnel/daemon/uapi/socket-path.js';
import { deviceStatus, noDrops, peerStatus } from '../../tunnel/daemon/status.js';
import { MemoryBackend } from '../../tunnel/daemon/uapi/backend.js';
import { INNER, atEnd, closeMachines, folder, freshName, startPair } from '../daemon/support/machine.js';
import { until } from '../support/run.js';
import { Site, THEMES, WIDTHS, overflowOf, sizeOf, violationsOf } from './support/site.js';

afterEach(closeMachines);

/** The page of an interface: drawn several times a second. */
async function look(name: string): Promise<{ site: Site; page: Page }> {
  const site = await Site.open('status', name, '--web', '--watch', '0.2');
  atEnd(async () => expect(await site.close()).toBe(0));
  const page = await site.visit(site.fragment);
  await page.getByRole('heading', { name: 'Peers', exact: true }).waitFor();
  return { site, page };
}

/** Everything that the server gives to who has this pass: files, and pictures until there are enough. */
async function everythingOf({ url }: Site, pass: string): Promise<string> {
  const get = async (path: string, enough: (text: string) => boolean) => {
    const asked = request(new URL(path, url), { headers: { authorization: `Bearer ${pass}` } }).end();
    const [response] = await once(asked, 'response');
    let text = '';
    for await (const chunk of response) {
      text += String(chunk);
      if (enough(text)) break;
    }
    return text;
  };
  const page = await get('/', () => false);
  const files = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path);
  const all = [page, ...(await Promise.all(files.map(path => get(path, () => false))))];
  const pictures = await get('/pictures', text => text.split('\n').length > 3);
  return [...all, pictures].join('\n');
}

describe('a daemon', () => {
  it('is shown with its fork, is waited for when it is gone, and keeps its secrets', async () => {
    const path = join(folder(), 'generation');
    const write = (byte: number) => {
      writeFileSync(`${path}.new`, Buffer.alloc(16, byte));
      renameSync(`${path}.new`, path);
    };
    write(1);
    const flags = ['--generation-file', path, '--generation-file-timing', 'immediate'];
    const { a, b } = await startPair({ a: { flags } });
    const preshared = Buffer.alloc(32, 0x5a).toString('base64');
    for (const [one, other] of [
      [a, b],
      [b, a],
    ])
      await one.wg('set', one.name, 'peer', other.publicKey, 'preshared-key', one.file('psk', preshared));
    expect(await a.ping(INNER.b4)).toBe(3);

    const { site, page } = await look(a.name);
    expect(page.url()).toBe(`${site.url}#/`);
    await page.getByRole('button', { name: b.publicKey.slice(0, 8) }).click();
    const peer = page.getByRole('region', { name: /^Peer / });
    expect(await peer.innerText()).toContain(b.publicKey);
    expect(await peer.innerText()).toContain(`${INNER.b4}/32, ${INNER.b6}/128`);
    await page.getByText('No fork and no drill since the start').waitFor();

    write(2);
    await page.getByText('Epoch 2, fork', { exact: false }).waitFor();
    await page.getByText('1 of 1 peers back').waitFor();
    expect(await page.locator('.epochs svg .fork, .epochs svg.fork').count()).toBe(1);
    await page.getByRole('log').getByText('a fork: epoch 2 begins').waitFor({ state: 'attached' });
    expect(await page.locator('td.harm').count()).toBe(0);

    const pass = String(await page.evaluate("sessionStorage.getItem('pass')"));
    const told = await everythingOf(site, pass);
    const forms = (key: string) => [key, Buffer.from(key, 'base64').toString('hex')];
    for (const secret of [a.privateKey, b.privateKey, preshared].flatMap(forms))
      expect(told.toLowerCase()).not.toContain(secret.toLowerCase());
    // Control: what is told would be found.
    expect(told).toContain(b.publicKey);

    await a.end('SIGTERM');
    await page.getByText('it is waited for').waitFor();
    expect(await page.locator('.stats').innerText()).toContain('epoch');
    await a.launch();
    await page.getByText('it is waited for').waitFor({ state: 'detached' });
    await page.getByRole('log').getByText(`${a.name} is back`).waitFor({ state: 'attached' });
    expect(site.faults.splice(0)).toEqual([]);

    // The tab stays admitted.
    await page.reload();
    await page.getByRole('heading', { name: 'Peers', exact: true }).waitFor();
    expect(site.faults.splice(0)).toEqual([`failed: ${site.url}pictures`]);

    // The address is nobody's any more: not another browser's, and not this one's in another tab.
    const late = await site.visit(site.fragment);
    await late.getByText('That address was used already').waitFor();
    expect(await late.getByRole('heading', { name: 'Peers', exact: true }).count()).toBe(0);
    expect(site.faults.splice(0)).toEqual([expect.stringContaining('401')]);
  });
});

const PEERS = 1_000;
const MOST_ROWS = 40;

describe('a daemon with a thousand peers', () => {
  /** A daemon in this process, whose peers all have moved bytes each time that it is asked. */
  async function busy(): Promise<{ name: string; asked: () => number }> {
    const name = freshName();
    let asked = 0;
    const keyOf = (i: number) => createHash('sha256').update(`${i}`).digest('base64');
    const status = () => {
      asked++;
      return deviceStatus({
        interface: name,
        uptimeMs: 1_000 * asked,
        epoch: 3,
        epochs: [
          { epoch: 2, at: Date.now() - 900_000, cause: 'drill' },
          { epoch: 3, at: Date.now() - 60_000, cause: 'fork' },
        ],
        drops: { ...noDrops(), badTag: 12, staleEpoch: 3 },
        hints: ['a fork is seen late: HoldBackMs above the delay of the source closes the window'],
        peers: Array.from({ length: PEERS }, (_, i) =>
          peerStatus({
            publicKey: keyOf(i),
            allowedIps: [`10.9.${i >> 8}.${i & 255}/32`],
            endpoint: `192.0.2.1:${10_000 + i}`,
            rxBytes: asked * 1_000 * i,
            txBytes: asked * 10 * i,
            hasSession: true,
            sessionEpoch: 3,
          }),
        ),
      });
    };
    const server = await UapiServer.listen(socketPath(name), Object.assign(new MemoryBackend(), { status }));
    atEnd(() => server.close());
    return { name, asked: () => asked };
  }

  it('draws the rows on the screen, once for each picture, under the hand that works there', async () => {
    const { name, asked } = await busy();
    const { site, page } = await look(name);
    const rows = page.locator('.peers tbody tr:not(.space)');
    expect(await rows.count()).toBeLessThanOrEqual(MOST_ROWS);
    expect(await page.locator('.peers table').getAttribute('aria-rowcount')).toBe(`${PEERS + 1}`);

    // One change of the document for each picture, and of its rows none is made anew.
    await page.evaluate(`
      globalThis.seen = { changes: 0, rows: 0 };
      new MutationObserver(records => {
        seen.changes++;
        for (const { addedNodes } of records)
          for (const node of addedNodes) if (node.nodeName === 'TR') seen.rows++;
      }).observe(document.querySelector('main'), { subtree: true, childList: true, characterData: true });
    `);
    const before = asked();
    await until('ten pictures', async () => asked() >= before + 10);
    const { changes, rows: made } = await page.evaluate<{ changes: number; rows: number }>('seen');
    expect(changes).toBeGreaterThan(0);
    expect(changes).toBeLessThanOrEqual(asked() - before + 2);
    expect(made).toBe(0);
    expect(await page.evaluate<number>("document.querySelectorAll('*').length")).toBeLessThan(1_500);

    // By bytes a second, the most first.
    await page.getByRole('columnheader', { name: 'in', exact: true }).getByRole('button').press('Enter');
    await page.locator('th[aria-sort=descending]').waitFor();
    await rows
      .first()
      .getByText(`10.9.3.${(PEERS - 1) & 255}/32`)
      .waitFor();

    // By keyboard to the end and into the last one, which stays under the focus while pictures go on.
    await rows.first().getByRole('button').focus();
    await page.keyboard.press('End');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('ArrowDown');
    const last = () => page.evaluate<string>('document.activeElement.dataset.peer');
    const at = await last();
    expect(await page.locator(`tr:has([data-peer="${at}"])`).getAttribute('aria-rowindex')).toBe(
      `${PEERS + 1}`,
    );
    await page.keyboard.press('Enter');
    const one = page.getByRole('region', { name: /^Peer / });
    expect(await one.innerText()).toContain(at);
    await one.getByRole('button', { name: 'Close' }).press('Enter');
    await one.waitFor({ state: 'detached' });
    expect(await last()).toBe(at);
    const then = asked();
    await until('three pictures', async () => asked() >= then + 3);
    expect(await last()).toBe(at);
    expect(await rows.count()).toBeLessThanOrEqual(MOST_ROWS);

    await page.getByRole('searchbox').fill('10.9.2.7/');
    await page.getByRole('status').getByText('1 of 1,000').waitFor();
    expect(await rows.count()).toBe(1);
    await page.getByRole('searchbox').fill('');

    for (const colorScheme of THEMES) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 800 });
        const where = `${width} ${colorScheme}`;
        expect([where, await overflowOf(page)]).toEqual([where, 0]);
        expect([where, await violationsOf(page)]).toEqual([where, []]);
      }
    }
    expect(site.faults.splice(0)).toEqual([]);
  });

  it('stays in sight when the command itself is gone, and the page says that it is old', async () => {
    const { name } = await busy();
    const { site, page } = await look(name);
    const notice = page.getByText('The command that serves this page does not answer');
    expect(await notice.count()).toBe(0);
    expect(await site.end()).toBe(0);
    await notice.first().waitFor();
    await page.getByRole('log').getByText('does not answer').waitFor({ state: 'attached' });
    expect(await page.getByRole('heading', { name: 'Peers', exact: true }).count()).toBe(1);
    expect(await page.locator('.peers tbody tr:not(.space)').count()).toBeGreaterThan(5);
    expect(await violationsOf(page)).toEqual([]);
    // It is tried again, and nothing else is asked of anybody.
    const again = await page.waitForEvent('requestfailed');
    expect(again.url()).toBe(`${site.url}pictures`);
    const others = site.faults
      .splice(0)
      .filter(fault => !/pictures$|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE/.test(fault));
    expect(others).toEqual([]);
  });
});

it('what the page loads is no larger than was promised', () => {
  expect(sizeOf('status')).toBeLessThan(30);
  expect(sizeOf('status')).toBeGreaterThan(10);
});
