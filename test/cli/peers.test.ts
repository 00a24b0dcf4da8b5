// `wireonce peers`, with a store of its own and a daemon that a test makes: what is in the store, what the daemon hears.

import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { addPeer, expire, removePeers } from '../../cli/peers/change.js';
import { importPeers } from '../../cli/peers/import.js';
import { listPeers } from '../../cli/peers/list.js';
import { runCli } from '../../cli/program.js';
import type { PeerRecord } from '../../gateway/store.js';
import { FilePeerStore } from '../../gateway/stores/file.js';
import { UapiServer } from '../../tunnel/daemon/uapi/index.js';
import type { UapiChanges } from '../../tunnel/daemon/uapi/types.js';
import { encodeKey } from '../../tunnel/keys.js';
import { addressOf, keyOf, listed, peer, put } from '../gateway/stores/stores.js';
import { MemoryBackend } from '../tunnel/daemon/uapi/backend.js';
import { type Terminal, terminal } from './terminal.js';

const NOW = 1_700_000_000_000;
const DAY = 86_400_000;
let folder: string;
let store: string;
let io: Terminal;
const cleanups: (() => unknown)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-peers-'));
  store = join(folder, 'wg0.peers');
  io = terminal();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  rmSync(folder, { recursive: true, force: true });
});

const options = <T extends object>(more: T) => ({
  store,
  folder,
  configFolder: folder,
  now: () => NOW,
  ...more,
});
const text = (n: number) => encodeKey(keyOf(n));
const range = (n: number) => `fd00::${n.toString(16)}/128`;

async function fill(...records: readonly PeerRecord[]): Promise<void> {
  const opened = await FilePeerStore.open(store);
  await Promise.all(records.map(record => put(opened, record)));
  await opened.close();
}

async function kept(): Promise<PeerRecord[]> {
  const opened = await FilePeerStore.open(store, { create: false });
  const records = await listed(opened);
  await opened.close();
  return records;
}

/** A daemon with these peers. What it is told comes to be in `heard`. */
async function serve(...numbers: readonly number[]): Promise<UapiChanges[]> {
  const heard: UapiChanges[] = [];
  const backend = new MemoryBackend();
  const settings = {
    remove: false,
    updateOnly: false,
    replaceAllowedIps: false,
    allowedIps: [],
    presharedKey: new Uint8Array(32).fill(1),
  };
  backend.set({ replacePeers: false, peers: numbers.map(n => ({ publicKey: keyOf(n), ...settings })) });
  const { set } = backend;
  backend.set = changes => {
    heard.push(structuredClone(changes));
    set.call(backend, changes);
  };
  const server = await UapiServer.listen(join(folder, 'wg0.sock'), backend);
  cleanups.push(() => server.close());
  return heard;
}

const removedFrom = (heard: readonly UapiChanges[]) =>
  heard.flatMap(({ peers }) =>
    peers.map(({ publicKey, remove }) => (remove ? encodeKey(publicKey) : 'changed')),
  );

