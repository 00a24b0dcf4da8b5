// The hook's door: whatever strangers do at the port, the call of whoever knows the token is answered.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { VmGenId } from '../../vmgenid/driver.js';
import { HookSource, type HookSourceOptions } from '../../vmgenid/sources/hook.js';

const TOKEN = 'correct horse battery';
const STRANGERS = fileURLToPath(new URL('../support/strangers.mjs', import.meta.url));
/** Far more than an answer takes, on a machine with much else to do. */
const PATIENCE_MS = 30_000;
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function hooked(options: HookSourceOptions = { token: TOKEN }) {
  const hook = new HookSource('127.0.0.1:0', options);
  const vm = new VmGenId([hook]);
  closers.push(() => vm.close());
  await vm.start();
  return { vm, port: Number(hook.address?.split(':')[1]) };
}

/** Resolves when so many connections were made; they stay, and go on with what they do. */
async function strangers(port: number, kind: string, count: number): Promise<ChildProcess> {
  const child = fork(STRANGERS, [String(port), kind, String(count)]);
  const ended = once(child, 'exit');
  closers.push(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await Promise.race([
    once(child, 'message'),
    ended.then(([status]) => {
      throw new Error(`strangers ended with ${status}`);
    }),
  ]);
  return child;
}

/** The status of a call, or what became of it instead. */
function call(port: number, authorization = `Bearer ${TOKEN}`): Promise<number | string | undefined> {
  return new Promise(resolve => {
    const headers = { authorization };
    const out = request({ host: '127.0.0.1', port, path: '/fork', method: 'POST', headers, agent: false });
    out.setTimeout(PATIENCE_MS, () => out.destroy(new Error('no answer')));
    out.on('response', answer => resolve(answer.resume().statusCode));
    out.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    out.end('{}');
  });
}

describe('at a port with a token', () => {
  it.each([
    ['silent', 40],
    ['silent', 1_000],
    ['silent', 5_000],
    ['halfHead', 1_500],
    ['slowBody', 1_500],
    ['endlessBody', 300],
    ['wrongToken', 1_500],
    ['pipelined', 300],
    ['churn', 2_000],
  ])('%s strangers, %i of them, do not keep a call from its answer', async (kind, count) => {
    const { vm, port } = await hooked();
    await strangers(port, kind, count);
    for (let epoch = 2; epoch < 7; epoch++) {
      expect(await call(port)).toBe(200);
      expect(vm.epoch).toBe(epoch);
    }
    // Nothing that they did was taken for a call.
    expect(await call(port, 'Bearer wrong')).not.toBe(200);
    expect(vm.epoch).toBe(6);
  });

  it('control: a server that has so many places and no more is silenced by 40 silent strangers', async () => {
    const server = createServer((_, response) => response.end()).listen(0, '127.0.0.1');
    server.maxConnections = 32;
    await once(server, 'listening');
    closers.push(
      () => server.closeAllConnections(),
      () => server.close(),
    );
    const { port } = server.address() as AddressInfo;
    await strangers(port, 'silent', 40);
    expect(await call(port)).toMatch(/ECONNRESET|EPIPE|socket hang up/);
  });

  it('a call that has shown the token does not give way, however long its body takes', async () => {
    const { vm, port } = await hooked({ token: TOKEN, requestTimeoutMs: 1_000_000 });
    const agent = await begin(port, `Authorization: Bearer ${TOKEN}\r\n`);
    const stranger = await begin(port, '');
    await strangers(port, 'silent', 2_000);
    // Control: who came with it and showed none has given way.
    expect(await stranger.answer).not.toMatch(/ 200 /);
    agent.socket.write('{}');
    expect(await agent.answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(vm.epoch).toBe(2);
  });

  it('one who never shows it is told so, and gone, when its time is over', async () => {
    const { port } = await hooked({ token: TOKEN, requestTimeoutMs: 50 });
    const silent = connect(port, '127.0.0.1');
    closers.push(() => silent.destroy());
    expect(await answerOf(silent)).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('a call that was told that it came too late is not taken when the rest of it arrives', async () => {
    const { vm, port } = await hooked({ token: TOKEN, requestTimeoutMs: 50 });
    const agent = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    closers.push(() => agent.destroy());
    agent.write(
      `POST /fork HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Length: 2\r\n\r\n{`,
    );
    const [first] = (await once(agent, 'data')) as [Buffer];
    expect(first.toString()).toMatch(/^HTTP\/1\.1 408 /);
    const closed = once(agent, 'close');
    agent.on('error', () => {});
    agent.end('}');
    await closed;
    // Control: whatever it sent is behind us when the next call is answered, the first that counts.
    expect(await call(port)).toBe(200);
    expect(vm.epoch).toBe(2);
  });

  it('one without it is refused at its first lines, before a body', async () => {
    const { port } = await hooked({ token: TOKEN, requestTimeoutMs: 1_000_000 });
    expect(await (await begin(port, '')).answer).toMatch(/^HTTP\/1\.1 401 .*WWW-Authenticate: Bearer/s);
  });

  it('a call whose pieces arrive one by one is heard', async () => {
    const { vm, port } = await hooked();
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    closers.push(() => socket.destroy());
    const answer = answerOf(socket);
    for (const byte of `POST /fork HTTP/1.1\r\nHost: localhost\r\nauthorization:  Bearer ${TOKEN} \r\nContent-Length: 2\r\n\r\n{}`) {
      socket.write(byte);
      await new Promise(resolve => setImmediate(resolve));
    }
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(vm.epoch).toBe(2);
  });
});

describe('at a port without a token', () => {
  it.each([
    ['silent', 2_000],
    ['halfHead', 1_500],
    ['slowBody', 1_500],
    ['churn', 2_000],
  ])('%s strangers, %i of them, do not keep a call from its answer either', async (kind, count) => {
    const { vm, port } = await hooked({});
    await strangers(port, kind, count);
    for (let epoch = 2; epoch < 7; epoch++) expect(await call(port)).toBe(200);
    expect(vm.epoch).toBe(6);
  });

  it('a call that waits for subscribers does not give way', async () => {
    const { vm, port } = await hooked({});
    let release = () => {};
    const told = new Promise<void>(resolve => {
      vm.register('application', () => {
        resolve();
        return new Promise<void>(done => {
          release = done;
        });
      });
    });
    const answered = call(port);
    await told;
    await strangers(port, 'silent', 2_000);
    release();
    expect(await answered).toBe(200);
  });

  it('more calls than may wait for subscribers are heard all the same', async () => {
    const { vm, port } = await hooked({ settleTimeoutMs: 1_000_000 });
    let release = () => {};
    vm.register(
      'application',
      () =>
        new Promise<void>(done => {
          const before = release;
          release = () => {
            before();
            done();
          };
        }),
    );
    const calls = Array.from({ length: 80 }, () => call(port));
    // Those that may not wait are answered while nobody is done.
    expect(await Promise.race(calls)).toBe(504);
    while (vm.epoch < 81) await new Promise(resolve => setTimeout(resolve, 10));
    release();
    const answers = await Promise.all(calls);
    expect(answers.filter(status => status === 200)).toHaveLength(64);
    expect(answers.filter(status => status === 504)).toHaveLength(16);
  });
});

/** A call up to its body. */
async function begin(port: number, header: string) {
  const socket = connect(port, '127.0.0.1');
  closers.push(() => socket.destroy());
  const answer = answerOf(socket);
  await once(socket, 'connect');
  socket.write(`POST /fork HTTP/1.1\r\nHost: localhost\r\n${header}Content-Length: 2\r\n\r\n`);
  return { socket, answer };
}

/** All that comes until the connection ends. */
function answerOf(socket: Socket): Promise<string> {
  return new Promise(resolve => {
    let answer = '';
    socket.on('data', chunk => {
      answer += String(chunk);
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
  });
}
