// `wireonce status` against daemons that a test makes: ours, another implementation's, a dead one.

import { link, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCli } from '../../cli/program.js';
import { status } from '../../cli/status.js';
import type { DeviceStatus } from '../../tunnel/daemon/status.js';
import { UapiServer } from '../../tunnel/daemon/uapi/index.js';
import { deviceStatus, keyText, noDrops, peerStatus } from '../tunnel/daemon/status.js';
import { MemoryBackend } from '../tunnel/daemon/uapi/backend.js';
import { terminal } from './terminal.js';

const NOW = 1_700_000_100_000;
let folder: string;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wireonce-status-'));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  await rm(folder, { recursive: true, force: true });
});

async function serve(name: string, answer?: DeviceStatus): Promise<void> {
  const backend = Object.assign(new MemoryBackend(), answer && { status: () => answer });
  const server = await UapiServer.listen(join(folder, `${name}.sock`), backend);
  cleanups.push(() => server.close());
}

/** A socket whose process died. */
async function leaveDead(name: string): Promise<void> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(join(folder, 'dying'), resolve));
  await link(join(folder, 'dying'), join(folder, `${name}.sock`));
  await new Promise(resolve => server.close(resolve));
}

async function show(options: { interface?: string; json?: boolean; timeout?: number; links?: string } = {}) {
  const io = terminal();
  const outcome = await status(io, { ...options, folder, now: () => NOW }).catch((error: Error) => error);
  return { outcome, out: io.out, err: io.err };
}

test('prints everything of a device that has seen forks, aligned', async () => {
  await serve(
    'wg0',
    deviceStatus({
      uptimeMs: 3_723_000,
      webSockets: ['0.0.0.0:8443'],
      protection: 'delayed',
      sources: [
        { name: 'kmsg', timing: 'delayed', uniqueness: 'counter', readable: true },
        {
          name: 'file:/g',
          timing: 'immediate',
          uniqueness: 'unique',
          readable: false,
          reason: 'no such file',
        },
      ],
      strict: true,
      holdBackMs: 300,
      epoch: 3,
      forks: 2,
      drills: 1,
      wipedKeypairs: 4,
      discardedAtRelease: 1,
      handshakes: { completed: 6 },
      drops: { ...noDrops(), badTag: 2, staleEpoch: 1 },
      nonceHeadroom: '18446744073709543421',
      clonedPeers: 2,
      lastTripwire: { peer: keyText(2), at: NOW - 61_000 },
      offloads: ['UDP_GRO', 'TSO4'],
      waitingForFreshness: 1,
      peers: [
        peerStatus({
          lastHandshakeAt: NOW - 5_000,
          rxBytes: 1_536,
          txBytes: 92,
          hasSession: true,
          sessionEpoch: 3,
        }),
        peerStatus({ publicKey: keyText(3), endpoint: null, sessionEpoch: 2, unanswered: 4 }),
      ],
      hints: ['one thing', 'another'],
    }),
  );
  const { outcome, out, err } = await show({ interface: 'wg0' });
  expect([outcome, err]).toEqual([0, '']);
  expect(out).toBe(`interface: wg0
  look at:
    - one thing
    - another
  protection:                   delayed (kmsg)
  source:                       kmsg: delayed, counter
  source:                       file:/g: does not work: no such file
  fork policy:                  wipe, strict, holding back 300 ms
  epoch:                        3 (2 forks seen, 1 drill)
  last tripwire:                peer ${keyText(2)}, 1 minute, 1 second ago (2 in all)
  waiting for fresh randomness: 1 peer
  public key:                   ${keyText(1)}
  listening:                    udp port 51820, websocket 0.0.0.0:8443

peer: ${keyText(2)}
  endpoint:         192.0.2.1:51820
  session:          of epoch 3
  latest handshake: 5 seconds ago
  transfer:         1.50 KiB received, 92 B sent

peer: ${keyText(3)}
  endpoint:         (none)
  session:          of epoch 2, ended by a fork
  latest handshake: (never), 4 calls without an answer since
  transfer:         0 B received, 0 B sent

details of wg0:
  running:                  wireonce 0.1.0 for 1 hour, 2 minutes, 3 seconds
  link:                     up, mtu 1420
  keypairs wiped:           4
  discarded at release:     1 datagram
  handshakes:               6 completed
  dropped:                  2 badTag, 1 staleEpoch
  dropped in transport:     0
  dropped at the interface: 0
  nonce headroom:           over 2^63 messages
  may do:                   CAP_NET_ADMIN, and no more ever
  primitives:               sodium
  offloads:                 UDP_GRO, TSO4
`);
});

