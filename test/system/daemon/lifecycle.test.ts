// The life of a daemon: how it starts, in whose place it may start, and what ends it, with nothing left behind.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { socketPath } from '../../../tunnel/daemon/uapi/index.js';
import { run, until } from '../support/run.js';
import { atEnd, closeMachines, folder, freshName, Machine, namespace, PROGRAM } from './support/machine.js';

afterEach(closeMachines);

interface Outcome {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** The program in a namespace, to its end. */
function wireonce(ns: string, args: readonly string[], env: Record<string, string> = {}): Outcome {
  const { status, stdout, stderr } = spawnSync(
    'ip',
    ['netns', 'exec', ns, process.execPath, PROGRAM, ...args],
    {
      encoding: 'utf8',
      env: { ...process.env, ...env },
    },
  );
  return { status, out: stdout, err: stderr };
}

/** A name for an interface whose daemon is ended after the test. */
function name(ns: string): string {
  const made = freshName();
  atEnd(async () => {
    spawnSync('ip', ['-n', ns, 'link', 'del', made]);
    await until('the socket to go', () => !existsSync(socketPath(made)));
  });
  return made;
}

async function links(ns: string): Promise<string[]> {
  const shown = JSON.parse(await run('ip', ['-n', ns, '-j', 'link', 'show'])) as { ifname: string }[];
  return shown.map(({ ifname }) => ifname);
}

describe('in the background', () => {
  test('the socket stands and answers when the command returns, for root alone', async () => {
    const ns = await namespace();
    const wg = name(ns);
    expect(wireonce(ns, [wg])).toEqual({ status: 0, out: '', err: '' });
    expect(await links(ns)).toContain(wg);
    expect(statSync(socketPath(wg)).mode & 0o777).toBe(0o600);
    expect(await run('wg', ['show', wg, 'fwmark'])).toBe('off\n');
    const status = wireonce(ns, ['status', wg]);
    expect([status.status, status.err]).toEqual([0, '']);
    expect(status.out).toContain(`interface: ${wg}\n`);
  });

  test('a second start on a live interface is refused with a clear error, and the first goes on', async () => {
    const ns = await namespace();
    const wg = name(ns);
    expect(wireonce(ns, [wg]).status).toBe(0);
    for (const args of [[wg], ['-f', wg]]) {
      const second = wireonce(ns, args);
      expect(second.status).toBe(1);
      expect(second.err).toBe(`wireonce: ${wg} is served already: something answers at its socket\n`);
    }
    expect(await run('wg', ['show', wg, 'listen-port'])).toMatch(/^\d+\n$/);
  });

  test('what cannot work is told by the command, and nothing is left', async () => {
    const ns = await namespace();
    await run('ip', ['-n', ns, 'link', 'add', 'taken0', 'type', 'veth', 'peer', 'taken1']);
    const taken = wireonce(ns, ['taken0']);
    expect(taken.status).toBe(1);
    expect(taken.err).toMatch(/^wireonce: taken0 is an interface already, and of another kind/);
    const wg = freshName();
    for (const args of [
      ['--metrics', '192.0.2.1:9'],
      ['--listen-websocket', '192.0.2.1:9'],
      ['--hook', '/nonexistent/hook'],
      ['--generation-file', '/nonexistent/generation'],
      ['--strict', '--no-vmclock', '--no-acpi', '--no-bpf'],
      ['--fork-policy', 'panic'],
      ['--config', '/nonexistent.conf'],
    ]) {
      const refused = wireonce(ns, [...args, wg]);
      expect(refused.status, args.join(' ')).toBeGreaterThan(0);
      expect(refused.err, args.join(' ')).toMatch(/^wireonce: /);
      expect(await links(ns)).not.toContain(wg);
      expect(existsSync(socketPath(wg))).toBe(false);
    }
  });

  test('its log goes where the command’s output went, when it was asked for', async () => {
    const ns = await namespace();
    const wg = name(ns);
    const log = `${folder()}/log`;
    const child = spawn(
      'sh',
      ['-c', `exec ip netns exec ${ns} ${process.execPath} ${PROGRAM} ${wg} 2>${log} >&2`],
      { env: { ...process.env, LOG_LEVEL: 'verbose' }, stdio: 'ignore' },
    );
    await new Promise(resolve => child.once('exit', resolve));
    expect(await run('cat', [log])).toContain(`serves ${wg}; protection against forks:`);
  });
});

describe('a stale socket', () => {
  test('is replaced', async () => {
    const ns = await namespace();
    const wg = name(ns);
    const path = socketPath(wg);
    mkdirSync(dirname(path), { recursive: true });
    // Bound, and its process gone without a word.
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    expect(existsSync(path)).toBe(true);
    expect(wireonce(ns, [wg]).status).toBe(0);
    expect(await run('wg', ['show', wg, 'fwmark'])).toBe('off\n');
  });

  test('that is no socket is left alone, and named', async () => {
    const ns = await namespace();
    const wg = freshName();
    const path = socketPath(wg);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, 'precious');
    atEnd(() => run('rm', ['-f', path]));
    const refused = wireonce(ns, [wg]);
    expect(refused.status).toBe(1);
    expect(refused.err).toContain(path);
    expect(await run('cat', [path])).toBe('precious');
    expect(await links(ns)).not.toContain(wg);
  });

  test('that lives belongs to whoever lives', async () => {
    const ns = await namespace();
    const wg = freshName();
    const server = createServer(socket => socket.end());
    await new Promise<void>(resolve => server.listen(socketPath(wg), resolve));
    atEnd(() => server.close());
    const child = spawn('ip', ['netns', 'exec', ns, process.execPath, PROGRAM, wg], { stdio: 'ignore' });
    const status = await new Promise(resolve => child.once('exit', resolve));
    expect(status).toBe(1);
    expect(existsSync(socketPath(wg))).toBe(true);
  });
});