describe('add', () => {
  test('puts a peer into a new store, of which the daemon is told', async () => {
    const heard = await serve(9);
    writeFileSync(join(folder, 'psk'), `${text(5)}\n`, { mode: 0o600 });
    const given = options({ allowedIps: [addressOf(1)], presharedKeyFile: join(folder, 'psk') });
    expect(await addPeer(io, 'wg0', keyOf(1), given)).toBe(0);
    expect([io.out, io.err]).toEqual([`added ${text(1)}\n`, '']);
    expect(await kept()).toEqual([
      {
        publicKey: keyOf(1),
        allowedIps: [addressOf(1)],
        presharedKey: keyOf(5),
        admittedAt: NOW,
        lastSeenAt: 0,
      },
    ]);
    // Nobody who is connected is touched, but who was refused is looked up anew.
    expect(removedFrom(heard)).toEqual([]);
    expect(heard.map(({ forgetRefusals }) => forgetRefusals)).toEqual([true]);
  });

  test('changes one that is there: what was seen of it stays, a revocation ends, and it is loaded anew', async () => {
    const seen = { lastSeenAt: 7, latestTimestamp: new Uint8Array(12).fill(3), admittedAt: 5 };
    await fill(peer(1, { ...seen, presharedKey: keyOf(5), enrolledUnder: 'a', revokedAt: 6 }));
    const heard = await serve(1, 2);
    expect(await addPeer(io, 'wg0', keyOf(1), options({ allowedIps: [addressOf(8)] }))).toBe(0);
    expect(io.out).toBe(`changed ${text(1)}\n`);
    expect(await kept()).toEqual([{ publicKey: keyOf(1), allowedIps: [addressOf(8)], ...seen }]);
    expect(removedFrom(heard)).toEqual([text(1)]);
  });

  test('leaves as it is what is not said of one that is there', async () => {
    await fill(peer(1, { presharedKey: keyOf(5) }), peer(2, { enrolledUnder: 'a' }));
    await serve();
    await addPeer(io, 'wg0', keyOf(1), options({ allowedIps: [addressOf(8)] }));
    await addPeer(io, 'wg0', keyOf(2), options({ allowedIps: [addressOf(9)] }));
    writeFileSync(join(folder, 'psk'), `${text(6)}\n`, { mode: 0o600 });
    await addPeer(io, 'wg0', keyOf(1), options({ presharedKeyFile: join(folder, 'psk') }));
    expect(await kept()).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ publicKey: keyOf(1), allowedIps: [addressOf(8)], presharedKey: keyOf(6) }),
        expect.objectContaining({ publicKey: keyOf(2), allowedIps: [addressOf(9)], enrolledUnder: 'a' }),
      ]),
    );
    // An operator's key takes the place of the derived one.
    await addPeer(io, 'wg0', keyOf(2), options({ presharedKeyFile: join(folder, 'psk') }));
    expect(
      (await kept()).find(({ presharedKey, enrolledUnder }) => presharedKey && enrolledUnder),
    ).toBeUndefined();
  });

  test('wants addresses for a new one', async () => {
    await fill(peer(2, { revokedAt: 3 }));
    await serve();
    for (const number of [1, 2]) {
      await expect(addPeer(io, 'wg0', keyOf(number), options({}))).rejects.toMatchObject({
        code: 'ERR_CLI_INPUT',
        message: expect.stringContaining('a new peer wants --allowed-ips'),
      });
    }
  });

  test('says whose an address is, and changes nothing', async () => {
    await fill(peer(2));
    const heard = await serve(1);
    await expect(
      addPeer(io, 'wg0', keyOf(1), options({ allowedIps: [addressOf(1), addressOf(2)] })),
    ).rejects.toMatchObject({
      code: 'ERR_CLI_INPUT',
      message: `${range(2)} belongs to peer ${text(2)}`,
    });
    expect(await kept()).toEqual([peer(2)]);
    expect(heard).toEqual([]);
  });

  test('refuses a file that holds no preshared key, and warns of one that others may read', async () => {
    const path = join(folder, 'psk');
    const add = () => addPeer(io, 'wg0', keyOf(1), options({ allowedIps: [], presharedKeyFile: path }));
    await expect(add()).rejects.toMatchObject({ code: 'ERR_CLI_INPUT', message: `${path}: no such file` });
    writeFileSync(path, 'PresharedKey = x');
    await expect(add()).rejects.toMatchObject({ code: 'ERR_CLI_INPUT' });
    writeFileSync(path, text(5));
    chmodSync(path, 0o644);
    expect(await add()).toBe(0);
    expect(io.err).toBe(
      `wireonce: warning: ${path} holds a preshared key and is world accessible: chmod 600 ${path}\n`,
    );
  });
});