test('of a gateway it says who is admitted, and why others are not', async () => {
  const gateway = {
    known: 1_000,
    present: 12,
    provisional: 3,
    awaited: 2,
    lookups: 40,
    admitted: 15,
    unproven: 4,
    evicted: 5,
    expired: 6,
    refused: { revoked: 7, notEnrolled: 0, addressTaken: 0, full: 8, storeFailed: 0 },
  };
  await serve('wg0', deviceStatus({ gateway }));
  await serve('wg1', deviceStatus({ gateway: { ...gateway, known: null } }));
  const { out } = await show({ interface: 'wg0' });
  expect(out).toMatch(/admitted peers: +12 in memory, 1000 in the store\n/);
  expect(out).toMatch(/being admitted: +3 not proven yet, 2 being looked up\n/);
  expect(out).toMatch(/admissions: +15 proven, 4 not proven, 5 put out of memory, 6 expired\n/);
  expect(out).toMatch(/refused: +7 revoked, 8 full\n/);
  expect((await show({ interface: 'wg1' })).out).toMatch(/12 in memory, of the store nothing is known\n/);
});

test('of a clone, its addresses, since when it has them and of what it is a copy; or what it waits for', async () => {
  const enrolment = {
    method: 'derived',
    stage: 'enrolled',
    addresses: ['fd5e:7c1a:9b2d::7/64'],
    since: NOW - 61_000,
    parent: keyText(4),
    waitsFor: null,
  } as const;
  await serve('wg0', deviceStatus({ forkPolicy: 'enrol', enrolment }));
  const { out } = await show({ interface: 'wg0' });
  expect(out).toMatch(/^ {2}addresses: +fd5e:7c1a:9b2d::7\/64$/m);
  expect(out).toMatch(/^ {2}enrolled: +1 minute, 1 second ago$/m);
  expect(out).toMatch(new RegExp(`^ {2}cloned from: +${keyText(4).replaceAll('+', '\\\\+')}$`, 'm'));
  const waiting = {
    ...enrolment,
    stage: 'asking',
    addresses: [],
    since: null,
    parent: null,
    waitsFor: 'it',
  } as const;
  await serve('wg1', deviceStatus({ interface: 'wg1', forkPolicy: 'enrol', held: true, enrolment: waiting }));
  const later = await show({ interface: 'wg1' });
  expect(later.out).toMatch(/^ {2}fork policy: +enrol, SILENT until it is enrolled$/m);
  expect(later.out).toMatch(/^ {2}enrolled: +not yet$/m);
  await serve(
    'wg2',
    deviceStatus({ interface: 'wg2', enrolment: { ...waiting, stage: 'operator', waitsFor: null } }),
  );
  expect((await show({ interface: 'wg2' })).out).toMatch(/^ {2}enrolled: +no: its key was set by wg$/m);
});

test('all interfaces in order when none is named; JSON is a line for each', async () => {
  await serve('wg1', deviceStatus({ interface: 'wg1' }));
  await serve('wg0', deviceStatus({ held: true, publicKey: null, nonceHeadroom: '17' }));
  const plain = await show();
  expect(plain.outcome).toBe(0);
  expect(plain.out.match(/^interface: .*/gm)).toEqual(['interface: wg0', 'interface: wg1']);
  expect(plain.out).toMatch(/\n\ninterface: wg1/);
  expect(plain.out).toContain('HELD');
  expect(plain.out).toContain('17 messages');
  const json = await show({ json: true });
  const lines = json.out.trimEnd().split('\n');
  expect(lines.map(line => JSON.parse(line).interface)).toEqual(['wg0', 'wg1']);
});

test('another implementation is named as that, and wg recommended', async () => {
  await serve('wg0');
  const { outcome } = await show({ interface: 'wg0' });
  expect(outcome).toMatchObject({ code: 'ERR_CLI_NO_DAEMON' });
  expect((outcome as Error).message).toBe(
    'wg0: another implementation runs it, which has no status: try wg show wg0',
  );
});

test('others and dead ones beside ours are mentioned, and no failure', async () => {
  await serve('wg0', deviceStatus());
  await serve('wg1');
  await leaveDead('wg2');
  const { outcome, out, err } = await show();
  expect(outcome).toBe(0);
  expect(out).toContain('interface: wg0');
  expect(err.trimEnd().split('\n')).toEqual([
    expect.stringContaining('wg1: another implementation'),
    expect.stringContaining('wg2: no daemon answers: its socket was left by one that died'),
  ]);
});

test('one of ours that fails beside another is a failure, and the other is shown', async () => {
  await serve('wg0', deviceStatus());
  const server = createServer(socket => socket.end('nonsense\n'));
  await new Promise<void>(resolve => server.listen(join(folder, 'wg1.sock'), resolve));
  cleanups.push(() => server.close());
  const { outcome, out, err } = await show();
  expect(outcome).toBe(1);
  expect(out).toContain('interface: wg0');
  expect(err).toContain('wg1');
});

