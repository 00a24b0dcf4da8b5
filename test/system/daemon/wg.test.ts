// `wg` and `wg-quick` against the daemon: every key, live changes, and twenty times up and down.

import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
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
  namespace,
  PROGRAM,
  startPair,
} from './support/machine.js';

afterEach(closeMachines);

/** How many daemons of this interface run. */
function daemonsOf(name: string): number {
  const commandLines = readdirSync('/proc')
    .filter(pid => /^\d+$/.test(pid))
    .map(pid => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        // It has ended meanwhile.
        return '';
      }
    });
  return commandLines.filter(line => line.endsWith(`--foreground\0--\0${name}\0`)).length;
}

const newKey = async () => (await run('wg', ['genkey'])).trim();
const publicOf = async (key: string) => (await run('wg', ['pubkey'], key)).trim();

describe('wg set, show, showconf, setconf, syncconf, addconf', () => {
  test('every key is set, shown, and cleared', async () => {
    const machine = await Machine.start();
    const { name } = machine;
    const peer = await publicOf(await newKey());
    const psk = (await run('wg', ['genpsk'])).trim();
    await machine.wg('set', name, 'listen-port', '51871', 'fwmark', '0x2a');
    const settings = [
      'endpoint',
      '192.0.2.7:4500',
      'persistent-keepalive',
      '25',
      'allowed-ips',
      '10.0.0.0/8,fd00::/8',
    ];
    await machine.wg('set', name, 'peer', peer, 'preshared-key', machine.file('psk', psk), ...settings);

    expect(await machine.wg('show', name, 'dump')).toBe(
      `${machine.privateKey}\t${machine.publicKey}\t51871\t0x2a\n` +
        `${peer}\t${psk}\t192.0.2.7:4500\t10.0.0.0/8,fd00::/8\t0\t0\t0\t25\n`,
    );
    expect(await machine.wg('showconf', name)).toBe(`[Interface]
ListenPort = 51871
FwMark = 0x2a
PrivateKey = ${machine.privateKey}

[Peer]
PublicKey = ${peer}
PresharedKey = ${psk}
AllowedIPs = 10.0.0.0/8, fd00::/8
Endpoint = 192.0.2.7:4500
PersistentKeepalive = 25
`);
    expect(await machine.wg('show', name)).toContain('  allowed ips: 10.0.0.0/8, fd00::/8');

    await machine.wg('set', name, 'fwmark', 'off', 'listen-port', '0', 'private-key', '/dev/null');
    await machine.wg(
      'set',
      name,
      'peer',
      peer,
      'preshared-key',
      '/dev/null',
      'persistent-keepalive',
      'off',
      'allowed-ips',
      '',
    );
    expect(await machine.wg('show', name, 'dump')).toBe(
      `(none)\t(none)\t0\toff\n${peer}\t(none)\t192.0.2.7:4500\t(none)\t0\t0\t0\toff\n`,
    );
    await machine.wg('set', name, 'peer', peer, 'remove');
    expect(await machine.wg('show', name, 'peers')).toBe('');
  });

  test('what showconf writes, setconf reads back as the same', async () => {
    const machine = await Machine.start();
    const peers = await Promise.all(Array.from({ length: 3 }, async () => publicOf(await newKey())));
    for (const [i, peer] of peers.entries()) {
      await machine.wg(
        'set',
        machine.name,
        'peer',
        peer,
        'allowed-ips',
        `10.${i}.0.0/16`,
        'endpoint',
        `[2001:db8::${i}]:7`,
      );
    }
    const shown = await machine.wg('showconf', machine.name);
    const other = await Machine.start();
    await other.wg('setconf', other.name, other.file('conf', shown));
    expect(await other.wg('showconf', other.name)).toBe(shown);
  });

  test('setconf replaces, addconf adds, syncconf changes what differs', async () => {
    const machine = await Machine.start();
    const { name } = machine;
    const [one, two] = [await publicOf(await newKey()), await publicOf(await newKey())];
    const conf = (peer: string, ip: string) =>
      `[Interface]\nPrivateKey = ${machine.privateKey}\n[Peer]\nPublicKey = ${peer}\nAllowedIPs = ${ip}\n`;
    const peers = async () =>
      (await machine.wg('show', name, 'allowed-ips')).trimEnd().split('\n').toSorted();
    await machine.wg('setconf', name, machine.file('conf', conf(one, '10.1.0.0/16')));
    await machine.wg('addconf', name, machine.file('conf', conf(two, '10.2.0.0/16')));
    expect(await peers()).toEqual([`${one}\t10.1.0.0/16`, `${two}\t10.2.0.0/16`].toSorted());
    await machine.wg('syncconf', name, machine.file('conf', conf(two, '10.3.0.0/16')));
    expect(await peers()).toEqual([`${two}\t10.3.0.0/16`]);
    await machine.wg('setconf', name, machine.file('conf', conf(one, '10.4.0.0/16')));
    expect(await peers()).toEqual([`${one}\t10.4.0.0/16`]);
  });

  test('the daemon’s own key is ignored as a peer, and a range moves to who has it last', async () => {
    const machine = await Machine.start();
    const { name } = machine;
    const [one, two] = [await publicOf(await newKey()), await publicOf(await newKey())];
    await machine.wg('set', name, 'peer', machine.publicKey, 'allowed-ips', '10.9.0.0/16');
    expect(await machine.wg('show', name, 'peers')).toBe('');
    await machine.wg('set', name, 'peer', one, 'allowed-ips', '10.1.0.0/16,10.2.0.0/16');
    await machine.wg('set', name, 'peer', two, 'allowed-ips', '10.2.0.0/16');
    expect(await machine.show('allowed-ips', one)).toBe('10.1.0.0/16');
    expect(await machine.show('allowed-ips', two)).toBe('10.2.0.0/16');
  });

  test('public keys of low order are taken, shown, never called, and harm nobody', async () => {
    const { a, b } = await startPair();
    const points = [
      '00'.repeat(32),
      `01${'00'.repeat(31)}`,
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
      `ec${'ff'.repeat(30)}7f`,
      `ed${'ff'.repeat(30)}7f`,
    ].map(hex => Buffer.from(hex, 'hex').toString('base64'));
    for (const [i, point] of points.entries()) {
      const at = ['endpoint', '127.0.0.1:9', 'persistent-keepalive', '1', 'allowed-ips', `10.66.${i}.0/24`];
      await a.wg('set', a.name, 'peer', point, ...at);
    }
    await a.ip('route', 'add', '10.66.0.0/16', 'dev', a.name);
    for (const i of points.keys()) expect(await a.ping(`10.66.${i}.1`, { count: 1, waitS: 1 })).toBe(0);
    for (const point of points) expect(await a.show('transfer', point)).toBe('0\t0');
    expect(await a.ping(INNER.b4)).toBe(3);
    expect(await b.show('transfer', a.publicKey)).not.toBe('0\t0');
  });

  test('a taken port is refused with "Address already in use", and nothing of the request is done', async () => {
    const first = await Machine.start();
    const other = await Machine.start({ namespace: first.namespace });
    for (const machine of [first, other]) await machine.up();
    const [port, own] = [await first.listenPort(), await other.listenPort()];
    const peer = await publicOf(await newKey());
    const text = `[Interface]\nPrivateKey = ${other.privateKey}\nListenPort = ${port}\n[Peer]\nPublicKey = ${peer}\n`;
    await expect(other.wg('setconf', other.name, other.file('conf', text))).rejects.toThrow(
      'Address already in use',
    );
    expect(await other.listenPort()).toBe(own);
    expect(await other.wg('show', other.name, 'peers')).toBe('');
  });
});

