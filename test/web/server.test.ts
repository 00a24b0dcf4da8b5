// What serves a page: to whom, what, and under which policy.

import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Introduction, LABORATORY_PATH } from '../../demo/remote-peer.js';
import { encodeKey } from '../../tunnel/keys.js';
import { type Demonstration, serveDemonstration } from '../../web/server/demonstration.js';
import { servePage } from '../../web/server/serve.js';

let folder: string;
let page: Demonstration;
let port: number;

beforeAll(async () => {
  folder = `${mkdtempSync(join(tmpdir(), 'wireonce-page-'))}/`;
  for (const name of ['demo', 'assets']) mkdirSync(join(folder, name));
  writeFileSync(join(folder, 'demo/index.html'), '<!doctype html><title>a page</title>');
  writeFileSync(join(folder, 'assets/main-1.js'), 'run()');
  writeFileSync(join(folder, 'assets/notes.md'), 'of no type that a page has');
  page = await serveDemonstration({ folder });
  port = Number(new URL(page.url).port);
});
afterAll(async () => {
  await page?.close();
  rmSync(folder, { recursive: true });
});

async function ask(path: string, { host = `127.0.0.1:${port}`, method = 'GET' } = {}) {
  const asked = request({ host: '127.0.0.1', port, path, method, headers: { host } }).end();
  const [response] = await once(asked, 'response');
  const body = Buffer.concat(await response.toArray()).toString();
  return { status: response.statusCode as number, headers: response.headers as Record<string, string>, body };
}

describe('a page', () => {
  it('is there, and may load and call nothing but its own server', async () => {
    const { status, headers, body } = await ask('/');
    expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(body).toContain('a page');
    const policy = Object.fromEntries(
      headers['content-security-policy'].split('; ').map(part => {
        const [name, ...values] = part.split(' ');
        return [name, values.join(' ')];
      }),
    );
    expect(policy).toMatchObject({
      'default-src': "'none'",
      'script-src': "'self'",
      'style-src': "'self'",
      'connect-src': `'self' ws://127.0.0.1:${port} ws://localhost:${port}`,
      'frame-ancestors': "'none'",
      'require-trusted-types-for': "'script'",
    });
    expect(headers['content-security-policy']).not.toMatch(/unsafe|\*|https?:/);
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
    });
  });

  it('may be kept by the browser where its name is made of its content, and nowhere else', async () => {
    expect((await ask('/assets/main-1.js')).headers['cache-control']).toContain('immutable');
    expect((await ask('/')).headers['cache-control']).toBe('no-cache');
  });

  it.each([
    '/nothing',
    '/../package.json',
    '/demo/../../package.json',
    '/assets/notes.md',
    '/%2e%2e/package.json',
  ])('has no %s', async path => {
    expect((await ask(path)).status).toBe(404);
  });

  it('can only be read', async () => {
    expect((await ask('/', { method: 'POST' })).status).toBe(405);
    expect((await ask('/', { method: 'HEAD' })).status).toBe(200);
  });

  it('is not there for whoever calls it by another name, as a page of another site may after DNS rebinding', async () => {
    for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1', `127.0.0.1:${port + 1}`]) {
      const { status, headers } = await ask('/', { host });
      expect([host, status]).toEqual([host, 421]);
      expect(headers['content-security-policy']).toContain("default-src 'none'");
    }
    expect((await ask('/', { host: `localhost:${port}` })).status).toBe(200);
  });

  it('at a port that is taken is an error', async () => {
    await expect(serveDemonstration({ folder, port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  it('that is not built is an error that says so', async () => {
    await expect(servePage({ page: 'other', folder })).rejects.toThrow("the page 'other' is not built");
  });
});

describe('the peer of the page', () => {
  const call = (path: string, origin?: string) =>
    new WebSocket(`ws://127.0.0.1:${port}${path}`, origin === undefined ? {} : { origin });
  const outcome = async (socket: WebSocket) => {
    const heard = once(socket, 'open').then(
      () => 'open',
      () => 'refused',
    );
    const result = await heard;
    socket.on('error', () => undefined).terminate();
    return result;
  };

  it('hears its own page alone', async () => {
    const own = `http://127.0.0.1:${port}`;
    expect(await outcome(call(LABORATORY_PATH, own))).toBe('open');
    for (const origin of [undefined, 'http://evil.example', `https://127.0.0.1:${port}`, 'null'])
      expect([origin, await outcome(call(LABORATORY_PATH, origin))]).toEqual([origin, 'refused']);
    expect(await outcome(call('/datagrams/0123', own))).toBe('refused');
  });

  it('is closed to whoever makes no sense, and stays up', async () => {
    for (const words of ['', '{}', 'null', '{"machine":"short"}', 'x'.repeat(2_000)]) {
      const socket = call(LABORATORY_PATH, `http://127.0.0.1:${port}`);
      await once(socket, 'open');
      socket.send(words);
      const [code] = await once(socket, 'close');
      expect(code).toBeGreaterThan(1000);
    }
    expect((await ask('/')).status).toBe(200);
  });

  it('is one of a few: a page that asks for very many is refused', async () => {
    const sockets: WebSocket[] = [];
    const words: Introduction = { machine: encodeKey(new Uint8Array(32).fill(9)), tripwire: false };
    let refused = 0;
    for (let i = 0; i < 40; i++) {
      const socket = call(LABORATORY_PATH, `http://127.0.0.1:${port}`);
      sockets.push(socket);
      await once(socket, 'open');
      socket.send(JSON.stringify(words));
      await Promise.race([once(socket, 'message'), once(socket, 'close').then(() => refused++)]);
    }
    for (const socket of sockets) socket.terminate();
    expect(refused).toBe(8);
  });
});