/** A daemon that was stopped: the kernel takes the connection, and nobody answers. */
async function serveSilently(name: string, onConnection = () => {}): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer(socket => {
    sockets.add(socket);
    onConnection();
  });
  await new Promise<void>(resolve => server.listen(join(folder, `${name}.sock`), resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}

test('a silent daemon is said so, with what to look at, and the others are shown', async () => {
  await serve('wg1', deviceStatus({ interface: 'wg1' }));
  await serveSilently('wg0');
  const { outcome, out, err } = await show({ timeout: 0.2 });
  expect(outcome).toBe(1);
  expect(out).toContain('interface: wg1');
  expect(err).toContain('wireonce: wg0: its daemon is there and says nothing: it is stopped, or very busy\n');
  expect(err).toContain('  - to wait longer: wireonce status --timeout 30\n');
});

test('all daemons are asked at once: none waits for the silence of another', async () => {
  let asked = 0;
  let everyone: () => void = () => {};
  const all = new Promise<void>(resolve => (everyone = resolve));
  const names = ['wg0', 'wg1', 'wg2', 'wg3'];
  for (const name of names) await serveSilently(name, () => ++asked === names.length && everyone());
  // One after the other they would be asked once every ten minutes.
  const shown = show({ timeout: 600 });
  await all;
  for (const cleanup of cleanups.splice(0)) cleanup();
  expect((await shown).outcome).toMatchObject({ code: 'ERR_CLI_NO_DAEMON' });
});

test('by default the wait is about a second', async () => {
  const io = terminal();
  await runCli(['status', '--help'], io);
  expect(io.out).toMatch(/--timeout <seconds>\s+how long a daemon may be silent\s+\(default: 1\)/);
});

test('nobody at all, and nobody of that name', async () => {
  expect((await show()).outcome).toMatchObject({ code: 'ERR_CLI_NO_DAEMON' });
  const named = await show({ interface: 'wg7' });
  expect((named.outcome as Error).message).toContain('wg7: no daemon answers: no such interface');
  expect(named.outcome).toMatchObject({ hints: ['those that run: wireonce status'] });
  await serve('wg1');
  expect((await show()).outcome).toMatchObject({ code: 'ERR_CLI_NO_DAEMON' });
});

describe('where wg-quick has taken the kernel’s WireGuard, which does not notice a fork,', () => {
  const withLinks = async (kinds: Readonly<Record<string, string>>) => {
    const links = join(folder, 'net');
    for (const [name, kind] of Object.entries(kinds)) {
      await mkdir(join(links, name), { recursive: true });
      await writeFile(join(links, name, 'uevent'), `${kind}INTERFACE=${name}\nIFINDEX=4\n`);
    }
    return links;
  };

  test('the status of the interface says so, and how to have ours', async () => {
    const links = await withLinks({ wg0: 'DEVTYPE=wireguard\n', tap0: '' });
    expect((await show({ interface: 'wg0', links })).outcome).toMatchObject({
      code: 'ERR_CLI_NO_DAEMON',
      message: "wg0: no daemon answers: its WireGuard is the kernel's, which does not notice a fork",
      hints: [expect.stringContaining("echo 'blacklist wireguard' >/etc/modprobe.d/wireonce.conf")],
    });
    expect((await show({ interface: 'tap0', links })).outcome).toMatchObject({
      message: 'tap0: no daemon answers: an interface of another kind',
    });
  });

  test('the status of all names them, if none is ours', async () => {
    const links = await withLinks({ wg1: 'DEVTYPE=wireguard\n', wg2: 'DEVTYPE=wireguard\n', eth0: '' });
    expect((await show({ links })).outcome).toMatchObject({
      message: `no wireonce runs: no interface has a socket in ${folder}`,
      hints: [
        "of the kernel's WireGuard, which does not notice a fork: wg1, wg2",
        expect.stringContaining('blacklist wireguard'),
      ],
    });
    expect((await show({ links: join(folder, 'none') })).outcome).toMatchObject({
      hints: ['start one with: wireonce wg0'],
    });
  });
});

test.each(['../etc', 'a b', '', 'sixteen-bytes-xx', '..'])('%j is no name of an interface', async name => {
  const io = terminal();
  expect(await runCli(['status', name], io)).toBe(2);
  expect(io.err).toContain('The name of an interface is wanted');
});

test('an interface that nobody runs ends the command with 1', async () => {
  const io = terminal();
  expect(await runCli(['status', 'wireonce-none'], io)).toBe(1);
  expect(io.err).toMatch(/^wireonce: wireonce-none: no daemon answers/);
});

test('text from elsewhere steers no terminal', async () => {
  const foreign = 'bad \u001b]0;owned\u0007\u009b2J\u007f\r\n\u202e  epoch: 9';
  const source = {
    name: `file:${foreign}`,
    timing: 'delayed',
    uniqueness: 'unique',
    readable: false,
  } as const;
  await serve(
    'wg0',
    deviceStatus({
      sources: [{ ...source, reason: foreign }],
      hints: [foreign],
      peers: [peerStatus({ endpoint: foreign })],
    }),
  );
  const { outcome, out } = await show({ interface: 'wg0' });
  expect(outcome).toBe(0);
  expect(out).toContain(String.raw`bad \u001b]0;owned\u0007\u009b2J\u007f\u000d\u000a\u202e  epoch: 9`);
  expect(out.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);

  const json = await show({ interface: 'wg0', json: true });
  expect(json.out.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  expect(JSON.parse(json.out)).toMatchObject({ hints: [foreign], sources: [{ reason: foreign }] });
});
