import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { link, lstat, mkdtemp, readdir, rm, unlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SocketFile } from '../../../../native/socket-file.js';
import { TunnelError } from '../../../../tunnel/errors.js';
import { UapiServer, type UapiServerOptions } from '../../../../tunnel/daemon/uapi/server.js';
import { UapiError, type UapiChanges, type UapiState } from '../../../../tunnel/daemon/uapi/types.js';
import { key, MemoryBackend } from './backend.js';

const PEER = 'b8'.repeat(32);
const OTHER = 'c5'.repeat(32);

let folder: string;
let path: string;
let backend: MemoryBackend;
let logged: string[];
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wireonce-uapi-'));
  path = join(folder, 'run', 'wg0.sock');
  backend = new MemoryBackend();
  logged = [];
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  await rm(folder, { recursive: true, force: true });
});

async function start(options: UapiServerOptions = {}): Promise<UapiServer> {
  const server = await UapiServer.listen(path, backend, { log: message => logged.push(message), ...options });
  cleanups.push(() => server.close());
  return server;
}

/** A client that sends literal text. */
class Raw {
  readonly socket: Socket;
  received = '';
  closed = false;

  constructor() {
    this.socket = connect({ path, allowHalfOpen: true });
    this.socket.on('data', chunk => (this.received += chunk.toString('latin1')));
    this.socket.on('close', () => (this.closed = true));
    this.socket.on('end', () => (this.closed = true));
    this.socket.on('error', () => undefined);
    cleanups.push(() => this.socket.destroy());
  }

  send(text: string): this {
    this.socket.write(text, 'latin1');
    return this;
  }

  async until(condition: (raw: this) => boolean): Promise<string> {
    await eventually(() => condition(this));
    return this.received;
  }
}

/** The answer to one text, from a connection of its own that hangs up after it. */
async function ask(text: string): Promise<string> {
  const raw = new Raw().send(text);
  raw.socket.end();
  const answer = await raw.until(({ closed }) => closed);
  raw.socket.destroy();
  return answer;
}

async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('it did not happen within 20 s');
    await new Promise(resolve => setTimeout(resolve, 2));
  }
}

