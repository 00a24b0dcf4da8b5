// What serves the live view: to whom, how often, and what it never tells.

import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DeviceStatus } from '../../tunnel/daemon/status.js';
import type { StatusPicture } from '../../tunnel/daemon/status-picture.js';
import { Admittance } from '../../web/server/admittance.js';
import { type LiveStatus, serveLiveStatus } from '../../web/server/live-status.js';
import { deviceStatus } from '../tunnel/daemon/status.js';

let folder: string;
let live: LiveStatus;
let port: number;
let token: string;
/** How many pictures were asked of the daemon, and feeds begun and ended. */
const count = { pictures: 0, begun: 0, ended: 0 };
/** By the daemon. */
let said: DeviceStatus;

async function* feed(signal: AbortSignal): AsyncGenerator<StatusPicture> {
  count.begun++;
  try {
    while (!signal.aborted) {
      const at = count.pictures++;
      yield { at, now: at, interfaces: [{ name: 'wg0', status: said }] };
      await setImmediate();
    }
  } finally {
    count.ended++;
  }
}

beforeAll(() => {
  folder = `${mkdtempSync(join(tmpdir(), 'wireonce-live-'))}/`;
  mkdirSync(join(folder, 'status'));
  writeFileSync(join(folder, 'status/index.html'), '<!doctype html><title>a page</title>');
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(async () => {
  Object.assign(count, { pictures: 0, begun: 0, ended: 0 });
  said = deviceStatus();
  live = await serveLiveStatus({ folder, feed });
  const url = new URL(live.url);
  port = Number(url.port);
  token = url.hash.slice('#token='.length);
});
afterEach(() => live.close());

interface Asked {
  readonly method?: string;
  readonly secret?: string | undefined;
  readonly headers?: Record<string, string>;
}

async function begin(
  path: string,
  { method = 'GET', secret, headers = {} }: Asked = {},
): Promise<IncomingMessage> {
  const asked = request({
    host: '127.0.0.1',
    port,
    path,
    method,
    // A connection of its own: nothing waits for an answer before it, which may be without an end.
    agent: false,
    headers: { ...(secret !== undefined && { authorization: `Bearer ${secret}` }), ...headers },
  });
  asked.on('error', () => undefined).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return response.on('error', () => undefined);
}

/** Far more than any answer is that has an end. */
const ENOUGH = 100_000;

async function ask(path: string, asked: Asked = {}): Promise<{ status: number; body: string }> {
  const response = await begin(path, asked);
  let body = '';
  for await (const chunk of response) if ((body += String(chunk)).length > ENOUGH) break;
  return { status: response.statusCode ?? 0, body };
}

/** The status of an answer, and of one that goes on without an end too: nothing of it is read. */
async function statusOf(path: string, asked: Asked = {}): Promise<number> {
  const response = await begin(path, asked);
  response.destroy();
  return response.statusCode ?? 0;
}

const admitted = async () => (await ask('/pass', { secret: token })).body;

describe('the token of the address', () => {
  it('is exchanged once', async () => {
    const first = await ask('/pass', { secret: token });
    expect(first.status).toBe(200);
    expect(first.body).toMatch(/^[\da-f]{64}$/);
    expect(first.body).not.toBe(token);
    for (let i = 0; i < 3; i++) expect((await ask('/pass', { secret: token })).status).toBe(401);
  });

  it('stays good while others guess', async () => {
    const last = token.at(-1) === '0' ? '1' : '0';
    for (const guess of [
      '',
      '0'.repeat(64),
      token.slice(1),
      `${token}0`,
      token.slice(0, -1) + last,
      'é'.repeat(32),
    ])
      expect([guess, (await ask('/pass', { secret: encodeURI(guess) })).status]).toEqual([guess, 401]);
    expect((await ask('/pass')).status).toBe(401);
    expect((await ask('/pass', { secret: token })).status).toBe(200);
  });

  it('is in no answer, and in no address but behind the mark that browsers keep to themselves', async () => {
    expect(live.url.split('#')[0]).not.toContain(token);
    const pass = await admitted();
    for (const path of ['/', '/pass', '/pictures', '/nothing'])
      expect((await ask(path)).body).not.toMatch(new RegExp(`${token}|${pass}`));
  });

  it('is drawn from what is given, all of it', () => {
    const drawn: number[] = [];
    const entropy = { read: (into: Uint8Array) => void drawn.push(into.fill(drawn.length + 1).length) };
    const admittance = new Admittance(entropy);
    expect(drawn).toEqual([32, 32]);
    expect(admittance.token).toBe('01'.repeat(32));
    expect(admittance.admits('02'.repeat(32))).toBe(false);
    expect(admittance.exchange('01'.repeat(32))).toBe('02'.repeat(32));
    expect(admittance.admits('02'.repeat(32))).toBe(true);
  });
});

/** Far longer than an answer takes; no answer at all is a failure too. Milliseconds. */
const ANSWERED = { timeout: 20_000 };

describe('pictures', ANSWERED, () => {
  it('come a line each to who has the pass, for as long as he listens', async () => {
    const response = await begin('/pictures', { secret: await admitted() });
    expect([response.statusCode, response.headers['cache-control']]).toEqual([200, 'no-store']);
    let text = '';
    for await (const chunk of response) {
      text += String(chunk);
      if (text.split('\n').length > 5) break;
    }
    const [first, second] = text.split('\n').map(line => JSON.parse(line || 'null') as StatusPicture);
    expect([first.at, second.at]).toEqual([0, 1]);
    expect(first.interfaces).toEqual([{ name: 'wg0', status: deviceStatus() }]);
    while (count.ended < 1) await setImmediate();
  });

  it('turn no text around them on the page, whatever a daemon repeats in them', async () => {
    const foreign = 'bad \u001b[2J\u009b2J\u202eexe\u2066 <img src=x onerror=alert(1)>';
    said = deviceStatus({ hints: [foreign], interface: 'wg\u202e0' });
    const response = await begin('/pictures', { secret: await admitted() });
    const [line] = (await once(response, 'data')) as [Buffer];
    response.destroy();
    const [{ status }] = JSON.parse(String(line).split('\n')[0]).interfaces;
    expect(status.hints).toEqual([
      String.raw`bad \u001b[2J\u009b2J\u202eexe\u2066 <img src=x onerror=alert(1)>`,
    ]);
    expect(status.interface).toBe(String.raw`wg\u202e0`);
    while (count.ended < 1) await setImmediate();
  });

  it('are for nobody without it: not before it was given, not for the token, not for a guess', async () => {
    expect(await statusOf('/pictures')).toBe(401);
    expect(await statusOf('/pictures', { secret: token })).toBe(401);
    const pass = await admitted();
    for (const secret of [
      undefined,
      '',
      token,
      pass.slice(1),
      `${pass.slice(0, -2)}zz`,
      pass.toUpperCase() + '0',
    ])
      expect([secret, await statusOf('/pictures', { secret })]).toEqual([secret, 401]);
    expect(await statusOf('/pictures', { headers: { authorization: `Basic ${pass}` } })).toBe(401);
    expect(await statusOf('/pictures', { headers: { cookie: `pass=${pass}` } })).toBe(401);
    expect(await statusOf(`/pictures?pass=${pass}`)).toBe(404);
    expect(count.pictures).toBe(0);
    // Control: this is the one that it wants.
    expect(await statusOf('/pictures', { secret: pass })).toBe(200);
  });

  it('are for no page of another site, by whatever name and with whatever it knows', async () => {
    const secret = await admitted();
    for (const headers of [
      { host: 'evil.example' },
      { origin: 'http://evil.example' },
      { origin: 'null' },
      { origin: `https://127.0.0.1:${port}` },
      { origin: `http://127.0.0.1:${port + 1}` },
    ] as Record<string, string>[]) {
      const status = await statusOf('/pictures', { secret, headers });
      expect([headers, status]).toEqual([headers, 'host' in headers ? 421 : 403]);
    }
    const headers = { origin: `http://127.0.0.1:${port}` };
    expect(await statusOf('/pictures', { secret, headers })).toBe(200);
  });

  it.each(['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS'])('cannot be asked for by %s', async method => {
    const secret = await admitted();
    expect(await statusOf('/pictures', { method, secret })).toBe(405);
    expect(await statusOf('/pass', { method, secret })).toBe(405);
  });

  it('are asked of the daemon only while somebody looks', async () => {
    const secret = await admitted();
    await ask('/');
    expect(count).toEqual({ pictures: 0, begun: 0, ended: 0 });
    const looking = await Promise.all([begin('/pictures', { secret }), begin('/pictures', { secret })]);
    expect(count.begun).toBe(2);
    for (const each of looking) each.destroy();
    while (count.ended < 2) await setImmediate();
    const before = count.pictures;
    for (let i = 0; i < 20; i++) await setImmediate();
    expect(count.pictures).toBe(before);
  });

  it('wait for who does not read, and others do not wait for him', async () => {
    const secret = await admitted();
    const idle = await begin('/pictures', { secret });
    idle.pause();
    let last = -1;
    for (let still = 0; still < 2_000; still = count.pictures === last ? still + 1 : 0) {
      last = count.pictures;
      await setImmediate();
    }
    const other = await begin('/pictures', { secret });
    let seen = 0;
    for await (const chunk of other) if ((seen += String(chunk).split('\n').length) > 20) break;
    expect(count.pictures).toBeGreaterThan(last);
    idle.destroy();
  });

  it('go on for who has the pass while many come who say nothing', async () => {
    const looking = await begin('/pictures', { secret: await admitted() });
    const silent = Array.from({ length: 300 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
    await Promise.all(silent.map(each => once(each, 'connect')));
    const before = count.pictures;
    for await (const chunk of looking) if (String(chunk) && count.pictures > before + 10) break;
    for (const each of silent) each.destroy();
    while (count.ended < 1) await setImmediate();
  });

  it('are for a few at a time', async () => {
    const secret = await admitted();
    const looking = await Promise.all(Array.from({ length: 8 }, () => begin('/pictures', { secret })));
    expect(looking.map(({ statusCode }) => statusCode)).toEqual(Array.from({ length: 8 }, () => 200));
    expect(await statusOf('/pictures', { secret })).toBe(503);
    looking[0].destroy();
    let next = await begin('/pictures', { secret });
    while (next.statusCode === 503) {
      next.resume();
      next = await begin('/pictures', { secret });
    }
    expect(next.statusCode).toBe(200);
    for (const each of [...looking, next]) each.destroy();
  });

  it('end when the server does', async () => {
    const response = await begin('/pictures', { secret: await admitted() });
    response.resume();
    const ended = new Promise(resolve => response.once('close', resolve));
    await live.close();
    await ended;
    while (count.ended < 1) await setImmediate();
    live = await serveLiveStatus({ folder, feed });
  });
});