describe('remove', () => {
  test('takes one that was added out, revokes one that has enrolled, and disconnects both at once', async () => {
    await fill(peer(1), peer(2, { enrolledUnder: 'a', presharedKey: keyOf(5) }), peer(3));
    const heard = await serve(1, 2, 3);
    expect(await removePeers(io, 'wg0', [keyOf(1), keyOf(2)], options({}))).toBe(0);
    expect(io.out).toBe(`removed ${text(1)}\nrevoked ${text(2)}\n`);
    const { allowedIps: _, ...tombstone } = peer(2, { enrolledUnder: 'a', revokedAt: NOW });
    expect(await kept()).toEqual(
      [{ ...tombstone, allowedIps: [] }, peer(3)].toSorted((a, b) =>
        Buffer.compare(a.publicKey, b.publicKey),
      ),
    );
    expect(removedFrom(heard).toSorted()).toEqual([text(1), text(2)].toSorted());
  });

  test('names what is not there, and does the others all the same', async () => {
    await fill(peer(1));
    const heard = await serve(1);
    await expect(removePeers(io, 'wg0', [keyOf(4), keyOf(1)], options({}))).rejects.toMatchObject({
      code: 'ERR_CLI_INPUT',
      message: `no such peer: ${text(4)}`,
    });
    expect(await kept()).toEqual([]);
    expect(removedFrom(heard)).toEqual([text(1)]);
  });

  test('--secret revokes all that have enrolled under it, more than are done at once', async () => {
    const under = (n: number, enrolledUnder: string) => peer(n, { enrolledUnder });
    await fill(
      peer(1),
      under(2, 'other'),
      ...Array.from({ length: 1_100 }, (_, i) => under(10 + i, 'leaked')),
    );
    const heard = await serve(1, 2, 10, 11);
    expect(await removePeers(io, 'wg0', [], options({ secret: 'leaked' }))).toBe(0);
    const standing = (await kept()).filter(({ revokedAt }) => revokedAt === undefined);
    expect(standing.map(({ publicKey }) => encodeKey(publicKey)).toSorted()).toEqual(
      [text(1), text(2)].toSorted(),
    );
    expect(removedFrom(heard).toSorted()).toEqual([text(10), text(11)].toSorted());
    // Once more there is nothing to do.
    await expect(removePeers(io, 'wg0', [], options({ secret: 'leaked' }))).rejects.toMatchObject({
      code: 'ERR_CLI_INPUT',
    });
  });

  test('--forget leaves no revocation, and takes those out that are there', async () => {
    await fill(
      peer(1, { enrolledUnder: 'a' }),
      peer(2, { enrolledUnder: 'a', revokedAt: 3, allowedIps: [] }),
      peer(3),
    );
    expect(await removePeers(io, 'wg0', [], options({ secret: 'a', forget: true }))).toBe(0);
    expect(await kept()).toEqual([peer(3)]);
  });

  test('says that the daemon does not know when it cannot be told', async () => {
    await fill(peer(1));
    const backend = Object.assign(new MemoryBackend(), {
      set: () => {
        throw new Error('by the test');
      },
    });
    const server = await UapiServer.listen(join(folder, 'wg0.sock'), backend);
    cleanups.push(() => server.close());
    const error = await removePeers(io, 'wg0', [keyOf(1)], options({})).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'ERR_CLI_DAEMON',
      message: expect.stringContaining('the daemon of wg0 does not know'),
    });
    expect(await kept()).toEqual([]);
  });
});

