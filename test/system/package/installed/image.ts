// The Dockerfile, step by step, where there is nobody to run it: what its first stage makes of the sources, with the user, the
// command and the rights that it says, on a machine that has what its base image has: Debian 13 and Node.

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DebianMachine } from '../debian.js';
import { ROOT, run } from '../packed.js';
import { type Given, put } from './given.js';

/** Of Docker and Podman, for a container that asks for no more. */
const DEFAULT_RIGHTS = [
  'chown',
  'dac_override',
  'fowner',
  'fsetid',
  'kill',
  'setgid',
  'setuid',
  'setpcap',
  'net_bind_service',
  'net_raw',
  'sys_chroot',
  'mknod',
  'audit_write',
  'setfcap',
];

/** The instructions of a Dockerfile: words without continued lines and without comments. */
const instructions = (): [name: string, value: string][] =>
  readFileSync(join(ROOT, 'Dockerfile'), 'utf8')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]);
const values = (name: string) => instructions().flatMap(([each, value]) => (each === name ? [value] : []));

export function describeImage(given: Given): void {
  describe('the image', () => {
    let machine: DebianMachine;
    beforeAll(async () => {
      // Of the first stage all but `npm ci`, which is where this tree came from; and with folders of ours.
      const [, build] = values('RUN');
      const image = join(given.shared, 'image');
      const here = join(given.shared, 'image-build');
      mkdirSync(here);
      const ours = build.replaceAll(/\/image|\/tmp/g, path => (path === '/tmp' ? here : image));
      await run(given.packed.repository, 'sh', '-ec', ours);
      machine = await DebianMachine.boot(given.shared);
      await machine.run('cp -r /mnt/image/. /usr/local/; useradd --uid 1000 node');
    });
    afterAll(() => machine?.close());

    /** A command in a container of the image: as its user, or another, with these rights beside those that all have. */
    const container = (command: string, user = 'node', more: readonly string[] = []) => {
      const rights = ['-all', ...[...DEFAULT_RIGHTS, ...more].map(right => `+${right}`)].join(',');
      const who = user === 'node' ? '--reuid=1000 --regid=1000 --clear-groups' : '';
      return `setpriv ${who} --bounding-set=${rights} --inh-caps=-all ${command}`;
    };

    it('has the instructions of a Dockerfile, and such as are tried here', () => {
      expect(instructions().map(([name]) => name)).toEqual([
        'FROM',
        'WORKDIR',
        'COPY',
        'RUN',
        'RUN',
        'FROM',
        'COPY',
        'USER',
        'ENTRYPOINT',
        'CMD',
      ]);
      const [first, second] = values('FROM');
      expect(first).toBe(`${second} AS build`);
      expect(values('COPY')).toEqual(['. .', '--from=build /image/ /usr/local/']);
      expect([values('USER'), values('ENTRYPOINT'), values('CMD')]).toEqual([
        ['node'],
        ['["wireonce"]'],
        ['["--help"]'],
      ]);
      // What is copied is the sources, and neither what was built of them nor what was installed for them.
      const ignored = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n');
      expect(ignored).toEqual(expect.arrayContaining(['node_modules', 'dist', '.git']));
    });

    it('as it is started without a word more it shows the help, as a user without rights', async () => {
      expect(await machine.run(container('wireonce --help'))).toContain('Usage: wireonce');
      expect(await machine.run(container('id -u'))).toBe('1000\n');
    });

    it('with NET_ADMIN and the TUN device root runs a daemon, and whoever has no rights pings through it', async () => {
      await machine.run(container('wireonce wg0', 'root', ['net_admin']));
      const key = async (command: string) => (await machine.run(command)).trim();
      const [server, client] = [
        await key(container('wireonce genkey')),
        await key(container('wireonce genkey')),
      ];
      const publicOf = (secret: string) => key(`echo ${secret} | ${container('wireonce pubkey')}`);
      await put(machine, '/run/server', server);
      await machine.run(`wg set wg0 private-key /run/server listen-port 51820 peer ${await publicOf(client)} allowed-ips 10.9.0.2/32
        ip address add 10.9.0.1/24 dev wg0; ip link set wg0 up; ip link set lo up`);
      const peer = `[Peer]\nPublicKey = ${await publicOf(server)}\nEndpoint = 127.0.0.1:51820\nAllowedIPs = 10.9.0.1/32`;
      await put(
        machine,
        '/run/client.conf',
        `[Interface]\nPrivateKey = ${client}\nAddress = 10.9.0.2/32\n${peer}`,
      );
      await machine.run('chown node /run/client.conf; chmod 600 /run/client.conf');
      const said = await machine.run(container('wireonce ping -c 1 --json /run/client.conf 10.9.0.1'));
      expect(JSON.parse(said.trim().split('\n').at(-1) ?? '')).toMatchObject({ received: 1 });
    });

    it('the library works in it, as that user', async () => {
      const consumer = join(ROOT, 'test/system/package/consumer.mjs');
      await put(machine, '/usr/local/lib/consumer.mjs', readFileSync(consumer, 'utf8'));
      expect(await machine.run(container('node /usr/local/lib/consumer.mjs'))).toMatch(/^heard 20 bytes/);
    });
  });
}