describe('transcripts', () => {
  test('get, set, get on one connection', async () => {
    await start();
    const raw = new Raw().send('get=1\n\n');
    await raw.until(({ received }) => received === 'errno=0\n\n');
    raw.received = '';
    raw.send(`set=1\nprivate_key=${'08'.repeat(31)}48\nlisten_port=51820\npublic_key=${PEER}\n`);
    raw.send('endpoint=192.0.2.7:4500\nallowed_ip=10.0.0.0/24\nallowed_ip=::/0\n\n');
    await raw.until(({ received }) => received === 'errno=0\n\n');
    raw.received = '';
    raw.send('get=1\n\n');
    const answer = await raw.until(({ received }) => received.endsWith('errno=0\n\n'));
    expect(answer).toBe(`private_key=${'08'.repeat(31)}48
listen_port=51820
public_key=${PEER}
preshared_key=${'00'.repeat(32)}
protocol_version=1
endpoint=192.0.2.7:4500
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
persistent_keepalive_interval=0
allowed_ip=10.0.0.0/24
allowed_ip=::/0
errno=0

`);
  });

  test('the keys of a state are erased when it was sent, and when its reader has gone', async () => {
    const given: Uint8Array[] = [];
    backend.set(manyRanges(50_000));
    backend.privateKey = key(8);
    for (const peer of backend.peers.values()) (peer as { presharedKey: Uint8Array }).presharedKey = key(9);
    const get = backend.get.bind(backend);
    backend.get = () => {
      const state = get();
      given.push(state.privateKey as Uint8Array, ...state.peers.map(({ presharedKey }) => presharedKey));
      return state;
    };
    const isErased = () => given.every(bytes => bytes.every(byte => byte === 0));
    await start();
    expect(await ask('get=1\n\n')).toContain(`preshared_key=${'09'.repeat(32)}`);
    expect(given.length).toBeGreaterThanOrEqual(2);
    expect(isErased()).toBe(true);
    given.length = 0;
    const raw = new Raw().send('get=1\n\n');
    await raw.until(({ received }) => received.length > 0);
    raw.socket.destroy();
    await eventually(isErased);
    expect(given.length).toBeGreaterThanOrEqual(2);
  });

  test('a set that is wrong anywhere changes nothing; without the wrong line it would have (control)', async () => {
    await start();
    const good = `set=1\nlisten_port=7\nreplace_peers=true\npublic_key=${PEER}\nallowed_ip=10.0.0.0/8\n`;
    expect(await ask(`${good}public_key=${OTHER}\nallowed_ip=10.0.0.0/33\n\n`)).toBe('errno=-22\n\n');
    expect(backend.sets).toBe(0);
    expect(await ask(good)).toBe('errno=-71\n\n');
    expect(backend.sets).toBe(0);
    expect(await ask(`${good}\n`)).toBe('errno=0\n\n');
    expect(backend.peers.size).toBe(1);
    expect(logged).toHaveLength(2);
  });

  test('requests sent at once are answered in order, good and bad', async () => {
    await start();
    const answer = await ask(
      'set=1\nfwmark=1\n\nset=1\nnonsense\n\nset=1\nbad=1\n\nget=1\n\nset=1\nfwmark=2\n\nget=1\n\nget=1\nx\n\nget=1\n\n',
    );
    expect(answer).toBe(
      'errno=0\n\nerrno=-71\n\nerrno=-22\n\nfwmark=1\nerrno=0\n\nerrno=0\n\nfwmark=2\nerrno=0\n\nerrno=22\n\n',
    );
  });

  test('status is one line of JSON, in its turn', async () => {
    Object.assign(backend, { status: () => ({ fwMark: backend.fwMark }) });
    await start();
    expect(await ask('status=1\n\nset=1\nfwmark=5\n\nstatus=1\n\nstatus=1\nx\n\n')).toBe(
      'status={"fwMark":0}\nerrno=0\n\nerrno=0\n\nstatus={"fwMark":5}\nerrno=0\n\nerrno=22\n\n',
    );
  });

  test('so is drill', async () => {
    Object.assign(backend, { drill: async () => ({ refused: `not while it is ${backend.fwMark}` }) });
    await start();
    expect(await ask('drill=1\n\nset=1\nfwmark=5\n\ndrill=1\n\ndrill=1\nx\n\n')).toBe(
      'drill={"refused":"not while it is 0"}\nerrno=0\n\nerrno=0\n\ndrill={"refused":"not while it is 5"}\nerrno=0\n\nerrno=22\n\n',
    );
  });

  test('what is no request is closed without an answer', async () => {
    await start();
    expect(await ask('GET / HTTP/1.1\r\n\r\n')).toBe('');
    expect(await ask('\n')).toBe('');
    expect(await ask('')).toBe('');
    expect(await ask('get=1')).toBe('');
    expect(await ask('status=1\n\n')).toBe('');
    expect(await ask('drill=1\n\n')).toBe('');
  });
});