describe('live changes', () => {
  test('keys, ports, preshared keys and ranges change under traffic', async () => {
    const { a, b, outer } = await startPair({ b: { kind: 'wireguard-go' } });
    expect(await a.ping(INNER.b4)).toBe(3);

    // The listen port: the peer learns it from the next packet.
    await a.wg('set', a.name, 'listen-port', '51872');
    expect(await a.ping(INNER.b4)).toBe(3);
    expect(await b.show('endpoints', a.publicKey)).toBe(endpoint(outer.a, 51_872));

    // A preshared key on both sides: the next handshake needs it.
    const psk = a.file('psk', (await run('wg', ['genpsk'])).trim());
    await a.wg('set', a.name, 'peer', b.publicKey, 'preshared-key', psk);
    await b.wg('set', b.name, 'peer', a.publicKey, 'preshared-key', psk);
    await a.ip('link', 'set', a.name, 'down');
    await a.up(`${INNER.a6}/64`);
    expect(await a.ping(INNER.b4)).toBe(3);
    expect(await a.show('preshared-keys', b.publicKey)).not.toBe('(none)');

    // A new identity.
    const key = await newKey();
    const name = await publicOf(key);
    await b.wg('set', b.name, 'peer', a.publicKey, 'remove');
    await b.wg('set', b.name, 'peer', name, 'allowed-ips', `${INNER.a4}/32,${INNER.a6}/128`);
    await a.wg(
      'set',
      a.name,
      'private-key',
      a.file('key', key),
      'peer',
      b.publicKey,
      'preshared-key',
      '/dev/null',
    );
    expect(await a.ping(INNER.b6)).toBe(3);

    // A range that is taken away: nothing goes there any more.
    await a.wg('set', a.name, 'peer', b.publicKey, 'allowed-ips', `${INNER.b6}/128`);
    expect(await a.ping(INNER.b4, { count: 1, waitS: 1 })).toBe(0);
    expect(await a.ping(INNER.b6)).toBe(3);
  });

  test('the mark keeps the tunnel’s own datagrams out of a default route into the tunnel', async () => {
    const { a, b } = await startPair();
    await b.ip('address', 'add', '10.200.0.1/32', 'dev', 'lo');
    await a.wg('set', a.name, 'peer', b.publicKey, 'allowed-ips', '0.0.0.0/0');
    await a.ip('route', 'add', 'default', 'dev', a.name, 'table', '51820');
    await a.ip('rule', 'add', 'not', 'fwmark', '51820', 'table', '51820');
    // Without it (control) the initiation itself goes into the tunnel, and waits there for the handshake.
    expect(await a.ping('10.200.0.1', { count: 1, waitS: 1 })).toBe(0);
    // On the socket that is bound already.
    await a.wg('set', a.name, 'fwmark', '51820');
    expect(await a.ping('10.200.0.1', { waitS: 20 })).toBe(3);
  });

  test('an endpoint that moves is followed, by hand and by itself', async () => {
    const { a, b, outer, ports } = await startPair();
    expect(await a.ping(INNER.b4)).toBe(3);
    await b.wg('set', b.name, 'listen-port', '51873');
    // A does not know; B tells it by sending.
    expect(await b.ping(INNER.a4)).toBe(3);
    expect(await a.show('endpoints', b.publicKey)).toBe(endpoint(outer.b, 51_873));
    await b.wg('set', b.name, 'listen-port', `${ports.b}`);
    await a.wg('set', a.name, 'peer', b.publicKey, 'endpoint', endpoint(outer.b, ports.b));
    expect(await a.ping(INNER.b4)).toBe(3);
  });
});

