// ping, against a peer of our own on loopback: what is answered, and what is said when nothing is.

import dgram from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { echoPacket } from '../../cli/icmp.js';
import { type PingOptions, ping } from '../../cli/ping.js';
import { runCli } from '../../cli/program.js';
import { printError } from '../../cli/trouble.js';
import { MemorySource, VmGenId } from '../../vmgenid/index.js';
import {
  CLIENT,
  type EchoPeer,
  type EchoPeerOptions,
  INSIDE,
  address,
  openEchoPeer,
  publicKeyOf,
  replyTo,
} from '../support/echo-peer.js';
import { terminal } from './terminal.js';

const PSK = new Uint8Array(32).fill(7);
const closers: (() => unknown)[] = [];
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-ping-'));
  path = join(folder, 'wg0.conf');
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

async function peerWith(options?: EchoPeerOptions): Promise<EchoPeer> {
  const peer = await openEchoPeer(options);
  closers.push(() => peer.close());
  return peer;
}

interface Run {
  readonly config: string;
  readonly target?: string;
  readonly io?: ReturnType<typeof terminal>;
  readonly sources?: readonly MemorySource[];
}

/** Runs the command with sources of generations that are given, and prints its error as the program does. */
async function run(
  { config, target = INSIDE.v4, io = terminal(), sources = [] }: Run,
  more: Partial<PingOptions> = {},
) {
  writeFileSync(path, config, { mode: 0o600 });
  const vmgenid = new VmGenId(sources);
  closers.push(() => vmgenid.close());
  const options = {
    config: path,
    target: address(target),
    interval: 0.02,
    timeout: 20,
    size: 56,
    vmgenid,
    localTunnels: { folder, sysNet: folder },
  };
  let exitCode: number;
  try {
    exitCode = await ping(io, { ...options, count: 1, ...more });
  } catch (error) {
    printError(error, io);
    exitCode = 1;
  }
  return { exitCode, out: io.out, err: io.err };
}

/** A UDP port that takes everything and says `answer`, if anything. */
async function mute(answer?: Uint8Array): Promise<string> {
  const socket = dgram.createSocket('udp4');
  if (answer) socket.on('message', (_, { port, address: from }) => socket.send(answer, port, from));
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
  closers.push(() => new Promise<void>(resolve => socket.close(() => resolve())));
  return `127.0.0.1:${socket.address().port}`;
}

/** A port that nothing listens on. */
async function unboundPort(): Promise<string> {
  const socket = dgram.createSocket('udp4');
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise<void>(resolve => socket.close(() => resolve()));
  return `127.0.0.1:${port}`;
}

