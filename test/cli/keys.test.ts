// genkey, pubkey, genpsk: what `wg` prints, and never a secret of OpenSSL's.

import { closeSync, createWriteStream, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { describe, expect, test } from 'vitest';
import { runCli } from '../../cli/program.js';
import { decodeKey } from '../../tunnel/keys.js';
import { terminal } from './terminal.js';

async function run(argv: string[], stdin: string | Uint8Array = '') {
  const io = terminal(stdin);
  const exitCode = await runCli(argv, io);
  return { exitCode, out: io.out, err: io.err };
}

describe('genkey and genpsk', () => {
  test('genkey prints a clamped key on a line of its own, another one each time', async () => {
    const keys = new Set<string>();
    for (let i = 0; i < 4; i++) {
      const { exitCode, out, err } = await run(['genkey']);
      expect([exitCode, err]).toEqual([0, '']);
      expect(out).toMatch(/^[A-Za-z0-9+/]{43}=\n$/);
      const key = decodeKey(out.trim());
      expect([key[0] & 7, key[31] & 0xc0]).toEqual([0, 0x40]);
      keys.add(out);
    }
    expect(keys.size).toBe(4);
  });

  test('genpsk prints 32 bytes that are not clamped', async () => {
    const low = new Set<number>();
    for (let i = 0; i < 12; i++) low.add(decodeKey((await run(['genpsk'])).out.trim())[0] & 7);
    expect(low.size).toBeGreaterThan(1);
  });

  test.each([
    [0o644, true],
    [0o600, false],
  ])('into a file of mode %o: warns %s', async (mode, warns) => {
    const folder = mkdtempSync(join(tmpdir(), 'wireonce-keys-'));
    try {
      const path = join(folder, 'key');
      const fd = openSync(path, 'w', mode);
      const stdout = createWriteStream(path, { fd, autoClose: false });
      const io = terminal();
      const exitCode = await runCli(['genkey'], {
        ...io,
        stdout: Object.assign(stdout, { fd }),
      });
      stdout.end();
      await finished(stdout);
      closeSync(fd);
      expect(exitCode).toBe(0);
      expect(readFileSync(path, 'utf8')).toHaveLength(45);
      expect(io.err.startsWith('Warning: writing to world accessible file.\n')).toBe(warns);
      expect(io.err === '').toBe(!warns);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('pubkey', () => {
  // RFC 7748 section 6.1.
  const ALICE = 'dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=';
  const ALICE_PUBLIC = 'hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=';

  test.each(['', '\n', '\r\n', ' \t\n\0'])('computes the key of RFC 7748, with %j after it', async end => {
    expect(await run(['pubkey'], ALICE + end)).toEqual({ exitCode: 0, out: `${ALICE_PUBLIC}\n`, err: '' });
  });

  const BAD = 'wireonce: Key is not the correct length or format\n';
  test.each([
    ['nothing', '', BAD],
    ['too short', 'abc\n', BAD],
    ['a space before it', ` ${ALICE}`, 'wireonce: Trailing characters found after key\n'],
    ['more behind it', `${ALICE}\nx`, 'wireonce: Trailing characters found after key\n'],
    ['spare bits set', `${ALICE.slice(0, 42)}p=`, BAD],
    ['not base64', `${'*'.repeat(43)}=`, BAD],
    ['bytes beyond ASCII', Buffer.alloc(44, 0xe9), BAD],
  ])('refuses %s in the words of wg', async (_, stdin, err) => {
    expect(await run(['pubkey'], stdin)).toEqual({ exitCode: 1, out: '', err });
  });

  test('refuses an endless input', async () => {
    const { exitCode, err } = await run(['pubkey'], ALICE + ' '.repeat(10_000));
    expect([exitCode, err]).toEqual([1, 'wireonce: standard input is longer than 4096 bytes\n']);
  });

  test('ends at the signal though standard input stays open', async () => {
    const io = terminal();
    const stuck = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) };
    const done = runCli(['pubkey'], { ...io, stdin: stuck });
    io.interrupt();
    expect(await done).toBe(1);
  });
});