describe('the end', () => {
  const isGone = async (machine: Machine) => {
    expect(await links(machine.namespace)).not.toContain(machine.name);
    expect(existsSync(socketPath(machine.name))).toBe(false);
  };

  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s ends it with 0 and takes link and socket away',
    async signal => {
      const machine = await Machine.start();
      expect(await machine.end(signal)).toBe(0);
      await isGone(machine);
    },
  );

  test('a second signal ends it at once, wherever the first has brought it', async () => {
    for (let i = 0; i < 8; i++) {
      const machine = await Machine.start();
      process.kill(machine.pid, 'SIGTERM');
      process.kill(machine.pid, 'SIGTERM');
      expect([0, 143]).toContain(await machine.ended());
      expect(await links(machine.namespace)).not.toContain(machine.name);
    }
  });

  test('a process that exits without closing its device thread does exit', async () => {
    const ns = await namespace();
    const at = (module: string) => JSON.stringify(new URL(module, pathToFileURL(PROGRAM)).href);
    const script = `
      const { DeviceThread } = await import(${at('../tunnel/daemon/device-thread.js')});
      const { openCrng } = await import(${at('../tunnel/loop/open-crng.js')});
      const { openVmGenId } = await import(${at('../vmgenid/index.js')});
      const vmgenid = await openVmGenId();
      const { crng } = await openCrng({ vmgenid });
      await DeviceThread.start({ tun: { name: '${freshName()}' }, vmgenid, crng, version: '' });
      // By now it sleeps.
      setTimeout(() => process.exit(7), 500);`;
    const path = join(folder(), 'exits.mjs');
    writeFileSync(path, script);
    const { status, stderr } = spawnSync('ip', ['netns', 'exec', ns, process.execPath, path], {
      encoding: 'utf8',
      timeout: 60_000,
      killSignal: 'SIGKILL',
    });
    expect([status, stderr]).toEqual([7, '']);
  });

  test('the link’s deletion ends it with 0', async () => {
    const machine = await Machine.start();
    await machine.ip('link', 'del', machine.name);
    expect(await machine.ended()).toBe(0);
    await isGone(machine);
    expect(machine.log()).toContain('Ending: the interface was deleted');
  });

  test('so does its deletion in the namespace to which it was moved', async () => {
    const machine = await Machine.start();
    const other = await namespace();
    await machine.ip('link', 'set', machine.name, 'netns', other);
    await run('ip', ['-n', other, 'link', 'set', machine.name, 'up']);
    await machine.listenPort();
    await run('ip', ['-n', other, 'link', 'del', machine.name]);
    expect(await machine.ended()).toBe(0);
    await isGone(machine);
  });

  test('the removal of its socket ends it, as it ends wireguard-go', async () => {
    const machine = await Machine.start();
    await run('rm', [socketPath(machine.name)]);
    expect(await machine.ended()).toBe(0);
    await isGone(machine);
  });

  test('a terminal that goes away does not end it', async () => {
    const ns = await namespace();
    const wg = name(ns);
    // `script` gives it a terminal, which is gone when the shell is.
    const command = `ip netns exec ${ns} ${process.execPath} ${PROGRAM} ${wg}`;
    spawnSync('script', ['-qec', command, '/dev/null'], { env: { ...process.env, LOG_LEVEL: 'verbose' } });
    await run('ip', ['-n', ns, 'link', 'set', wg, 'up']);
    await until('a port', async () => Number(await run('wg', ['show', wg, 'listen-port'])));
    await run('ip', ['-n', ns, 'link', 'set', wg, 'down']);
    expect(await run('wg', ['show', wg, 'fwmark'])).toBe('off\n');
  });

  test('kill -9 leaves a socket that the next start replaces, and no link', async () => {
    const machine = await Machine.start();
    process.kill(machine.pid, 'SIGKILL');
    await machine.ended();
    expect(await links(machine.namespace)).not.toContain(machine.name);
    expect(existsSync(socketPath(machine.name))).toBe(true);
    expect(wireonce(machine.namespace, ['status', machine.name]).err).toContain('left by one that died');
    await machine.launch();
    expect(await run('wg', ['show', machine.name, 'public-key'])).toBe(`${machine.publicKey}\n`);
  });
});

test('wireonce status says that wireguard-go has none', async () => {
  const machine = await Machine.start({ kind: 'wireguard-go' });
  const { status, out, err } = wireonce(machine.namespace, ['status', machine.name]);
  expect([status, out]).toEqual([1, '']);
  expect(err).toContain(`another implementation runs it, which has no status: try wg show ${machine.name}`);
});