describe('ping is answered', () => {
  const own = (more: string) => (config: string) => config.replace('[Interface]\n', `[Interface]\n${more}\n`);
  const peerAgain = (config: string) =>
    `${config}\n[Peer]\n${/^PublicKey.*$/m.exec(config)}\nAllowedIPs = 10.0.0.0/8\n`;
  test.each<[string, (config: string) => string]>([
    ['keys without values, and commands', own('PreUp =\nPostUp = false\nDNS =\nMTU =\nTable =\nAddress =')],
    ['routing domains', own('DNS = 10.99.0.1, ~corp.example ~.,')],
    ['keys twice', own('MTU = x\nMTU = 1400\nSaveConfig = True\nSaveConfig = False')],
    ['a second [Interface]', config => `${config}\n[Interface]\nListenPort = domain\n`],
    ['a second [Peer] of the same key', peerAgain],
    ['blanks and a short address', config => config.replace('127.0.0.1:', ' 127.1 : ')],
    ['a preshared key of zeros', config => `${config}\nPresharedKey = ${'A'.repeat(43)}=\n`],
  ])('with %s in the file, as wg-quick takes it', async (_, change) => {
    const peer = await peerWith();
    const config = change(peer.config());
    expect(config).not.toBe(peer.config());
    expect(await run({ config })).toMatchObject({ exitCode: 0, err: '' });
  });

  const ways = (['udp4', 'udp6', 'ws'] as const).flatMap(outside =>
    (['v4', 'v6'] as const).map(inside => [inside, outside] as const),
  );
  test.each(ways)('%s inside, %s outside, with a preshared key', async (inside, outside) => {
    const peer = await peerWith({ presharedKey: PSK });
    const config = peer.config({ outside, presharedKey: PSK });
    const { exitCode, out, err } = await run({ config, target: INSIDE[inside] }, { count: 3 });
    expect([exitCode, err]).toEqual([0, '']);
    const lines = out.split('\n');
    const total = inside === 'v4' ? 84 : 104;
    expect(lines[0]).toBe(
      `PING ${INSIDE[inside]} from ${CLIENT[inside]}: 56(${total}) bytes of data through ${path}`,
    );
    expect(lines[1]).toMatch(/^peer [A-Za-z0-9+/]{43}= at \S+, protection: none$/);
    expect(lines[2]).toMatch(/^handshake done in [\d.]+ ms$/);
    for (const n of [1, 2, 3]) {
      expect(lines[2 + n]).toMatch(
        new RegExp(`^64 bytes from ${INSIDE[inside]}: icmp_seq=${n} ttl=64 time=[\\d.]+ ms$`),
      );
    }
    expect(lines[6]).toBe('');
    expect(lines[7]).toBe(`--- ${INSIDE[inside]} ping statistics ---`);
    expect(lines[8]).toMatch(/^3 packets transmitted, 3 received, 0% packet loss, time \d+ms$/);
    expect(lines[9]).toMatch(/^rtt min\/avg\/max\/mdev = [\d.]+\/[\d.]+\/[\d.]+\/[\d.]+ ms$/);
  });

  test('the whole command reads a configuration from standard input and prints one JSON object', async () => {
    const peer = await peerWith();
    const io = terminal(peer.config());
    const argv = ['ping', '-c', '2', '-i', '0.02', '-s', '0', '--json', '-', INSIDE.v6];
    expect(await runCli(argv, io)).toBe(0);
    const report = JSON.parse(io.out);
    expect(report).toMatchObject({
      config: 'stdin',
      target: INSIDE.v6,
      source: CLIENT.v6,
      handshake: { completed: true, initiations: 1, cookieReplies: 0 },
      transmitted: 2,
      received: 2,
      lossPercent: 0,
      replies: [1, 2].map(sequence => ({ sequence, bytes: 8, from: INSIDE.v6, ttl: 64, duplicate: false })),
      errors: [],
      drops: { badTag: 0 },
      failure: null,
    });
    expect(['immediate', 'delayed', 'none']).toContain(report.protection.class);
    const { min, avg, max } = report.rttMs;
    expect(min <= avg && avg <= max).toBe(true);
    expect(report.handshake.timeMs).toBeGreaterThan(0);
  });

  test('until interrupted, and quietly', async () => {
    const peer = await peerWith();
    const io = terminal();
    let requests = 0;
    const counting = await peerWith({
      answer: request => {
        if (++requests === 3) setImmediate(() => io.interrupt());
        return [replyTo(request)];
      },
    });
    await peer.close();
    const { out, exitCode } = await run({ config: counting.config(), io }, { count: 1e9, quiet: true });
    expect(exitCode).toBe(0);
    expect(out).not.toContain('icmp_seq');
    expect(out).toMatch(/\d+ packets transmitted, \d+ received/);
  });

  test('duplicates, another address and loss show as in ping', async () => {
    const peer = await peerWith({
      answer: request => {
        const reply = replyTo(request);
        if (request.sequence === 1) return [reply, reply];
        if (request.sequence === 2) return [replyTo(request, { source: address('10.99.0.77') })];
        return [];
      },
    });
    const { exitCode, out } = await run({ config: peer.config() }, { count: 3, timeout: 5 });
    expect(exitCode).toBe(0);
    expect(out).toMatch(
      /icmp_seq=1 ttl=64 time=[\d.]+ ms\n64 bytes from \S+ icmp_seq=1 ttl=64 time=[\d.]+ ms \(DUP!\)\n/,
    );
    expect(out).toMatch(/from 10\.99\.0\.77: icmp_seq=2 ttl=64 time=[\d.]+ ms \(DIFFERENT ADDRESS!\)\n/);
    expect(out).toMatch(/3 packets transmitted, 2 received, \+1 duplicates, 33\.3333% packet loss, time/);
  });

  test('a fork in the middle ends the session, and the echoes go on under a new one', async () => {
    const source = new MemorySource();
    const peer = await peerWith({
      answer: request => {
        if (request.sequence === 2) source.fork(new Uint8Array(16).fill(9));
        return [replyTo(request)];
      },
    });
    const { out, exitCode } = await run(
      { config: peer.config(), sources: [source] },
      { count: 6, interval: 0.1 },
    );
    expect(exitCode).toBe(0);
    expect(out).toContain('protection: immediate (memory)\n');
    expect(out).toContain('this machine was forked (epoch 2): sessions wiped, calling the peer anew\n');
    expect(out).toContain('icmp_seq=6');
    expect(peer.tunnel.device.stats().handshakesCompleted).toBe(2);
  });

  test('a peer under load is heard, and answers the initiation that carries its cookie', async () => {
    const peer = await peerWith({ underLoadThreshold: 0 });
    const { exitCode, out } = await run({ config: peer.config() });
    expect(exitCode).toBe(0);
    expect(out).toContain('the peer is under load: it sent a cookie');
  });
});