describe('list', () => {
  const some = [
    peer(1, {
      allowedIps: [addressOf(1), { ip: Uint8Array.of(10, 0, 0, 0), prefix: 8 }],
      presharedKey: keyOf(5),
    }),
    peer(2, { enrolledUnder: 'a', lastSeenAt: NOW }),
    peer(3, { enrolledUnder: 'a', revokedAt: NOW, allowedIps: [] }),
  ];

  test('prints a line for each', async () => {
    await fill(...some);
    expect(await listPeers(io, 'wg0', options({}))).toBe(0);
    const [head, ...lines] = io.out.trimEnd().split('\n');
    expect(head).toBe(`${'PEER'.padEnd(44)}  STATE     LAST SEEN (UTC)   ALLOWED IPS`);
    expect(lines.toSorted()).toEqual(
      [
        `${text(1)}  added     never             ${range(1)}, 10.0.0.0/8`,
        `${text(2)}  enrolled  2023-11-14 22:13  ${range(2)}`,
        `${text(3)}  revoked   never`,
      ].toSorted(),
    );
  });

  test('--json prints what import takes; preshared keys are in it when they are asked for', async () => {
    await fill(...some);
    expect(await listPeers(io, 'wg0', options({ json: true }))).toBe(0);
    expect(io.out).not.toContain(text(5));
    const all = terminal();
    expect(await listPeers(all, 'wg0', options({ json: true, presharedKeys: true }))).toBe(0);
    expect(all.out).toContain(text(5));
    const [before, copy] = [await kept(), join(folder, 'copy')];
    expect(await importPeers(terminal(all.out), 'wg0', undefined, options({ store: copy }))).toBe(0);
    store = copy;
    expect(await kept()).toEqual(before);
  });

  test('does not make a store, and says where none is', async () => {
    await expect(listPeers(io, 'wg0', options({}))).rejects.toMatchObject({ code: 'ERR_CLI_INPUT' });
    expect(await runCli(['peers', 'list', 'wg0', '--store', store], io)).toBe(1);
    expect(io.err).toBe(
      `wireonce: ${store}: there is no store of peers of wg0\n` +
        '  - a gateway makes it when it starts, or the first: wireonce peers add\n' +
        '  - peers that wg has set are in no store: wg show wg0\n',
    );
  });
});