describe('errors of the backend', () => {
  const refusing = (error: unknown) => ({
    get: (): UapiState => {
      throw error;
    },
    set: async () => {
      throw error;
    },
  });

  test.each([
    ['a UapiError', new UapiError(98, 'taken'), 98],
    ['an error of Node', Object.assign(new Error('bind'), { errno: -13 }), 13],
    [
      'an error behind another',
      new Error('bind', { cause: Object.assign(new Error('x'), { errno: -98 }) }),
      98,
    ],
    ['a named errno', new TunnelError('ERR_UDP_BIND', 'bind', { errno: 'EADDRINUSE' }), 98],
    ['an error without a number', new TypeError('a mistake of ours'), 55],
    ['something thrown that is no error', 'text', 55],
    ['nothing', undefined, 55],
  ])('%s: with a minus for set, without for get', async (_, error, number) => {
    const server = await UapiServer.listen(path, refusing(error));
    cleanups.push(() => server.close());
    expect(await ask('set=1\n\nget=1\n\n')).toBe(`errno=-${number}\n\nerrno=${number}\n\n`);
  });

  test('the keys of a set are erased when it was applied, and when it failed', async () => {
    const seen: UapiChanges[] = [];
    const wrong = { value: false };
    backend.set = changes => {
      expect(changes.privateKey?.[1]).toBe(0xa1);
      seen.push(changes);
      if (wrong.value) throw new Error('no');
    };
    await start();
    const text = `set=1\nprivate_key=${'a1'.repeat(32)}\npublic_key=${PEER}\npreshared_key=${OTHER}\n\n`;
    await ask(text);
    wrong.value = true;
    await ask(text);
    expect(seen).toHaveLength(2);
    for (const { privateKey, peers } of seen) {
      expect(privateKey).toEqual(key(0));
      expect(peers[0].presharedKey).toEqual(key(0));
    }
  });
});

describe('many clients', () => {
  test('their requests are applied one after another', async () => {
    let running = 0;
    let most = 0;
    const original = backend.set.bind(backend);
    backend.set = async changes => {
      most = Math.max(most, ++running);
      await new Promise(resolve => setImmediate(resolve));
      original(changes);
      running -= 1;
    };
    await start();
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => ask(`set=1\npublic_key=${(i + 16).toString(16).repeat(32)}\n\n`)),
    );
    expect(new Set(answers)).toEqual(new Set(['errno=0\n\n']));
    expect(backend.peers.size).toBe(30);
    expect(most).toBe(1);
  });

  test('half requests, megabyte lines, noise and clients that do not read hold nobody up', async () => {
    backend.set(manyRanges(130_000));
    await start();
    const half = new Raw().send('set=1\nlisten_po');
    const silent = new Raw();
    const deaf = new Raw();
    deaf.socket.pause();
    deaf.send('get=1\n\n');
    const long = new Raw().send(`set=1\nprivate_key=${'a'.repeat(3_000_000)}`);
    const noise = new Raw().send(
      String.fromCharCode(...Array.from({ length: 5000 }, (_, i) => (i * 31) % 256)),
    );
    expect(await long.until(({ closed }) => closed)).toBe('errno=-5\n\n');
    expect(await noise.until(({ closed }) => closed)).toBe('');
    expect(await ask('set=1\nlisten_port=9\n\n')).toBe('errno=0\n\n');
    expect(backend.listenPort).toBe(9);
    expect(half.closed || silent.closed || deaf.closed).toBe(false);
    // The deaf one may still change its mind, and gets the state of its request, whole.
    deaf.socket.resume();
    const answer = await deaf.until(({ received }) => received.endsWith('errno=0\n\n'));
    expect(answer.match(/^allowed_ip=/gm)).toHaveLength(130_000);
    expect(answer).not.toContain('listen_port=9');
    half.send('rt=10\n\n');
    expect(await half.until(({ received }) => received !== '')).toBe('errno=0\n\n');
  });

  test('who stops in a request, drips it, or does not read its answer is dropped in time; who waits between requests is not', async () => {
    backend.set(manyRanges(130_000));
    await start({ timeoutMs: 150 });
    const waiting = new Raw().send('get=1\n\n');
    const half = new Raw().send('set=1\nlisten_port=1\n');
    const dripping = new Raw().send('set=1\n');
    const drip = setInterval(() => dripping.send('f'), 20);
    cleanups.push(() => clearInterval(drip));
    const deaf = new Raw();
    deaf.socket.pause();
    deaf.send('get=1\n\n');
    await half.until(({ closed }) => closed);
    await dripping.until(({ closed }) => closed);
    await eventually(() => logged.some(line => line.includes('not read')));
    await waiting.until(({ received }) => received.endsWith('errno=0\n\n'));
    expect(waiting.closed).toBe(false);
    waiting.received = '';
    waiting.send('set=1\n\n');
    await waiting.until(({ received }) => received === 'errno=0\n\n');
    expect(backend.listenPort).toBe(0);
  });

  test('beyond the limit the oldest idle client makes room, and busy ones stay', async () => {
    const server = await start({ maxConnections: 3 });
    const busy = [0, 1].map(() => new Raw().send('set=1\n'));
    await eventually(() => server.connections === 2);
    const idle = new Raw().send('get=1\n\n');
    await idle.until(({ received }) => received !== '');
    const next = new Raw().send('set=1\n');
    await idle.until(({ closed }) => closed);
    await eventually(() => server.connections === 3);
    expect(await new Raw().send('get=1\n\n').until(({ closed }) => closed)).toBe('');
    for (const raw of [...busy, next]) {
      raw.send('fwmark=4\n\n');
      expect(await raw.until(({ received }) => received !== '')).toBe('errno=0\n\n');
    }
  });

  test('a client that goes away in the midst of its answer harms nobody', async () => {
    backend.set(manyRanges(50_000));
    const server = await start();
    for (let i = 0; i < 5; i++) {
      const raw = new Raw().send('get=1\n\nget=1\n\nset=1\nfwm');
      await raw.until(({ received }) => received.length > 0);
      raw.socket.destroy();
    }
    expect(await ask('set=1\nfwmark=3\n\n')).toBe('errno=0\n\n');
    await eventually(() => server.connections === 0);
  });
});

