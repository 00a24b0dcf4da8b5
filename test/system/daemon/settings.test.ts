// What the daemon is told beside `wg`: its file, WebSocket peers, names, hook, metrics; and descriptors from others.

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { requireLibc } from '../../../tunnel/linux/libc.js';
import { LinuxTun } from '../../../tunnel/linux/tun/tun.js';
import { socketPath } from '../../../tunnel/daemon/uapi/index.js';
import { run, until } from '../support/run.js';
import {
  atEnd,
  closeMachines,
  endpoint,
  folder,
  freshName,
  INNER,
  Machine,
  PROGRAM,
  startPair,
} from './support/machine.js';

afterEach(closeMachines);

/** A file of settings. */
function settings(text: string): string {
  const path = join(folder(), 'wg.conf');
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

describe('WebSocket peers', () => {
  test('are dialled as the file says when wg adds them, and route beside UDP peers', async () => {
    // C is the hub: A comes by UDP, B by a WebSocket.
    const pair = await startPair({ b: { flags: ['--listen-websocket', '8443'] } });
    const { a, b: hub, outer } = pair;
    const conf = settings(
      `[Interface]\n[Peer]\nPublicKey = ${hub.publicKey}\nEndpoint = ws://${outer.b}:8443/\n`,
    );
    const c = await Machine.start({ namespace: a.namespace, flags: ['--config', conf] });
    await c.up('10.77.1.3/24');
    await hub.wg('set', hub.name, 'peer', c.publicKey, 'allowed-ips', '10.77.1.3/32');
    await hub.ip('route', 'add', '10.77.1.3/32', 'dev', hub.name);
    await c.wg('set', c.name, 'peer', hub.publicKey, 'allowed-ips', `${INNER.b4}/32`);
    await c.ip('route', 'add', `${INNER.b4}/32`, 'dev', c.name, 'src', '10.77.1.3', 'table', '77');
    await c.ip('rule', 'add', 'from', '10.77.1.3', 'table', '77');
    expect(await c.exec('ping', '-n', '-q', '-c', '1', '-W', '20', '-I', '10.77.1.3', INNER.b4)).toContain(
      ' 1 received',
    );
    expect(await a.ping(INNER.b4)).toBe(3);

    const { peers, webSockets } = await hub.status();
    expect(webSockets).toEqual(['[::]:8443']);
    expect(peers.map(({ hasSession }) => hasSession)).toEqual([true, true]);
    expect((await c.status()).peers[0].endpoint).toBe(`ws://${outer.b}:8443/`);
    // `wg` knows no URLs, and is shown none.
    expect(await c.show('endpoints', hub.publicKey)).toBe('(none)');
    expect(await c.wg('show', c.name)).toContain('latest handshake');
  });
});

describe('names', () => {
  test('are resolved, and again when the peer stays silent: it is found where it has moved', async () => {
    const pair = await startPair({ b: { kind: 'wireguard-go' } });
    const { a, b, outer, ports } = pair;
    // `ip netns exec` lays this file over /etc/hosts.
    const etc = `/etc/netns/${a.namespace}`;
    mkdirSync(etc, { recursive: true });
    atEnd(() => rmSync(etc, { recursive: true, force: true }));
    const hosts = (address: string) => writeFileSync(join(etc, 'hosts'), `${address} home.example\n`);
    // Nobody is there.
    hosts('192.168.77.77');
    const conf = settings(`[Peer]\nPublicKey = ${b.publicKey}\nEndpoint = home.example:${ports.b}\n`);
    await a.end('SIGTERM');
    const named = await Machine.start({ namespace: a.namespace, flags: ['--config', conf] });
    await named.up(`${INNER.a4}/24`);
    await b.wg('set', b.name, 'peer', named.publicKey, 'allowed-ips', `${INNER.a4}/32`);
    await named.wg('set', named.name, 'peer', b.publicKey, 'allowed-ips', `${INNER.b4}/32`);
    await until(
      'the first resolution',
      async () => (await named.show('endpoints', b.publicKey)) !== '(none)',
    );
    expect(await named.show('endpoints', b.publicKey)).toBe(endpoint('192.168.77.77', ports.b));
    hosts(outer.b);
    expect(await named.ping(INNER.b4, { count: 1, waitS: 25 })).toBe(1);
    expect(await named.show('endpoints', b.publicKey)).toBe(endpoint(outer.b, ports.b));
  });
});

describe('the settings of a daemon', () => {
  test('the hook announces a fork, the metrics count it, and policy hold keeps silent until a new key', async () => {
    const hook = join(folder(), 'hook');
    const conf = settings(
      `[Interface]\nForkPolicy = hold\nHook = ${hook}\nMetrics = 9586\nSuite = noble\nKmsg = off\n`,
    );
    const { a, b } = await startPair({ a: { flags: ['--config', conf] } });
    expect(await a.ping(INNER.b4)).toBe(3);
    const scrape = () => fetchIn(a, 'http://127.0.0.1:9586/metrics');
    expect(await scrape()).toContain(`wireonce_forks_total{interface="${a.name}"} 0\n`);
    const guid = '00112233-4455-6677-8899-aabbccddeeff';
    const answer = await fetchIn(a, 'http://localhost/fork', hook, JSON.stringify({ vmGenId: guid }));
    expect(JSON.parse(answer)).toMatchObject({ epoch: 2 });

    expect(await a.ping(INNER.b4, { count: 2, waitS: 1 })).toBe(0);
    const text = await scrape();
    for (const line of ['wireonce_forks_total', 'wireonce_held']) {
      expect(text).toContain(`${line}{interface="${a.name}"} 1\n`);
    }
    expect(text).not.toContain(a.privateKey);
    const status = await a.status();
    expect(status).toMatchObject({ held: true, epoch: 2, forks: 1, suite: 'noble', forkPolicy: 'hold' });
    expect(status.hints.join()).toContain('set a new private key');
    expect(a.log()).toMatch(/forked: hook:.* shows a new generation 00112233-.*; epoch 2 begins/);

    const key = (await run('wg', ['genkey'])).trim();
    const name = (await run('wg', ['pubkey'], key)).trim();
    await b.wg('set', b.name, 'peer', a.publicKey, 'remove');
    await b.wg('set', b.name, 'peer', name, 'allowed-ips', `${INNER.a4}/32,${INNER.a6}/128`);
    await a.wg('set', a.name, 'private-key', a.file('key', key));
    expect(await a.ping(INNER.b4)).toBe(3);
  });
});

describe('descriptors of whoever started it', () => {
  test('WG_TUN_FD and WG_UAPI_FD are served', async () => {
    const name = freshName();
    const path = socketPath(name);
    atEnd(() => rmSync(path, { force: true }));
    const tun = LinuxTun.create(requireLibc(), { name });
    // Binds the socket, starts the daemon with both, and is gone: a socket that it closed would lose its name.
    const launcher = `
      const server = require('node:net').createServer().listen(${JSON.stringify(path)}, () => {
        const stdio = ['ignore', 'ignore', 'ignore', 3, server._handle.fd];
        const env = { ...process.env, WG_TUN_FD: '3', WG_UAPI_FD: '4' };
        const args = [${JSON.stringify(PROGRAM)}, '--foreground', ${JSON.stringify(name)}];
        console.log(require('node:child_process').spawn(process.execPath, args, { stdio, env, detached: true }).pid);
        process.exit();
      });
    `;
    const started = spawn(process.execPath, ['-e', launcher], {
      stdio: ['ignore', 'pipe', 'inherit', tun.fd],
    });
    let pid = '';
    started.stdout?.on('data', piece => (pid += piece));
    await new Promise(resolve => started.once('close', resolve));
    atEnd(() => run('sh', ['-c', `kill -9 ${pid} 2>/dev/null || true`]));
    tun.close();

    const key = (await run('wg', ['genkey'])).trim();
    const file = join(folder(), 'key');
    writeFileSync(file, key, { mode: 0o600 });
    await run('wg', ['set', name, 'private-key', file, 'listen-port', '51875']);
    expect(await run('wg', ['show', name, 'listen-port'])).toBe('51875\n');
    process.kill(Number(pid), 'SIGTERM');
    await until('the interface to go', async () => !(await run('ip', ['-br', 'link'])).includes(name));
    await until('the socket to go', () => !existsSync(path));
  });
});

/** A request from inside the namespace of a machine; a POST where there is a body, by a Unix socket where one is named. */
function fetchIn(machine: Machine, url: string, socket?: string, body?: string): Promise<string> {
  const script = `
    const { request } = require('node:http');
    const [url, socketPath, body] = JSON.parse(process.argv[1]);
    const options = { method: body ? 'POST' : 'GET', ...(socketPath && { socketPath }) };
    request(url, options, response => response.pipe(process.stdout)).end(body ?? undefined);
  `;
  return machine.exec(process.execPath, '-e', script, JSON.stringify([url, socket, body]));
}
