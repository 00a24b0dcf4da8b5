// A file that is not as it was written: cut off, with bits that turned, overwritten, another program's. It is refused, with words
// that say why, or what is read is right.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FilePeerStore } from '../../../gateway/stores/file.js';
import type { PeerRecord } from '../../../gateway/store.js';
import { addressOf, inFolder, keyOf, listed, peer, put } from './stores.js';

const PEERS = 150;
const GONE = 150;
const REFUSED = ['ERR_STORE_DAMAGED', 'ERR_STORE_FOREIGN'];

/** The bytes of a store that has seen some life. */
async function madeStore(): Promise<{ readonly bytes: Buffer; readonly records: readonly PeerRecord[] }> {
  return inFolder(async folder => {
    const path = join(folder, 'peers');
    const store = await FilePeerStore.open(path);
    const name = { enrolledUnder: 'a secret', latestTimestamp: new Uint8Array(12).fill(4) };
    await Promise.all(Array.from({ length: PEERS + GONE }, (_, n) => put(store, peer(n, n % 2 ? name : {}))));
    await Promise.all(
      Array.from({ length: GONE }, (_, n) => store.update(keyOf(PEERS + n), () => undefined)),
    );
    const records = await listed(store);
    await store.close();
    return { bytes: readFileSync(path), records };
  });
}

const made = await madeStore();

/** `refused`, or `right` when all that can be read is; anything else is thrown. */
async function outcomeOf(bytes: Uint8Array): Promise<'refused' | 'right'> {
  return inFolder(async folder => {
    const path = join(folder, 'peers');
    writeFileSync(path, bytes, { mode: 0o600 });
    let store: FilePeerStore;
    try {
      store = await FilePeerStore.open(path);
    } catch (error) {
      expect(REFUSED, String(error)).toContain((error as { code?: string }).code);
      expect((error as Error).message).toMatch(/damaged|cannot be read/);
      return 'refused';
    }
    try {
      expect(await listed(store)).toEqual(made.records);
      expect(store.count()).toBe(PEERS);
      const numbers = Array.from({ length: PEERS + GONE }, (_, n) => n);
      const found = numbers.filter(
        n => store.get(keyOf(n)) && store.ownerOf(addressOf(n))?.join() === keyOf(n).join(),
      );
      expect(found).toEqual(numbers.slice(0, PEERS));
      expect(numbers.slice(PEERS).filter(n => store.get(keyOf(n)) ?? store.ownerOf(addressOf(n)))).toEqual(
        [],
      );
      // And what is written now is there afterwards.
      await put(store, peer(9_999));
      expect(store.get(keyOf(9_999))).toEqual(peer(9_999));
    } finally {
      await store.close();
    }
    return 'right';
  });
}

describe('a store', () => {
  it('is right as it was written (control)', async () => {
    expect(made.bytes.length).toBeGreaterThan(30_000);
    expect(await outcomeOf(made.bytes)).toBe('right');
  });

  it('that ends too early is refused or right, and refused when half is gone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: made.bytes.length - 1 }), async length => {
        const outcome = await outcomeOf(made.bytes.subarray(0, length));
        if (length < made.bytes.length / 2) expect(outcome).toBe('refused');
      }),
      { numRuns: 60 },
    );
  });

  it('with a bit that turned, anywhere, is refused or right', async () => {
    const outcomes: string[] = [];
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 8 * made.bytes.length - 1 }), async bit => {
        const bytes = Buffer.from(made.bytes);
        bytes[bit >> 3] ^= 1 << (bit & 7);
        outcomes.push(await outcomeOf(bytes));
      }),
      { numRuns: 150 },
    );
    // Some bits mean nothing, as in a page that is free.
    expect(outcomes.filter(outcome => outcome === 'refused').length).toBeGreaterThan(outcomes.length / 4);
  });

  it('with a piece of anything in it is refused or right', async () => {
    const piece = fc.record({
      at: fc.integer({ min: 0, max: made.bytes.length - 1 }),
      bytes: fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 5_000 }),
        fc.integer({ min: 1, max: 5_000 }).map(length => new Uint8Array(length)),
        // Another part of the same file: pages that stand twice.
        fc
          .integer({ min: 0, max: (made.bytes.length >> 12) - 1 })
          .map(page => made.bytes.subarray(page << 12, (page + 1) << 12)),
      ),
      aligned: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(piece, async ({ at, bytes, aligned }) => {
        const damaged = Buffer.from(made.bytes);
        Buffer.from(bytes).copy(damaged, aligned ? at & ~4_095 : at);
        await outcomeOf(damaged);
      }),
      { numRuns: 100 },
    );
  });

  it('with bits that turned where SQLite does not look is refused, and SQLite alone reads them (control)', async () => {
    // A key and a name stand in the file as they are, here and there what is left of older ones.
    for (const text of [keyOf(3), Buffer.from('a secret')]) {
      const bytes = Buffer.from(made.bytes);
      for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text)) bytes[at + text.length - 1] ^= 1;
      expect(await outcomeOf(bytes)).toBe('refused');
      await inFolder(async folder => {
        const path = join(folder, 'peers');
        writeFileSync(path, bytes, { mode: 0o600 });
        const { openSqlite } = await import('../../../gateway/stores/sqlite.js');
        const sqlite = await openSqlite(path);
        expect(sqlite.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
        expect(sqlite.prepare('SELECT * FROM peers').all()).toHaveLength(PEERS);
        sqlite.close();
      });
    }
  });

  it('a record that changes while the store is open is refused when it is read', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'peers');
      writeFileSync(path, made.bytes, { mode: 0o600 });
      const store = await FilePeerStore.open(path);
      const { openSqlite } = await import('../../../gateway/stores/sqlite.js');
      const other = await openSqlite(path);
      other.prepare('UPDATE peers SET value = zeroblob(30) WHERE key = ?').run(keyOf(3));
      other.close();
      expect(() => store.get(keyOf(3))).toThrow(expect.objectContaining({ code: 'ERR_STORE_DAMAGED' }));
      await expect(put(store, peer(3))).rejects.toMatchObject({ code: 'ERR_STORE_DAMAGED' });
      expect(store.get(keyOf(4))).toEqual(
        made.records.find(({ publicKey }) => Buffer.compare(publicKey, keyOf(4)) === 0),
      );
      await store.close();
    });
  });
});