describe('the socket', () => {
  test('belongs to its owner alone, and goes at the end with nothing left behind', async () => {
    const server = await start();
    expect((await lstat(path)).mode & 0o777).toBe(0o600);
    expect((await lstat(path)).isSocket()).toBe(true);
    expect(await readdir(join(folder, 'run'))).toEqual(['wg0.sock']);
    await server.close();
    expect(await readdir(join(folder, 'run'))).toEqual([]);
    await server.close();
  });

  test('of a living program is not taken: ERR_UAPI_IN_USE', async () => {
    await start();
    await expect(UapiServer.listen(path, backend)).rejects.toMatchObject({ code: 'ERR_UAPI_IN_USE' });
    expect(await ask('get=1\n\n')).toBe('errno=0\n\n');
    expect(await readdir(join(folder, 'run'))).toEqual(['wg0.sock']);
  });

  test('of two that start at once, one gets it', async () => {
    const starts = await Promise.allSettled([1, 2, 3, 4].map(() => start()));
    expect(starts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of starts) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'ERR_UAPI_IN_USE' });
    }
    expect(await ask('get=1\n\n')).toBe('errno=0\n\n');
  });

  test('of a program that was killed is replaced', async () => {
    await (await start()).close();
    const child = spawn(
      process.execPath,
      ['-e', `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const ended = new Promise(resolve => child.once('exit', resolve));
    cleanups.push(() => child.kill('SIGKILL'));
    await new Promise(resolve => child.stdout.once('data', resolve));
    await expect(UapiServer.listen(path, backend)).rejects.toMatchObject({ code: 'ERR_UAPI_IN_USE' });
    child.kill('SIGKILL');
    await ended;
    expect(existsSync(path)).toBe(true);
    await start();
    expect(await ask('get=1\n\n')).toBe('errno=0\n\n');
  });

  test('is not put over a file that is none, nor at a path that is too long: ERR_UAPI_LISTEN', async () => {
    const file = join(folder, 'file.sock');
    await writeFile(file, 'precious');
    await expect(UapiServer.listen(file, backend)).rejects.toMatchObject({ code: 'ERR_UAPI_LISTEN' });
    expect((await lstat(file)).size).toBe(8);
    const long = join(folder, 'x'.repeat(120));
    await expect(UapiServer.listen(long, backend)).rejects.toMatchObject({ code: 'ERR_UAPI_LISTEN' });
    const below = join(file, 'wg0.sock');
    await expect(UapiServer.listen(below, backend)).rejects.toMatchObject({ code: 'ERR_UAPI_LISTEN' });
    expect(await readdir(folder)).toEqual(['file.sock']);
  });

  test('removed or replaced by another is noticed once, and the other one stays', async () => {
    let removals = 0;
    const server = await start({ onRemoved: () => removals++ });
    await writeFile(join(folder, 'run', 'unrelated'), '');
    await unlink(path);
    const second = await UapiServer.listen(path, backend);
    cleanups.push(() => second.close());
    await eventually(() => removals > 0);
    await server.close();
    expect(removals).toBe(1);
    expect(await ask('get=1\n\n')).toBe('errno=0\n\n');
  });

  test('removed before anybody watches it is noticed too', async () => {
    const bound = createServer();
    path = join(folder, 'adopted.sock');
    await new Promise<void>(resolve => bound.listen(path, resolve));
    cleanups.push(() => new Promise(resolve => bound.close(resolve)));
    const { fd } = Reflect.get(bound, '_handle') as { fd: number };
    const duplicate = koffi.load(null).func('int dup(int fd)')(fd) as number;
    const { at } = SocketFile;
    vi.spyOn(SocketFile, 'at').mockImplementationOnce(async name => {
      const file = await at.call(SocketFile, name);
      await unlink(name);
      return file;
    });
    cleanups.push(() => vi.restoreAllMocks());
    let removals = 0;
    const server = await UapiServer.adopt(duplicate, path, backend, { onRemoved: () => removals++ });
    cleanups.push(() => server.close());
    await eventually(() => removals > 0);
    expect(removals).toBe(1);
  });

  test('is adopted when it listens already, and removed at the end', async () => {
    const bound = createServer();
    const first = join(folder, 'first.sock');
    path = join(folder, 'adopted.sock');
    await new Promise<void>(resolve => bound.listen(first, resolve));
    const { fd } = Reflect.get(bound, '_handle') as { fd: number };
    // A descriptor of our own, as a process inherits one, and a name that outlives the first owner.
    const duplicate = koffi.load(null).func('int dup(int fd)')(fd) as number;
    await link(first, path);
    await new Promise(resolve => bound.close(resolve));
    const server = await UapiServer.adopt(duplicate, path, backend);
    cleanups.push(() => server.close());
    expect(await ask('set=1\nfwmark=5\n\n')).toBe('errno=0\n\n');
    expect(backend.fwMark).toBe(5);
    await server.close();
    expect(await readdir(folder)).toEqual([]);
  });

  test('a descriptor that is no socket is refused', async () => {
    await expect(UapiServer.adopt(9999, undefined, backend)).rejects.toMatchObject({
      code: 'ERR_UAPI_LISTEN',
    });
  });

  test('closing lets the request at work finish, and sends everybody away', async () => {
    let finish: (() => void) | undefined;
    backend.set = () => new Promise<void>(resolve => (finish = resolve));
    const server = await start();
    const idle = new Raw();
    const raw = new Raw().send('set=1\n\n');
    await eventually(() => server.connections === 2 && finish !== undefined);
    const closed = server.close();
    finish?.();
    await closed;
    expect(await raw.until(each => each.closed)).toBe('errno=0\n\n');
    await idle.until(each => each.closed);
  });
});

function manyRanges(count: number): UapiChanges {
  const allowedIps = Array.from({ length: count }, (_, i) => ({
    ip: Uint8Array.of(10, i >> 16, i >> 8, i),
    prefix: 32,
    remove: false,
  }));
  const peer = { publicKey: key(1), remove: false, updateOnly: false, replaceAllowedIps: false, allowedIps };
  return { replacePeers: false, peers: [peer] };
}
