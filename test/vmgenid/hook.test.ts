// The hook: an agent's call is answered when the wipe is done; everything else is refused and crashes nothing.

import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { VmGenId } from '../../vmgenid/driver.js';
import { NO_EPOCH, parseGuid } from '../../vmgenid/generation.js';
import { HOOK_BODY_MAX, HookSource, type HookSourceOptions } from '../../vmgenid/sources/hook.js';
import { MemorySource } from '../../vmgenid/sources/memory.js';

const GUID = '00112233-4455-6677-8899-aabbccddeeff';
const SEED = Buffer.alloc(32, 7);
let folder: string;
let path: string;
const open: VmGenId[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-hook-'));
  path = join(folder, 'hook.sock');
});
afterEach(async () => {
  await Promise.all(open.splice(0).map(vm => vm.close()));
  rmSync(folder, { recursive: true, force: true });
});

async function hooked(listen: string = path, options?: HookSourceOptions) {
  const hook = new HookSource(listen, options);
  const vm = new VmGenId([hook]);
  open.push(vm);
  await vm.start();
  return { hook, vm };
}

interface Call {
  body?: string | Buffer;
  method?: string;
  url?: string;
  headers?: Record<string, string>;
}
interface Reply {
  status: number;
  json: { epoch?: number; parted?: boolean; error?: string; name?: string };
  headers: IncomingHttpHeaders;
}

function call(
  { body = '', method = 'POST', url = '/fork', headers = {} }: Call = {},
  to = path,
): Promise<Reply> {
  const tcp = /^(.+):(\d+)$/.exec(to);
  const where = tcp ? { host: tcp[1].replace(/[[\]]/g, ''), port: Number(tcp[2]) } : { socketPath: to };
  return new Promise((resolve, reject) => {
    const out = request({ ...where, method, path: url, headers, agent: false }, response => {
      const chunks: Buffer[] = [];
      response.on('data', chunk => chunks.push(chunk));
      response.on('end', () => {
        const json = JSON.parse(Buffer.concat(chunks).toString());
        resolve({ status: response.statusCode ?? 0, json, headers: response.headers });
      });
    });
    out.on('error', reject);
    out.end(body);
  });
}

const ready = (epoch: number) => ({ epoch, forkEpoch: epoch, parted: true, ready: true, missing: [] });
const unparted = (epoch: number) => ({
  epoch,
  forkEpoch: epoch,
  parted: false,
  ready: false,
  missing: ['parted'],
});

function rawCall(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket: Socket = connect(path, () => socket.write(bytes));
    socket.on('data', chunk => {
      answer += chunk;
    });
    socket.on('end', () => resolve(answer));
    socket.on('error', reject);
  });
}

