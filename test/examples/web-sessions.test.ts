import { mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileSource, HookSource, MemorySource } from 'wireonce/vmgenid';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { seededEntropy } from '../../examples/clone-lab.js';
import { main } from '../../examples/web-sessions.js';

const closers: (() => unknown)[] = [];

// Time stands still for the generator, whose timed reseeds would otherwise part two servers that must be clones.
beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));

afterEach(async () => {
  vi.useRealTimers();
  for (const close of closers.splice(0).reverse()) await close();
});

type Server = Awaited<ReturnType<typeof main>>;

async function start(options?: Parameters<typeof main>[0]): Promise<Server> {
  const server = await main(options, () => {});
  closers.push(server.close);
  return server;
}

const basic = (user: string) => ({ Authorization: `Basic ${Buffer.from(user).toString('base64')}` });

async function logIn({ url }: Server, user = 'alice:wonderland') {
  const response = await fetch(`${url}/login`, { method: 'POST', headers: basic(user) });
  const token = /^session=([\w-]{43}); HttpOnly/.exec(response.headers.get('set-cookie') ?? '')?.[1];
  return { status: response.status, text: await response.text(), token };
}

async function look({ url }: Server, token?: string) {
  const response = await fetch(url, { headers: { Cookie: `theme=dark; session=${token}` } });
  return { status: response.status, text: await response.text() };
}

async function announce({ hookUrl }: Server, call?: object) {
  const body = call ? JSON.stringify(call) : '';
  return (await fetch(hookUrl as string, { method: 'POST', body })).status;
}

it('knows a user by the token of the login, and nobody by anything else', async () => {
  const server = await start();
  const { token } = await logIn(server);
  expect(await look(server, token)).toEqual({ status: 200, text: 'hello, alice\n' });
  for (const wrong of ['', 'x', `${token}x`]) expect((await look(server, wrong)).status).toBe(401);
  for (const wrong of ['alice:', 'alice', 'alice:Wonderland', 'bob:wonderland', '', ':']) {
    expect(await logIn(server, wrong)).toEqual({ status: 403, text: 'no\n', token: undefined });
  }
  expect((await fetch(`${server.url}/login`, { method: 'POST' })).status).toBe(403);
});

it('clones end every login on the fork, and draw different tokens after it', async () => {
  const clones = [await start(clone()), await start(clone())];
  const before = await Promise.all(clones.map(server => logIn(server)));
  expect(before[0].token).toBe(before[1].token);

  const ids = ['aaaaaaaa-0000-4000-8000-000000000000', 'bbbbbbbb-0000-4000-8000-000000000000'];
  for (const [i, server] of clones.entries()) {
    expect((await look(server, before[0].token)).status).toBe(200);
    expect(await announce(server, { vmGenId: ids[i] })).toBe(200);
    expect((await look(server, before[0].token)).status).toBe(401);
  }
  const after = await Promise.all(clones.map(server => logIn(server)));
  expect(after[0].token).toMatch(/./);
  expect(after[0].token).not.toBe(after[1].token);
  for (const [i, server] of clones.entries()) {
    expect((await look(server, after[i].token)).status).toBe(200);
    expect((await look(server, after[1 - i].token)).status).toBe(401);
  }
});

it('without word of the fork clones go on as one (control)', async () => {
  const clones = [await start(clone()), await start(clone())];
  for (const server of clones) await logIn(server);
  const [one, other] = await Promise.all(clones.map(server => logIn(server)));
  expect(one.token).toBe(other.token);
  expect((await look(clones[1], one.token)).status).toBe(200);
});

it('gives out no token after a fork that told nothing to part the clones by', async () => {
  const server = await start();
  const { token } = await logIn(server);
  expect(await announce(server)).toBe(200);
  expect(await look(server, token)).toEqual({ status: 401, text: 'log in first\n' });
  expect(await logIn(server)).toEqual({ status: 503, text: 'ERR_CRNG_NOT_FRESH\n', token: undefined });
  const seed = Buffer.alloc(32, 1).toString('base64');
  expect(await announce(server, { seed })).toBe(200);
  expect((await logIn(server)).status).toBe(200);
});

it('sees a new file at the first request, and answers nothing when the file is gone', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'web-sessions-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'generation');
  writeFileSync(path, '11111111-0000-4000-8000-000000000000\n');
  // Nothing looks at the file but the requests.
  const server = await start({ source: new FileSource(path, { pollMs: 1e9, watch: false }) });
  const { token } = await logIn(server);
  expect((await look(server, token)).status).toBe(200);

  writeFileSync(`${path}.new`, '22222222-0000-4000-8000-000000000000\n');
  renameSync(`${path}.new`, path);
  expect((await look(server, token)).status).toBe(401);
  expect((await logIn(server)).status).toBe(200);

  unlinkSync(path);
  const text = 'cannot tell whether this machine was forked\n';
  expect(await look(server, token)).toEqual({ status: 503, text });
  expect((await logIn(server)).status).toBe(503);
});

it('gives out no token that a fork has already ended, at whichever look the fork comes', async () => {
  // The hypervisor acts just before a chosen look at the generation.
  let looks = 0;
  let forkAt = Number.POSITIVE_INFINITY;
  const newId = new Uint8Array(16);
  const onRead = () => {
    if (++looks === forkAt) source.fork(newId);
  };
  const source: MemorySource = new MemorySource({ onRead });
  const server = await start({ source });
  looks = 0;
  expect((await logIn(server)).status).toBe(200);
  const looksOfALogin = looks;
  expect(looksOfALogin).toBeGreaterThan(2);

  const answers: string[] = [];
  for (let k = 1; k <= looksOfALogin; k++) {
    [looks, forkAt] = [0, k];
    newId[0]++;
    const { status, text, token } = await logIn(server);
    answers.push(text);
    if (status === 200) expect((await look(server, token)).status).toBe(200);
    else expect(token).toBeUndefined();
  }
  expect(answers.at(0)).toBe('welcome, alice\n');
  expect(answers.at(-1)).toBe('forked just now: ask again\n');
});

it('says so when its port is taken, and closes what it has opened', async () => {
  const { url } = await start();
  const source = new HookSource('127.0.0.1:0');
  const entropy = { ...seededEntropy('unused'), close: vi.fn() };
  const port = Number(new URL(url).port);
  await expect(main({ port, source, entropy }, () => {})).rejects.toThrow('EADDRINUSE');
  expect(source.address).toBeUndefined();
  expect(entropy.close).toHaveBeenCalled();
});

const clone = () => ({ entropy: seededEntropy('one memory') });