describe('ping is not answered: exit status 1, and', () => {
  test('a silent port: how often it was tried, and what such silence may mean', async () => {
    const peer = await peerWith();
    const endpoint = await mute();
    const { exitCode, out, err } = await run({ config: peer.config({ endpoint }) }, { timeout: 0.5 });
    expect(exitCode).toBe(1);
    expect(out).not.toContain('handshake done');
    expect(err).toMatch(
      new RegExp(`^wireonce: no answer to the handshake from ${endpoint}: 1 initiation in [\\d.]+ s\n`),
    );
    expect(err).toContain('its key is not the PublicKey of this file');
    expect(err).toContain(Buffer.from(publicKeyOf(new Uint8Array(32).fill(0x42))).toString('base64'));
    expect(err).toContain('our clock is behind');
  });

  test('the wrong public key: the same silence', async () => {
    const peer = await peerWith();
    const config = peer.config({ peerPublicKey: publicKeyOf(new Uint8Array(32).fill(3)) });
    const { exitCode, err } = await run({ config }, { timeout: 0.5 });
    expect(exitCode).toBe(1);
    expect(err).toContain('a WireGuard is silent to strangers');
    expect(peer.tunnel.device.stats().drops.badMac1).toBe(1);
  });

  test('an unbound port: that nothing listens there', async () => {
    const peer = await peerWith();
    const endpoint = await unboundPort();
    const { exitCode, out, err } = await run({ config: peer.config({ endpoint }) }, { timeout: 1 });
    expect(exitCode).toBe(1);
    expect(out).toContain(`From ${endpoint} Port unreachable`);
    expect(err).toContain('an ICMP port unreachable came back');
    expect(err).not.toContain('silent');
  });

  test('a WebSocket that nobody serves: why it failed', async () => {
    const peer = await peerWith();
    const config = peer.config({ endpoint: `ws://${await unboundPort()}/` });
    const { exitCode, err } = await run({ config }, { timeout: 0.5 });
    expect(exitCode).toBe(1);
    expect(err).toMatch(
      /no answer to the handshake from ws:.*\n {2}- the WebSocket connection failed: .*ECONNREFUSED/,
    );
  });

  test.each([
    ['missing here', PSK, undefined, 'it has a PresharedKey for us and this file has none'],
    ['missing there', undefined, PSK, 'the PresharedKey is not the one it has, or it has none'],
    ['another one', PSK, new Uint8Array(32).fill(8), 'the PresharedKey is not the one it has'],
  ])('a preshared key that is %s: that it answered', async (_, theirs, ours, hint) => {
    const peer = await peerWith(theirs && { presharedKey: theirs });
    const config = peer.config(ours && { presharedKey: ours });
    const { exitCode, err } = await run({ config }, { timeout: 1.5 });
    expect(exitCode).toBe(1);
    expect(err).toContain('no answer to the handshake');
    expect(err).toContain(`does not authenticate: most likely ${hint}`);
  });

  test('something that is no WireGuard: that another service listens there', async () => {
    const peer = await peerWith();
    const endpoint = await mute(Buffer.from('HTTP/1.1 400 Bad Request'));
    const { err } = await run({ config: peer.config({ endpoint }) }, { timeout: 1.5 });
    expect(err).toContain('is not WireGuard: another service listens there');
  });

  test.each(['nonexistent.invalid:51820', 'ws://nonexistent.invalid/'])(
    'a name that does not resolve, %s',
    async endpoint => {
      const peer = await peerWith();
      const { exitCode, err } = await run({ config: peer.config({ endpoint }) });
      expect(exitCode).toBe(1);
      expect(err).toMatch(/^wireonce: cannot resolve \S*nonexistent\.invalid\S*: E[A-Z_]+\n/);
    },
  );

  test('the handshake is done but no echo comes', async () => {
    const peer = await peerWith({ answer: () => [] });
    const { exitCode, out, err } = await run({ config: peer.config() }, { count: 2, timeout: 1.5 });
    expect(exitCode).toBe(1);
    expect(out).toContain('handshake done in');
    expect(out).toContain('2 packets transmitted, 0 received, 100% packet loss');
    expect(err).toMatch(
      /^wireonce: the handshake is done, but no echo came back from 10\.99\.0\.1: 2 echo requests were sent\n/,
    );
    expect(err).toContain(`must have ${CLIENT.v4} in AllowedIPs`);
  });

  test('an echo from an address that the file does not give to the peer', async () => {
    const peer = await peerWith({ answer: request => [replyTo(request, { source: address('10.98.0.1') })] });
    const { err, out } = await run({ config: peer.config() }, { timeout: 1.5 });
    expect(out).toContain('drops: disallowedSource 1\n');
    expect(err).toContain("outside the peer's AllowedIPs");
  });

  test.each([
    ['v4', 3, 1, 'Destination Host Unreachable'],
    ['v6', 1, 0, 'Destination unreachable: No route'],
  ] as const)('an ICMP error inside the tunnel, %s', async (inside, type, code, text) => {
    const peer = await peerWith({
      answer: request => {
        // A router's answer: its header, then the request that it is about.
        const quoted = echoPacket(request);
        const router = inside === 'v4' ? '10.99.0.254' : 'fd99::ff';
        const error = replyTo(request, { source: address(router), payload: quoted, id: 0, sequence: 0 });
        const at = inside === 'v4' ? 20 : 40;
        const view = new DataView(error.buffer);
        const before = view.getUint16(at);
        error[at] = type;
        error[at + 1] = code;
        let sum = (~view.getUint16(at + 2) & 0xffff) + (~before & 0xffff) + view.getUint16(at);
        while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
        view.setUint16(at + 2, ~sum & 0xffff);
        return [error];
      },
    });
    const { exitCode, out, err } = await run({ config: peer.config(), target: INSIDE[inside] });
    expect(exitCode).toBe(1);
    expect(out).toMatch(new RegExp(`\nFrom \\S+ icmp_seq=1 ${text}\n`));
    expect(out).toContain('1 packets transmitted, 0 received, +1 errors, 100% packet loss');
    expect(err).toContain('once an ICMP error came instead');
  });

  test('an answer with other data than was sent', async () => {
    const peer = await peerWith({ answer: request => [replyTo(request, { payload: new Uint8Array(56) })] });
    const { out, err } = await run({ config: peer.config() }, { timeout: 1.5 });
    expect(out).toContain('icmp_seq=1 wrong data: not what was sent');
    expect(err).toContain('once an answer came with other data');
  });

  test('a source that cannot be read: that nothing may leave', async () => {
    const peer = await peerWith();
    const broken = new MemorySource({
      name: 'page',
      onRead: () => {
        throw new Error('the page is gone');
      },
    });
    const { exitCode, err } = await run({ config: peer.config(), sources: [broken] }, { timeout: 0.2 });
    expect(exitCode).toBe(1);
    expect(err).toMatch(/no handshake was begun .*: no source can say .* \(page: the page is gone\)\n$/);
  });

  test('an interrupt while it waits: that it was one', async () => {
    const peer = await peerWith();
    const endpoint = await mute();
    const io = terminal();
    io.onOut = () => setImmediate(() => io.interrupt());
    const { exitCode, err } = await run({ config: peer.config({ endpoint }), io }, { count: 1e9 });
    expect(exitCode).toBe(1);
    expect(err).toMatch(/no answer to the handshake from .* s, then interrupted\n/);
  });
});