describe('hook: calls', () => {
  it('announces the new id and the seed, and answers with the epoch', async () => {
    const { vm } = await hooked();
    const seeds: (Uint8Array | undefined)[] = [];
    vm.register('randomness', () => void seeds.push(vm.evidence.seed?.slice()));
    const reply = await call({ body: JSON.stringify({ vmGenId: GUID, seed: SEED.toString('base64') }) });
    expect([reply.status, reply.json]).toEqual([200, ready(2)]);
    expect(vm.evidence.vmGenId).toEqual(parseGuid(GUID));
    expect(seeds).toEqual([new Uint8Array(SEED)]);
    expect(vm.evidence.seed).toBeUndefined();
  });

  it('two calls about one GUID, however it is spelt, are one fork; calls without a GUID are one each', async () => {
    const { vm } = await hooked();
    const epochs: unknown[] = [];
    const spellings = [GUID, GUID, `{${GUID.toUpperCase()}}`, GUID.replaceAll('-', ''), ` ${GUID}`];
    for (const body of [...spellings.map(vmGenId => JSON.stringify({ vmGenId })), '{}', '']) {
      epochs.push((await call({ body })).json.epoch);
    }
    expect(epochs).toEqual([2, 2, 2, 2, 2, 3, 4]);
    expect(vm.epoch).toBe(4);
  });

  it('answers only when the chain has run and its asynchronous part is done', async () => {
    const { vm } = await hooked();
    const order: string[] = [];
    let release = () => {};
    vm.register('sessions', () => void order.push('wiped'));
    vm.register('application', async () => {
      await new Promise<void>(resolve => {
        release = resolve;
      });
      order.push('application');
    });
    const answered = call().then(() => order.push('answered'));
    await vi.waitFor(() => expect(order).toEqual(['wiped']), { timeout: 10_000 });
    release();
    await answered;
    expect(order).toEqual(['wiped', 'application', 'answered']);
  });

  it('tells the caller when subscribers do not finish in time', async () => {
    const { vm } = await hooked(path, { settleTimeoutMs: 10 });
    vm.register('application', () => new Promise(() => {}));
    const reply = await call();
    expect([reply.status, reply.json.epoch]).toEqual([504, 2]);
    expect(reply.json.error).toMatch(/not finished/);
  });

  it('a TCP port answers only who calls it by its address: no name was made to lead here', async () => {
    const { hook, vm } = await hooked('127.0.0.1:0');
    const at = hook.address as string;
    for (const method of ['GET', 'POST']) {
      for (const host of ['evil.example', 'evil.example:80', '127.0.0.1.evil.example']) {
        const { status, json } = await call({ method, headers: { host } }, at);
        expect([status, json.epoch]).toEqual([421, undefined]);
      }
    }
    expect(vm.epoch).toBe(1);
    for (const host of ['localhost', '127.0.0.1', at])
      expect((await call({ method: 'GET', headers: { host } }, at)).status).toBe(200);
  });

  it.each([
    [404, 'path', { url: '/' }],
    [404, 'path', { url: '/forks' }],
    [400, 'parameter', { url: '/fork?x=1' }],
    [405, 'method', { method: 'DELETE' }],
    [405, 'method', { method: 'PUT', body: '{}' }],
    [403, 'Origin', { headers: { origin: 'https://example.com' } }],
    [400, 'not JSON', { body: '{' }],
    [400, 'not JSON', { body: Buffer.from([0x22, 0xff, 0x22]) }],
    [400, 'not a JSON object', { body: '[]' }],
    [400, 'not a JSON object', { body: 'null' }],
    [400, 'not a JSON object', { body: '"x"' }],
    [400, '"vmgenid"', { body: `{"vmgenid":"${GUID}"}` }],
    [400, '"__proto__"', { body: '{"__proto__":{}}' }],
    [400, 'vmGenId', { body: '{"vmGenId":7}' }],
    [400, 'vmGenId', { body: '{"vmGenId":null}' }],
    [400, 'vmGenId', { body: '{"vmGenId":"00112233"}' }],
    [400, 'epoch', { body: '{"epoch":0}' }],
    [400, 'epoch', { body: '{"epoch":"1"}' }],
    [400, 'seed: not a string', { body: '{"seed":[1]}' }],
    [400, 'seed: not base64', { body: '{"seed":"AAAA AAAA"}' }],
    [400, 'seed: not base64', { body: '{"seed":"AAAAA"}' }],
    [400, 'seed: 15 bytes', { body: JSON.stringify({ seed: Buffer.alloc(15).toString('base64') }) }],
    [400, 'seed: 1025 bytes', { body: JSON.stringify({ seed: Buffer.alloc(1025).toString('base64') }) }],
    [413, 'body', { body: `{"seed":"${'A'.repeat(HOOK_BODY_MAX)}"}` }],
    [413, 'body', { body: ' '.repeat(HOOK_BODY_MAX + 1), headers: { 'transfer-encoding': 'chunked' } }],
  ] as [number, string, Call][])(
    'answers %i, naming %s, and nobody hears of a fork',
    async (status, named, wrong) => {
      const { vm } = await hooked();
      const reply = await call(wrong);
      expect([reply.status, reply.json.error]).toEqual([status, expect.stringContaining(named)]);
      expect(vm.epoch).toBe(1);
      // It still serves.
      expect((await call()).json).toEqual(unparted(2));
    },
  );

  it.each([16, 1024])('takes a seed of %i bytes', async length => {
    await hooked();
    const reply = await call({ body: JSON.stringify({ seed: Buffer.alloc(length, 1).toString('base64') }) });
    expect(reply.status).toBe(200);
  });

  it('an error never quotes the seed', async () => {
    await hooked();
    const secret = SEED.toString('base64');
    const reply = await call({ body: `{"seed":"${secret}",}` });
    expect(reply.status).toBe(400);
    expect(JSON.stringify(reply.json)).not.toContain(secret.slice(0, 8));
  });

  it('what is no HTTP is answered and ended', async () => {
    const { vm } = await hooked();
    expect(await rawCall('hello\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 .*"error":"not an HTTP request"/s);
    expect(await rawCall(`POST /fork HTTP/1.1\r\nX: ${'x'.repeat(9_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431 /,
    );
    expect(vm.epoch).toBe(1);
  });

  it.each([
    ['headers', 'POST /fork HTTP/1.1\r\nHost: x\r\n'],
    ['body', 'POST /fork HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{'],
  ])('a caller who does not finish its %s is timed out', async (_what, begun) => {
    const { vm } = await hooked(path, { requestTimeoutMs: 50 });
    expect(await rawCall(begun)).toMatch(/^HTTP\/1\.1 408 /);
    expect(vm.epoch).toBe(1);
  });

  it('a caller who leaves in the middle of its body announces nothing', async () => {
    const { vm } = await hooked();
    await new Promise<void>(resolve => {
      const socket = connect(path, () => {
        socket.write('POST /fork HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{}', () =>
          socket.destroy(),
        );
      });
      socket.on('close', () => resolve());
    });
    expect((await call()).json).toEqual(unparted(2));
    expect(vm.epoch).toBe(2);
  });
});

describe('hook: an agent that can be copied in the middle of its call', () => {
  /** A machine whose page shows forks at once, and the same to all siblings. */
  async function underCounter() {
    const page = new MemorySource({ uniqueness: 'counter' });
    const vm = new VmGenId([page, new HookSource(path)]);
    open.push(vm);
    await vm.start();
    return { page, vm };
  }
  const seeded = (fields: object = {}) => ({
    body: JSON.stringify({ seed: SEED.toString('base64'), ...fields }),
  });

  it('learns how things stand, and brings what was made in that epoch', async () => {
    const { page } = await underCounter();
    expect((await call({ method: 'GET' })).json).toEqual(ready(1));
    page.fork(parseGuid(GUID));
    const { json } = await call({ method: 'GET' });
    expect(json).toEqual(unparted(2));
    expect(await call(seeded({ epoch: json.epoch }))).toMatchObject({
      status: 200,
      json: { epoch: 2, parted: true },
    });
  });

  it('is refused in another epoch than it names, and nothing is learnt of it', async () => {
    const { page, vm } = await underCounter();
    page.fork(parseGuid(GUID));
    vm.check();
    // The agent has its seed. Here it is copied, with the machine.
    page.fork(new Uint8Array(16).fill(9));
    const reply = await call(seeded({ epoch: 2 }));
    expect([reply.status, reply.json.epoch]).toEqual([409, 3]);
    expect((await call({ method: 'GET' })).json).toEqual(unparted(3));
  });

  it('is told when its call may be older than the fork: it parts nobody then', async () => {
    const { page } = await underCounter();
    page.fork(parseGuid(GUID));
    expect((await call(seeded())).json).toEqual(unparted(2));
    const fresh = Buffer.alloc(32, 1).toString('base64');
    expect((await call({ body: JSON.stringify({ seed: fresh }) })).json).toEqual(ready(2));
  });

  it('control: one that names no epoch hands its siblings’ seed over unnoticed', async () => {
    const { page, vm } = await underCounter();
    page.fork(parseGuid(GUID));
    vm.check();
    page.fork(new Uint8Array(16).fill(9));
    vm.check();
    expect((await call(seeded())).json).toEqual(ready(3));
  });

  it('cannot repeat a call that was the fork itself, where nothing else shows forks', async () => {
    await hooked();
    expect((await call(seeded({ epoch: 1 }))).json).toEqual(ready(2));
    expect((await call(seeded({ epoch: 1 }))).status).toBe(409);
  });
});

describe('hook: where it listens', () => {
  it('a socket for its owner alone, gone after close', async () => {
    const before = process.umask();
    const { vm, hook } = await hooked();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(process.umask()).toBe(before);
    expect(hook.address).toBe(path);
    await vm.close();
    expect(existsSync(path)).toBe(false);
    await hook.close();
  });

  it('replaces a socket that a dead process left behind', async () => {
    const { execFileSync } = await import('node:child_process');
    const leave = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    expect(() => execFileSync(process.execPath, ['-e', leave], { stdio: 'ignore' })).toThrow();
    expect(existsSync(path)).toBe(true);
    const { vm } = await hooked();
    expect(vm.check()).toBe(1);
    expect((await call()).status).toBe(200);
  });

  it('leaves a socket that is alive, or a file, alone; the driver then lets nothing out', async () => {
    const other = createServer();
    await new Promise<void>(resolve => void other.listen(path, resolve));
    try {
      const { vm } = await hooked();
      expect(vm.check()).toBe(NO_EPOCH);
      expect(vm.sources[0].reason).toMatch(/another program answers/);
      expect(existsSync(path)).toBe(true);
    } finally {
      await new Promise(resolve => other.close(resolve));
    }
    writeFileSync(path, 'precious');
    expect((await hooked()).vm.sources[0].reason).toMatch(/is no socket/);
    expect((await hooked(join(folder, 'no', 'such.sock'))).vm.sources[0].reason).toMatch(
      /such\.sock: cannot listen: ENOENT/,
    );
  });

  it.each(['127.0.0.1:0', '[::1]:0'])(
    '%s: on a loopback port, with a token, only who knows it is heard',
    async listen => {
      const token = 'correct horse battery';
      const { vm, hook } = await hooked(listen, { token });
      const at = hook.address;
      if (listen.includes('::1') && at === undefined) {
        expect(vm.sources[0].reason).toMatch(/EADDRNOTAVAIL|EAFNOSUPPORT/);
        return;
      }
      for (const authorization of [
        '',
        token,
        'Bearer ',
        `Bearer ${token}x`,
        `Bearer ${token.slice(1)}`,
        `Basic ${token}`,
      ]) {
        const reply = await call({ headers: { authorization } }, at);
        expect([reply.status, reply.headers['www-authenticate']]).toEqual([401, 'Bearer']);
      }
      expect((await call({}, at)).status).toBe(401);
      expect(vm.epoch).toBe(1);
      expect((await call({ headers: { authorization: `Bearer ${token}` } }, at)).json).toEqual(unparted(2));
    },
  );

  it('a port in use is reported, and the driver lets nothing out', async () => {
    const { hook } = await hooked('127.0.0.1:0');
    const { vm } = await hooked(hook.address);
    expect(vm.check()).toBe(NO_EPOCH);
    expect(vm.sources[0].reason).toMatch(/EADDRINUSE/);
  });

  it.each([
    ['relative/path', {}, /neither an absolute path/],
    ['localhost:80', {}, /neither an absolute path/],
    ['127.0.0.1:70000', {}, /0 to 65535/],
    ['::1:80', {}, /neither/],
    [`/${'x'.repeat(107)}`, {}, /at most 107 bytes/],
    ['0.0.0.0:80', {}, /not a loopback address/],
    ['[::]:80', {}, /not a loopback address/],
    ['192.0.2.1:80', { allowRemote: true }, /needs a token/],
    ['127.0.0.1:80', { token: 'short' }, /at least 16/],
  ])('refuses %s %j', (listen, options, reason) => {
    const refused = expect.objectContaining({
      code: 'ERR_SOURCE_OPTION',
      message: expect.stringMatching(reason),
    });
    expect(() => new HookSource(listen, options)).toThrow(refused);
  });

  it('an address for other machines is allowed to whoever asks for it and sets a token', () => {
    const remote = new HookSource('192.0.2.1:80', { allowRemote: true, token: 'sixteen characters' });
    expect(remote.name).toBe('hook:192.0.2.1:80');
  });
});

describe('a clone that is given its identity', () => {
  const identity = { colour: 'red' };
  const bodyOf = (more: object = {}) => JSON.stringify({ vmGenId: GUID, identity, ...more });

  it('has it checked before the fork is announced, and is named in the answer', async () => {
    const seen: unknown[] = [];
    const { vm } = await hooked(path, {
      enrol: given => {
        seen.push([given, vm.epoch]);
        return async epoch => ({ name: `clone of epoch ${epoch}` });
      },
    });
    expect(await call({ body: bodyOf() })).toMatchObject({
      status: 200,
      json: { epoch: 2, parted: true, name: 'clone of epoch 2' },
    });
    // Whoever brings none learns the name too.
    expect((await call({ body: JSON.stringify({ vmGenId: GUID }) })).json.name).toBe('clone of epoch 2');
    expect(seen).toEqual([
      [identity, 1],
      [undefined, 2],
    ]);
  });

  it('is refused one that is none, with the reason, and nothing ends', async () => {
    const { vm } = await hooked(path, {
      enrol: () => {
        throw new Error('identity.address: missing');
      },
    });
    expect(await call({ body: bodyOf() })).toMatchObject({
      status: 400,
      json: { error: 'identity.address: missing' },
    });
    expect(vm.epoch).toBe(1);
  });

  it('is given none in an epoch that is over', async () => {
    const epochs: number[] = [];
    const enrol = () => async (epoch: number) => ({ name: epochs.push(epoch) });
    await hooked(path, { enrol });
    expect((await call({ body: bodyOf({ epoch: 7 }) })).status).toBe(409);
    expect(epochs).toEqual([]);
  });

  it.each([
    ['takes too long', () => new Promise<never>(() => {}), 'the device is not enrolled'],
    ['fails', async () => Promise.reject(new Error('no')), 'the device is not enrolled: no'],
  ])(
    'whose enrolment %s is not waited for without end: the answer says that sessions are wiped',
    async (_, enrolled, error) => {
      const { vm } = await hooked(path, { settleTimeoutMs: 50, enrol: () => enrolled });
      expect(await call({ body: bodyOf() })).toMatchObject({
        status: 504,
        json: { epoch: 2, error: `${error}; sessions are wiped` },
      });
      expect(vm.epoch).toBe(2);
    },
  );

  it('a device that is no such clone is told none', async () => {
    const { vm } = await hooked();
    expect(await call({ body: bodyOf() })).toMatchObject({
      status: 400,
      json: { error: 'identity: this device is told none' },
    });
    expect(vm.epoch).toBe(1);
  });
});
