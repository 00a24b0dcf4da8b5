// What serves a page: to whom, what, and under which policy.

import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { type Socket, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { openCrng } from '../../index.js';
import { type Introduction, LABORATORY_PATH } from '../../demo/remote-peer.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { encodeKey } from '../../tunnel/keys.js';
import { type Demonstration, serveDemonstration } from '../../web/server/demonstration.js';
import { Laboratory } from '../../web/server/laboratory.js';
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

  it('stays up when a connection cannot be taken, and is there for whoever comes after many that say nothing', async () => {
    const served = await servePage({ page: 'demo', folder });
    for (let n = 0; n < 3; n++) served.server.emit('error', new Error('accept EMFILE'));
    const { port: at } = new URL(served.url);
    const silent: Socket[] = [];
    let sentAway = 0;
    for (let n = 0; n < 300; n++) {
      const socket = connect(Number(at), '127.0.0.1');
      silent.push(socket.on('error', () => undefined).resume());
      socket.once('close', () => sentAway++);
      await once(socket, 'connect');
    }
    await vi.waitFor(() => expect(sentAway).toBe(44), 20_000);
    expect((await fetch(served.url)).status).toBe(200);
    for (const each of silent) each.destroy();
    await served.close();
  });

  it('that is not built is an error that says so', async () => {
    await expect(servePage({ page: 'other', folder })).rejects.toThrow("the page 'other' is not built");
  });
});

describe('the peer of the page', () => {
  const call = (path: string, origin?: string, host = `127.0.0.1:${port}`) =>
    new WebSocket(`ws://127.0.0.1:${port}${path}`, { origin, headers: { host } });
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

  it('hears nobody who calls it by another name', async () => {
    const own = `http://127.0.0.1:${port}`;
    for (const host of ['evil.example', `evil.example:${port}`, `127.0.0.1:${port + 1}`])
      expect([host, await outcome(call(LABORATORY_PATH, own, host))]).toEqual([host, 'refused']);
    // Control: the name is all that was wrong.
    expect(await outcome(call(LABORATORY_PATH, own, `localhost:${port}`))).toBe('open');
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
});

describe('the places of the peer', () => {
  const introduction: Introduction = { machine: encodeKey(new Uint8Array(32).fill(9)), tripwire: false };
  const TOO_MANY = 1013;
  const MALFORMED = 1007;
  const closers: (() => unknown)[] = [];
  afterEach(async () => {
    vi.useRealTimers();
    for (const close of closers.splice(0).reverse()) await close();
  });
  const serve = async () => {
    const served = await serveDemonstration({ folder });
    closers.push(served.close);
    return served;
  };
  const dial = ({ url }: { readonly url: string }, path = LABORATORY_PATH) =>
    new WebSocket(url.replace('http', 'ws').slice(0, -1) + path, { origin: url.slice(0, -1) });
  const introduce = (socket: WebSocket) => socket.send(JSON.stringify(introduction));

  it.each([
    ['says its word', introduce],
    ['says nothing', () => undefined],
  ])('are few: of 40 pages at a time 8 are refused, where each %s', async (_, speak) => {
    const served = await serve();
    const warnings: string[] = [];
    const hear = ({ name }: Error) => warnings.push(name);
    process.on('warning', hear);
    closers.push(() => process.off('warning', hear));
    const refused: number[] = [];
    const sockets = Array.from({ length: 40 }, () => dial(served));
    for (const socket of sockets) {
      socket.on('close', code => refused.push(code));
      socket.on('open', () => speak(socket));
    }
    await vi.waitFor(() => expect(refused).toHaveLength(8), 30_000);
    expect(new Set(refused)).toEqual(new Set([TOO_MANY]));
    // Whoever has started it is not told of a leak where there is none.
    await setImmediate();
    expect(warnings).toEqual([]);
    // A place is free again when its page has gone.
    const [first] = sockets.filter(({ readyState, OPEN }) => readyState === OPEN);
    first.close();
    await once(first, 'close');
    await vi.waitFor(async () => {
      const next = dial(served);
      await once(next, 'open');
      introduce(next);
      await Promise.race([
        once(next, 'message'),
        once(next, 'close').then(([code]) => Promise.reject(new Error(`closed: ${code}`))),
      ]);
    }, 30_000);
  });

  it('are for who says a word: who does not in five seconds has to go, and who does may stay', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const served = await serve();
    const [silent, talking] = [dial(served), dial(served)];
    await Promise.all([once(silent, 'open'), once(talking, 'open')]);
    introduce(talking);
    await once(talking, 'message');
    vi.advanceTimersByTime(4_999);
    talking.ping();
    silent.ping();
    await Promise.all([once(talking, 'pong'), once(silent, 'pong')]);
    vi.advanceTimersByTime(1);
    await once(silent, 'close');
    vi.advanceTimersByTime(60_000);
    talking.ping();
    await once(talking, 'pong');
  });

  it('end with a word where a peer could not be made', async () => {
    const world = await openCrng();
    const broken = { ...nobleSuite, publicKey: raise };
    const laboratory = new Laboratory({ ...world, suite: broken });
    const served = await servePage({
      page: 'demo',
      folder,
      upgrade: (...asked) => laboratory.upgrade(...asked),
    });
    closers.push(world.close, served.close, () => laboratory.close());
    const socket = dial(served);
    await once(socket, 'open');
    introduce(socket);
    expect((await once(socket, 'close'))[0]).toBe(MALFORMED);
  });

  it('are not given away while all of it is closed', async () => {
    const served = await serve();
    const socket = dial(served);
    await once(socket, 'open');
    introduce(socket);
    const [said] = await once(socket, 'message');
    // It does not answer a goodbye, so that closing takes a while.
    const datagrams = dial(served, (JSON.parse(String(said)) as { path: string }).path);
    await once(datagrams, 'open');
    datagrams.pause();
    const closed = served.close();
    const late = dial(served);
    const [error] = await once(late, 'error');
    expect((error as NodeJS.ErrnoException).code).toBe('ECONNREFUSED');
    datagrams.terminate();
    await closed;
  });
});

function raise(): never {
  throw new Error('no such suite');
}