describe('what is no store', () => {
  const refusal = (path: string, options = {}) =>
    FilePeerStore.open(path, options).then(
      async store => {
        await store.close();
        return 'opened';
      },
      (error: { code: string; message: string }) => `${error.code} ${error.message}`,
    );

  it('is left as it is, and what it is is said', async () => {
    await inFolder(async folder => {
      const file = (name: string, bytes: string | Uint8Array, mode = 0o600) => {
        writeFileSync(join(folder, name), bytes, { mode });
        chmodSync(join(folder, name), mode);
        return join(folder, name);
      };
      const { openSqlite } = await import('../../../gateway/stores/sqlite.js');
      const other = await openSqlite(file('other', ''));
      other.exec('CREATE TABLE cookies (name TEXT)');
      other.close();
      const later = Buffer.from(made.bytes);
      later.writeUInt32BE(2, 60);
      symlinkSync(join(folder, 'nowhere/at/all'), join(folder, 'dangling'));
      mkdirSync(join(folder, 'a-folder'));
      execFileSync('mkfifo', ['-m', '600', join(folder, 'a-pipe')]);
      const cases: [path: string, said: RegExp][] = [
        [join(folder, 'other'), /^ERR_STORE_FOREIGN .*the database of another program/],
        [file('text', 'PrivateKey = '.repeat(100)), /^ERR_STORE_FOREIGN .*no store of peers/],
        [file('short', 'SQLite format 3\0'), /^ERR_STORE_FOREIGN /],
        [file('later', later), /^ERR_STORE_FOREIGN .*it has format 2, and this version knows 1/],
        [file('readable', made.bytes, 0o644), /^ERR_STORE_OPEN .*chmod 600/],
        [join(folder, 'a-folder'), /^ERR_STORE_OPEN .*it is a folder/],
        [join(folder, 'text/inside'), /^ERR_STORE_OPEN .*(ENOTDIR|EEXIST)/],
        ['/dev/null', /^ERR_STORE_OPEN .*it is no file/],
        [join(folder, 'a-pipe'), /^ERR_STORE_OPEN .*it is no file/],
        [join(folder, 'a\0b'), /^ERR_STORE_OPEN /],
      ];
      const before = readdirSync(folder);
      for (const [path, said] of cases) expect(await refusal(path)).toMatch(said);
      expect(await refusal(join(folder, 'none'), { create: false })).toMatch(/^ERR_STORE_OPEN .*ENOENT/);
      expect(readdirSync(folder)).toEqual(before);
      expect(readFileSync(join(folder, 'later'))).toEqual(later);
    });
  });

  it('an empty file, as one leaves who dies while making a store, becomes one', async () => {
    await inFolder(async folder => {
      writeFileSync(join(folder, 'peers'), '', { mode: 0o600 });
      expect(await refusal(join(folder, 'peers'))).toBe('opened');
      expect(await refusal(join(folder, 'peers'), { create: false })).toBe('opened');
    });
  });

  it('a store that is made is nobody else’s to read, whatever the umask, and so is its folder', async () => {
    await inFolder(async folder => {
      const before = process.umask(0);
      try {
        expect(await refusal(join(folder, 'new/peers'))).toBe('opened');
      } finally {
        process.umask(before);
      }
      expect(statSync(join(folder, 'new/peers')).mode & 0o777).toBe(0o600);
      expect(statSync(join(folder, 'new')).mode & 0o777).toBe(0o700);
      for (const name of readdirSync(join(folder, 'new')))
        expect(statSync(join(folder, 'new', name)).mode & 0o077).toBe(0);
    });
  });

  it('what is written into a store whose file is gone is not promised', async () => {
    await inFolder(async folder => {
      const store = await FilePeerStore.open(join(folder, 'peers'));
      await put(store, peer(1));
      rmSync(join(folder, 'peers'));
      await expect(put(store, peer(2))).rejects.toMatchObject({ code: 'ERR_STORE_WRITE' });
      await store.close();
    });
  });
});