describe('wg-quick', () => {
  /** A folder whose `ip` refuses the kernel's WireGuard, wherever the kernel has one: wg-quick takes the daemon then. */
  function tools(): string {
    const path = folder();
    const script = (name: string, text: string) => {
      writeFileSync(join(path, name), `#!/bin/sh\n${text}\n`);
      chmodSync(join(path, name), 0o755);
    };
    script('wireonce', `exec ${process.execPath} ${PROGRAM} "$@"`);
    script(
      'ip',
      'case "$*" in *"type wireguard"*) exit 2;; esac\nexec /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin ip "$@"',
    );
    return path;
  }

  test('twenty times up and down leaves nothing behind', async () => {
    const ns = await namespace();
    const [bin, conf, name] = [tools(), folder(), freshName()];
    const [key, peer] = [await newKey(), await publicOf(await newKey())];
    const file = join(conf, `${name}.conf`);
    const text = `[Interface]\nPrivateKey = ${key}\nAddress = 10.8.0.1/24, fd08::1/64\nListenPort = 51874\n`;
    const peerText = `[Peer]\nPublicKey = ${peer}\nAllowedIPs = 10.8.0.2/32, 10.9.0.0/16\nEndpoint = 192.0.2.9:7\n`;
    writeFileSync(file, `${text}${peerText}`, { mode: 0o600 });
    const env = [`PATH=${bin}:${process.env['PATH']}`, 'WG_QUICK_USERSPACE_IMPLEMENTATION=wireonce'];
    const quick = (what: string) => run('ip', ['netns', 'exec', ns, 'env', ...env, 'wg-quick', what, file]);
    atEnd(() => quick('down').catch(() => undefined));
    const state = async () => ({
      links: await run('ip', ['-n', ns, '-o', 'link', 'show']),
      routes: await run('ip', ['-n', ns, 'route', 'show', 'table', 'all']),
      rules: await run('ip', ['-n', ns, 'rule', 'show']),
      sockets: existsSync(socketPath(name)),
      daemons: daemonsOf(name),
    });
    const before = await state();
    for (let time = 0; time < 20; time++) {
      await quick('up');
      expect(daemonsOf(name)).toBe(1);
      const shown = await run('wg', ['show', name, 'dump']);
      expect(shown).toContain('51874');
      expect(shown).toContain('10.8.0.2/32,10.9.0.0/16');
      expect(await run('ip', ['-n', ns, 'route', 'get', '10.9.1.1'])).toContain(`dev ${name}`);
      await quick('down');
      await until('the daemon to go', async () => !(await state()).sockets);
    }
    await until('the last daemon to go', () => daemonsOf(name) === 0);
    expect(await state()).toEqual(before);
  }, 600_000);
});