describe('import', () => {
  const take = (input: string, file?: string) => {
    io = terminal(input);
    return importPeers(io, 'wg0', file, options({}));
  };
  const line = (n: number, more: object = {}) =>
    JSON.stringify({ publicKey: text(n), allowedIps: [range(n)], ...more });

  test('takes a line for each, from a file or standard input, and a second time changes nothing', async () => {
    const input = [line(1), '', line(2, { presharedKey: text(5), admittedAt: 3 }), '# a remark'].join('\n');
    expect(await take(input)).toBe(0);
    expect(io.out).toBe('2 peers added, 0 changed, 0 as before\n');
    const first = await kept();
    expect(first).toHaveLength(2);
    expect(first).toContainEqual(peer(2, { presharedKey: keyOf(5), admittedAt: 3 }));
    expect(first).toContainEqual(peer(1, { admittedAt: NOW }));
    writeFileSync(join(folder, 'file'), input.replaceAll('\n', '\r\n'));
    expect(await take('', join(folder, 'file'))).toBe(0);
    expect(io.out).toBe('0 peers added, 0 changed, 2 as before\n');
    expect(await kept()).toEqual(first);
  });

  test.each([
    ['a line of values without the names of its columns', `${text(1)},${range(1)}`],
    ['other names', `key,ips\n${text(1)},${range(1)}`],
    ['another separator', `publicKey;allowedIps\n${text(1)};${range(1)}`],
    ['an array of JSON', `[${JSON.stringify({ publicKey: text(1), allowedIps: [range(1)] })}]`],
    ['a file of wg', `[Peer]\nPublicKey = ${text(1)}`],
  ])('refuses %s, which would be a file without peers', async (_name, input) => {
    await expect(take(input)).rejects.toMatchObject({
      code: 'ERR_CLI_INPUT',
      message: expect.stringContaining('line 1 names no columns'),
    });
  });

  test('takes values by commas, under the names of their columns', async () => {
    const rows = [
      'allowedIps,publicKey, presharedKey,lastSeenAt',
      `"${range(1)}, 10.0.0.0/8",${text(1)},,`,
      `${range(2)} 10.2.0.0/16,"${text(2)}",${text(5)},17`,
      `,"${text(3)}"`,
    ];
    expect(await take(rows.join('\n'))).toBe(0);
    const [eight, sixteen] = [
      { ip: Uint8Array.of(10, 0, 0, 0), prefix: 8 },
      { ip: Uint8Array.of(10, 2, 0, 0), prefix: 16 },
    ];
    const records = await kept();
    expect(records).toHaveLength(3);
    expect(records).toContainEqual(peer(1, { admittedAt: NOW, allowedIps: [addressOf(1), eight] }));
    expect(records).toContainEqual(
      peer(2, {
        admittedAt: NOW,
        allowedIps: [addressOf(2), sixteen],
        presharedKey: keyOf(5),
        lastSeenAt: 17,
      }),
    );
  });

  test('names each line that is bad, shows no key of it, and takes the others', async () => {
    const bad = [
      '{',
      line(1, { publicKey: 'AAAA' }),
      line(1, { presharedKey: 'hunter2' }),
      line(1, { presharedkey: text(5) }),
      line(1, { allowedIps: '10.0.0.1' }),
      line(1, { allowedIps: ['10.0.0.1/33'] }),
      line(1, { admittedAt: '2023' }),
      line(1, { enrolledUnder: '' }),
      line(1, { allowedIps: [range(2)] }),
      '7',
    ];
    const outcome = take([line(2), ...bad, line(3)].join('\n'));
    await expect(outcome).rejects.toMatchObject({
      code: 'ERR_CLI_INPUT',
      message: '10 lines could not be taken',
    });
    expect(io.out).toBe('2 peers added, 0 changed, 0 as before\n');
    const said = io.err.trimEnd().split('\n');
    expect(said).toHaveLength(10);
    expect(said[0]).toBe('wireonce: standard input, line 2: no JSON');
    expect(io.err).toContain(`line 10: ${range(2)} belongs to peer ${text(2)}`);
    for (const secret of ['hunter2', text(5)]) expect(io.err).not.toContain(secret);
    expect((await kept()).map(({ publicKey }) => encodeKey(publicKey)).toSorted()).toEqual(
      [text(2), text(3)].toSorted(),
    );
  });

  test('of more than ten bad lines the number is said', async () => {
    await expect(take('{\n'.repeat(1_000))).rejects.toMatchObject({
      message: '1,000 lines could not be taken',
    });
    expect(io.err.trimEnd().split('\n')).toHaveLength(10);
  });

  test('keeps the later of what was seen, and loads anew whom it has changed', async () => {
    const stamp = (byte: number) => new Uint8Array(12).fill(byte);
    await fill(
      peer(1, { lastSeenAt: 50, latestTimestamp: stamp(5) }),
      peer(2, { latestTimestamp: stamp(1) }),
      peer(3),
    );
    const heard = await serve(1, 2, 3, 4);
    const older = { lastSeenAt: 40, latestTimestamp: '04'.repeat(12), admittedAt: peer(1).admittedAt };
    const lines = [
      line(1, older),
      line(2, { latestTimestamp: '02'.repeat(12), allowedIps: [] }),
      line(3),
      line(4),
    ];
    expect(await take(lines.join('\n'))).toBe(0);
    expect(io.out).toBe('1 peer added, 1 changed, 2 as before\n');
    const records = await kept();
    expect(records).toContainEqual(peer(1, { lastSeenAt: 50, latestTimestamp: stamp(5) }));
    expect(records).toContainEqual(peer(2, { latestTimestamp: stamp(2), allowedIps: [] }));
    expect(removedFrom(heard)).toEqual([text(2)]);
  });

  test('holds no more than a line of what has no lines', async () => {
    await expect(take('x'.repeat(1_000_000))).rejects.toMatchObject({
      code: 'ERR_CLI_INPUT',
      message: 'line 1 is longer than 262144 bytes: these are no peers',
    });
    await expect(take('', join(folder, 'none'))).rejects.toMatchObject({ code: 'ERR_CLI_INPUT' });
  });
});