describe('a configuration that does not serve: exit status 1, and', () => {
  const valid = () => peerWith().then(peer => peer.config());

  test('the line and the field of a mistake, in text and in JSON', async () => {
    const config = (await valid()).replace('10.99.0.0/24', '10.99.0.0/33');
    const text = await run({ config });
    expect(text).toMatchObject({ exitCode: 1, out: '' });
    expect(text.err).toBe(`wireonce: ${path}:7: AllowedIPs: '10.99.0.0/33' is not an address range\n`);
    const json = JSON.parse((await run({ config }, { json: true })).out);
    expect(json).toMatchObject({
      received: 0,
      failure: { code: 'ERR_CONFIG', file: path, line: 7, field: 'AllowedIPs' },
    });
  });

  test('no peer for the address', async () => {
    const { exitCode, err } = await run({ config: await valid(), target: '192.0.2.1' });
    expect(exitCode).toBe(1);
    expect(err).toMatch(
      /^wireonce: \S+wg0\.conf: no peer has 192\.0\.2\.1 in its AllowedIPs\n {2}- peer \S+: 10\.99/,
    );
  });

  test('no address of our own in that family', async () => {
    const peer = await peerWith();
    const { exitCode, err } = await run({
      config: peer.config({ address: '10.99.0.2/24' }),
      target: INSIDE.v6,
    });
    expect([exitCode, err]).toEqual([
      1,
      `wireonce: ${path}: [Interface] has no IPv6 Address to ask fd99::1 from\n`,
    ]);
  });

  test('a peer without an endpoint', async () => {
    const { exitCode, err } = await run({ config: (await valid()).replace(/Endpoint.*\n/, '') });
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^wireonce: \S+: the peer of 10\.99\.0\.1, \S+, has no Endpoint\n$/);
  });

  test('a peer with our own key', async () => {
    const peer = await peerWith();
    const { err } = await run({
      config: peer.config({ peerPublicKey: publicKeyOf(new Uint8Array(32).fill(0x42)) }),
    });
    expect(err).toContain("the peer's PublicKey is that of our own PrivateKey");
  });

  test('a public key that nobody can have', async () => {
    const peer = await peerWith();
    const lowOrder = new Uint8Array(32);
    lowOrder[0] = 1;
    const { exitCode, err } = await run({ config: peer.config({ peerPublicKey: lowOrder }) });
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^wireonce: no handshake was begun with .*: the PublicKey \S+ is no usable key\n$/);
  });

  test('a request that is larger than the tunnel takes', async () => {
    const { err } = await run({ config: await valid() }, { size: 1_393 });
    expect(err).toBe("wireonce: -s 1393: a packet of 1421 bytes does not fit the tunnel's MTU of 1420\n");
  });

  test('a folder in place of the file', async () => {
    const io = terminal();
    expect(await runCli(['ping', folder, INSIDE.v4], io)).toBe(1);
    expect(io.err).toBe(`wireonce: ${folder}: a folder, not a file\n`);
  });
});
