// A page in a real browser is a peer: Chromium from Debian, a handshake and a packet each way with a peer in
// Node, over a WebSocket. What a bundler makes of the package for it is what is loaded, and no larger than
// was promised.

import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  EventLoopTunnel,
  WebSocketListener,
  encodeKey,
  nobleSuite,
  openCrng,
  parseAllowedIp,
  publicKeyOf,
} from '../../../index.js';
import { relay } from '../../../examples/websocket-relay.js';
import { ipv4Packet } from '../../support/packets.js';
import { echoRequest, readEcho } from '../support/echo.js';
import { ipOf } from '../support/our-peer.js';
import { OUR_V4, THEIR_V4, WireguardGo } from '../support/wireguard-go.js';
import type { PageOptions, talk } from './page.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PAGE = '10.0.0.2';
const OURS = '10.0.0.1';

/** Kilobytes, minified and compressed. */
const LARGEST = 45;

/** What a bundler makes of a module for a page. It fails on whatever a page does not have. */
async function bundle(
  entry: { entryPoints: string[] } | { stdin: { contents: string; resolveDir: string } },
) {
  const { outputFiles } = await build({
    ...entry,
    absWorkingDir: ROOT,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0].text;
}

/** The package by its own name, as it is built: so package.json has its say. */
const exporting = (...subpaths: string[]) =>
  bundle({
    stdin: {
      contents: subpaths.map(path => `export * from 'wireonce/${path}';`).join('\n'),
      resolveDir: ROOT,
    },
  });
const kilobytes = (code: string) => gzipSync(code).length / 1000;

describe('what a page loads', () => {
  it('protocol, sessions and crng are no larger than was promised', async () => {
    const size = kilobytes(await exporting('protocol', 'sessions', 'crng'));
    console.log(`protocol, sessions and crng: ${size.toFixed(1)} kB gzip`);
    expect(size).toBeLessThan(LARGEST);
    expect(size).toBeGreaterThan(10);
  });

  it('a program pays for what it uses alone', async () => {
    const [page, whole] = [
      await bundle({ entryPoints: ['test/system/browser/page.ts'] }),
      await exporting('browser'),
    ];
    console.log(`a page that talks: ${kilobytes(page).toFixed(1)} kB gzip`);
    expect(page.length).toBeLessThan(whole.length);
  });

  it('has a module of Node, where a subpath is not for pages (control)', async () => {
    await expect(exporting('tunnel')).rejects.toThrow(/Could not resolve "node:/);
  });
});

describe.each([
  ['a plain page', {}, false],
  [
    'a page that is isolated from others',
    { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' },
    true,
  ],
])('%s', (_, headers, isIsolated) => {
  const closers: (() => unknown)[] = [];
  let browser: Browser;
  let server: Server;

  beforeAll(async () => {
    const script = await bundle({ entryPoints: ['test/system/browser/page.ts'] });
    server = createServer((request, response) => {
      const [type, body] =
        request.url === '/page.js'
          ? ['text/javascript', script]
          : [
              'text/html',
              '<!doctype html><title>a peer</title><script type="module" src="/page.js"></script>',
            ];
      response.writeHead(200, { 'Content-Type': type, ...headers }).end(body);
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    closers.push(() => new Promise(resolve => server.close(resolve)));
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    closers.push(() => browser.close());
  });
  // The browser last opened is closed first, so that no connection of its keeps the server.
  afterAll(async () => {
    for (const close of closers.reverse()) await close();
  });

  it('makes a handshake with a peer in Node, and a packet goes each way', async () => {
    const { port } = server.address() as AddressInfo;
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on('pageerror', error => complaints.push(String(error)));
    await page.goto(`http://127.0.0.1:${port}/`);
    const has = await page.evaluate('[crossOriginIsolated, typeof SharedArrayBuffer, typeof process]');
    expect(has).toEqual([isIsolated, isIsolated ? 'function' : 'undefined', 'undefined']);

    const opened = await openCrng();
    closers.push(() => opened.close());
    const { crng, vmgenid } = opened;
    const [privateKey, pagesKey] = [crng.x25519PrivateKey(), crng.x25519PrivateKey()];
    const listener = await WebSocketListener.listen({ host: '127.0.0.1' });
    const heard: string[] = [];
    const tunnel = new EventLoopTunnel({
      crng,
      vmgenid,
      privateKey,
      transports: [listener],
      peers: [{ publicKey: publicKeyOf(nobleSuite, pagesKey), allowedIps: [parseAllowedIp(PAGE)] }],
      onPacket: packet => {
        heard.push(Buffer.from(packet.subarray(20)).toString());
        tunnel.sendPacket(ipv4Packet(OURS, PAGE, Buffer.from('hello, page')));
      },
    });
    closers.push(() => tunnel.close());
    const options: PageOptions = {
      url: `ws://127.0.0.1:${listener.port}/`,
      privateKey: encodeKey(pagesKey),
      peer: encodeKey(publicKeyOf(nobleSuite, privateKey)),
      address: OURS,
      packet: [...ipv4Packet(PAGE, OURS, Buffer.from('hello, Node'))],
    };
    await page.waitForFunction('globalThis.talk !== undefined');
    const said = await page.evaluate<Awaited<ReturnType<typeof talk>>>(`talk(${JSON.stringify(options)})`);
    expect(heard).toEqual(['hello, Node']);
    expect(Buffer.from(said.answer.slice(20)).toString()).toBe('hello, page');
    expect(said).toMatchObject({ entropy: 'getRandomValues', protection: 'none' });
    expect(complaints).toEqual([]);
  });

  it('and with an unmodified wireguard-go, through a relay from its WebSocket to UDP', async () => {
    const { port } = server.address() as AddressInfo;
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${port}/`);
    const opened = await openCrng();
    closers.push(() => opened.close());
    const pagesKey = opened.crng.x25519PrivateKey();
    const theirs = await WireguardGo.start();
    closers.push(() => theirs.close());
    await theirs.setPeer({ publicKey: publicKeyOf(nobleSuite, pagesKey) });
    const { url, close } = await relay(`127.0.0.1:${theirs.listenPort}`);
    closers.push(close);
    const options: PageOptions = {
      url,
      privateKey: encodeKey(pagesKey),
      peer: encodeKey(theirs.publicKey),
      address: THEIR_V4,
      packet: [...echoRequest(ipOf(OUR_V4), ipOf(THEIR_V4), 7, 1)],
    };
    await page.waitForFunction('globalThis.talk !== undefined');
    const said = await page.evaluate<Awaited<ReturnType<typeof talk>>>(`talk(${JSON.stringify(options)})`);
    expect(readEcho(Uint8Array.from(said.answer))).toMatchObject({ kind: 'reply', id: 7, sequence: 1 });
    expect(await theirs.transfer(publicKeyOf(nobleSuite, pagesKey))).not.toMatchObject({ received: 0 });
  });
});