describe('expire', () => {
  test('takes out who has enrolled and was not seen for so long, but nobody who is connected', async () => {
    const old = { admittedAt: NOW - 9 * DAY, enrolledUnder: 'a' };
    await fill(
      peer(1, old),
      peer(2, { ...old, lastSeenAt: NOW - DAY }),
      peer(3, old),
      peer(4, { ...old, enrolledUnder: undefined }),
    );
    const heard = await serve(1, 3);
    expect(await expire(io, 'wg0', options({ olderThan: 2 * DAY }))).toBe(0);
    // The daemon of this test has seen nobody.
    expect(io.out).toBe('2 peers expired\n');
    expect(removedFrom(heard).toSorted()).toEqual([text(1), text(3)].toSorted());
    expect(await expire(io, 'wg0', options({ olderThan: 2 * DAY, added: true }))).toBe(0);
    expect((await kept()).map(({ publicKey }) => encodeKey(publicKey))).toEqual([text(2)]);
  });

  test('spares whom the daemon has heard of since', async () => {
    await fill(peer(1, { admittedAt: NOW - 9 * DAY, enrolledUnder: 'a' }));
    await serve(1);
    expect(await expire(io, 'wg0', { ...options({ olderThan: 2 * DAY }), now: () => 5 * DAY })).toBe(0);
    expect(await kept()).toHaveLength(1);
  });
});

describe('which store', () => {
  test('is what the configuration of the interface says', async () => {
    const secret = join(folder, 'secret');
    writeFileSync(
      join(folder, 'wg0.conf'),
      `[Enrolment]\nSecretFile = ${secret}\nPrefix = fd5e:7c1a:9b2d::/64\nStore = ${store}\n`,
    );
    const { store: _, ...rest } = options({ allowedIps: [addressOf(1)] });
    expect(await addPeer(io, 'wg0', keyOf(1), rest)).toBe(0);
    expect(statSync(store).isFile()).toBe(true);
    writeFileSync(
      join(folder, 'wg0.conf'),
      readFileSync(join(folder, 'wg0.conf'), 'utf8').replace(store, 'https://user:password@peers.example/'),
    );
    const error = await addPeer(io, 'wg0', keyOf(1), rest).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'ERR_CLI_INPUT',
      message: expect.stringContaining('known to a service'),
    });
    expect(String(error)).not.toContain('password');
  });
});

describe('the command line', () => {
  test.each([
    [['add', 'wg0', 'AAAA', '--allowed-ips', '10.0.0.1']],
    [['add', 'wg0', text(1), '--allowed-ips', '10.0.0.1/33']],
    [['add', 'no/name', text(1), '--allowed-ips', '10.0.0.1']],
    [['remove', 'wg0']],
    [['remove', 'wg0', text(1), '--secret', 'a']],
    [['expire', 'wg0']],
    [['expire', 'wg0', '--older-than', '30']],
    [['expire', 'wg0', '--older-than', 'never']],
    [['frobnicate', 'wg0']],
  ])('peers %j is called wrongly', async args => {
    expect(await runCli(['peers', ...args, '--store', store], io)).toBe(2);
    expect(io.err).toMatch(/^wireonce: /);
  });

  test('does what the words say', async () => {
    const run = (...args: string[]) => runCli(['peers', ...args, '--store', store], io);
    // No daemon has an interface of that name.
    const name = 'wo-nobody';
    expect(await run('add', name, text(1), '--allowed-ips', `${range(1)}, 10.0.0.0/8`)).toBe(0);
    expect(await run('add', name, text(2), '--allowed-ips', range(2))).toBe(0);
    expect(await run('remove', name, text(1), text(2), '--forget')).toBe(0);
    expect(await run('expire', name, '--older-than', '30d', '--added')).toBe(0);
    expect(io.err).toBe('');
    expect(await kept()).toEqual([]);
  });
});
