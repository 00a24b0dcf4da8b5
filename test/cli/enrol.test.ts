// What is derived for one client, and the secret that it is derived from. The expected values are those of another
// implementation: hashlib.blake2s of Python, over the bytes that docs/configuration.md "Enrolment" lists.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCli } from '../../cli/program.js';
import { decodeKey } from '../../tunnel/keys.js';
import { terminal } from './terminal.js';

async function run(...argv: string[]) {
  const io = terminal();
  const exitCode = await runCli(argv, io);
  return { exitCode, out: io.out, err: io.err };
}

let folder: string;
let secretFile: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-enrol-'));
  secretFile = join(folder, 'secret');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function secret(byte: number, mode = 0o600): void {
  writeFileSync(secretFile, `${Buffer.alloc(32, byte).toString('base64')}\n`);
  chmodSync(secretFile, mode);
}

const key = (byte: number) => Buffer.alloc(32, byte).toString('base64');

function derive(prefix: string, gateway: string, publicKey: string, ...more: string[]) {
  const given = [
    '--secret-file',
    secretFile,
    '--prefix',
    prefix,
    '--gateway',
    gateway,
    '--public-key',
    publicKey,
  ];
  return run('enrol', 'derive', ...given, ...more);
}

const KNOWN = [
  {
    secret: 1,
    prefix: 'fd5e:7c1a:9b2d::/64',
    gateway: 2,
    publicKey: 3,
    presharedKey: 'J37Daf5gUDGWPA7VHN8iq1dYQen6tDLO0kfAnR9nA60=',
    address: 'fd5e:7c1a:9b2d:0:7c10:c983:b23b:5f80',
  },
  {
    secret: 0xff,
    prefix: '2001:db8:1:2::/64',
    gateway: 0xaa,
    publicKey: 0x55,
    presharedKey: 'DIosI3w48HoysJ2HtqgkrX8Ld5H5lE8SO5FPK1RYVRg=',
    address: '2001:db8:1:2:c6ff:4c8c:5aec:ef4e',
  },
] as const;

describe.each(KNOWN)('$publicKey at $gateway', known => {
  test('has the preshared key and the address that another implementation derives', async () => {
    secret(known.secret);
    const { exitCode, out, err } = await derive(
      known.prefix,
      key(known.gateway),
      key(known.publicKey),
      '--json',
    );
    expect([exitCode, err]).toEqual([0, '']);
    expect(JSON.parse(out)).toEqual({ presharedKey: known.presharedKey, address: known.address });
  });

  test('for a person, as lines of a configuration', async () => {
    secret(known.secret);
    const { out } = await derive(known.prefix, key(known.gateway), key(known.publicKey));
    expect(out).toBe(`PresharedKey = ${known.presharedKey}\nAddress = ${known.address}/64\n`);
  });
});

test('a secret is 32 random bytes, as genpsk prints them, and derive takes it', async () => {
  const { out } = await run('enrol', 'secret');
  expect(decodeKey(out.trim())).toHaveLength(32);
  expect((await run('enrol', 'secret')).out).not.toBe(out);
  writeFileSync(secretFile, out, { mode: 0o600 });
  expect((await derive('fd00::/64', key(2), key(3))).exitCode).toBe(0);
});

describe('refused', () => {
  test.each([
    ['a prefix that is no /64', 'fd00::/48', key(2), key(3), 2, /^wireonce: --prefix: .*no \/64/],
    ['a gateway that is no key', 'fd00::/64', 'x', key(3), 2, /^wireonce: --gateway: a key has 44/],
    ['a client that is no key', 'fd00::/64', key(2), 'x', 2, /^wireonce: --public-key: a key has 44/],
  ])('%s', async (_, prefix, gateway, publicKey, status, words) => {
    secret(1);
    const { exitCode, err } = await derive(prefix, gateway, publicKey);
    expect([exitCode, err]).toEqual([status, expect.stringMatching(words)]);
  });

  test('a secret that every user may read, that is none, and that is not there', async () => {
    secret(1, 0o644);
    expect(await derive('fd00::/64', key(2), key(3))).toMatchObject({
      exitCode: 1,
      out: '',
      err: expect.stringContaining('chmod 600'),
    });
    writeFileSync(secretFile, 'short');
    chmodSync(secretFile, 0o600);
    expect(await derive('fd00::/64', key(2), key(3))).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining('does not hold 32 bytes'),
    });
    rmSync(secretFile);
    expect(await derive('fd00::/64', key(2), key(3))).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining('no such file'),
    });
  });

  test('a flag that is missing', async () => {
    expect((await run('enrol', 'derive', '--prefix', 'fd00::/64')).exitCode).toBe(2);
  });
});
