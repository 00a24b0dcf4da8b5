// A store and its processes: one that is killed at any instant, and several at once.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FilePeerStore } from '../../../gateway/stores/file.js';
import { openSqlite } from '../../../gateway/stores/sqlite.js';
import { addressOf, inFolder, keyOf, listed, peer, put } from './stores.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const ROUNDS = 20;
let program: string;
/** The same with all that is imported by name, where the library that is asked for at run time cannot be found. */
let alone: string;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  // Where it finds the packages that we have.
  const folder = mkdtempSync(join(ROOT, 'node_modules/.wireonce-writer-'));
  program = join(folder, 'writer.mjs');
  const entry = fileURLToPath(new URL('writer.ts', import.meta.url));
  alone = join(mkdtempSync(join(tmpdir(), 'wireonce-writer-')), 'writer.mjs');
  const options = { bundle: true, format: 'esm', platform: 'node', logLevel: 'error' } as const;
  await build({ ...options, entryPoints: [entry], outfile: program, packages: 'external' });
  await build({ ...options, entryPoints: [entry], outfile: alone });
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
});
afterAll(() => {
  for (const path of [program, alone]) rmSync(dirname(path), { recursive: true, force: true });
});

interface Writer {
  readonly child: ChildProcess;
  /** What it has said so far. */
  readonly said: () => string;
  readonly ended: Promise<void>;
}

function write(path: string, job: string, from: number): Writer {
  const child = spawn(process.execPath, [program, path, job, String(from)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  let said = '';
  child.stdout.on('data', chunk => (said += String(chunk)));
  const ended = new Promise<void>(resolve =>
    child.on('close', () => {
      children.delete(child);
      resolve();
    }),
  );
  return { child, said: () => said, ended };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await sleep(2);
}

/** Starts one that writes for ever, and kills it at some instant after its first words. Returns what it was promised. */
async function killed(path: string, from: number): Promise<Map<number, number>> {
  const { child, said, ended } = write(path, 'forever', from);
  await until(() => said() !== '' || child.exitCode !== null);
  await sleep(Math.random() * 40);
  child.kill('SIGKILL');
  await ended;
  // A line that is cut off was not said.
  const lines = said().split('\n').slice(0, -1);
  return new Map(lines.map(line => line.split(' ').map(Number) as [number, number]));
}

/** Which of what was promised is not there. */
function lost(store: FilePeerStore, promised: ReadonlyMap<number, number>): number[] {
  const isKept = ([n, value]: [number, number]) =>
    (store.get(keyOf(n))?.lastSeenAt ?? -1) >= value &&
    store.ownerOf(addressOf(n))?.join() === keyOf(n).join();
  return [...promised].filter(each => !isKept(each)).map(([n]) => n);
}

describe('a process that is killed', () => {
  it('loses nothing that it was promised, whenever it is', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'peers');
      const promised = new Map<number, number>();
      const next = () => Math.max(0, ...promised.values()) + 1;
      for (let i = 0; i < ROUNDS; i++) {
        for (const [n, value] of await killed(path, next())) promised.set(n, value);
        const store = await FilePeerStore.open(path);
        expect(lost(store, promised)).toEqual([]);
        const all = await listed(store);
        expect(store.count()).toBe(all.length);
        const { ip } = addressOf(2_000);
        const owners = all.filter(({ allowedIps }) =>
          allowedIps.some(each => Buffer.compare(each.ip, ip) === 0),
        );
        expect(owners.length).toBeLessThanOrEqual(1);
        await store.close();
      }
      expect(next()).toBeGreaterThan(ROUNDS);
    });
  });

  it('and this test would see a loss: of one that says what it was not promised (control)', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'peers');
      const { said, ended } = write(path, 'early', 5);
      await ended;
      expect(said()).toBe('5 0\n');
      const store = await FilePeerStore.open(path);
      expect(lost(store, new Map([[5, 0]]))).toEqual([5]);
      await store.close();
    });
  });

  it('in the midst of a transaction, of which a part is on the disk, leaves what was before', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'peers');
      const store = await FilePeerStore.open(path);
      await Promise.all(Array.from({ length: 500 }, (_, n) => put(store, peer(n))));
      await store.close();
      const { said, ended } = write(path, 'die', 1_000);
      await ended;
      expect(said()).toBe('begins\n');
      expect(statSync(`${path}-wal`).size).toBeGreaterThan(1_000_000);
      const again = await FilePeerStore.open(path);
      expect([again.count(), (await listed(again)).length]).toEqual([500, 500]);
      await again.close();
    });
  });

  const damages: readonly (readonly [name: string, damage: (log: Buffer) => Uint8Array])[] = [
    ['is gone', () => new Uint8Array()],
    ['is cut off', log => log.subarray(0, Math.random() * log.length)],
    ['has a bit that turned', log => log.map((byte, i) => (i === 40 ? byte ^ 1 : byte))],
    ['has bits that turned', log => log.map(byte => (Math.random() < 0.001 ? byte ^ 4 : byte))],
    ['is anything', log => Buffer.from(Uint8Array.from(log, () => Math.random() * 256))],
  ];

  it.each(damages)(
    'leaves a log on which no promise depends: it %s, and all is there, or refused',
    async (_, damage) => {
      await inFolder(async folder => {
        const path = join(folder, 'peers');
        const promised = await killed(path, 1);
        const log = readFileSync(`${path}-wal`);
        expect(log.length).toBeGreaterThan(0);
        writeFileSync(`${path}-wal`, damage(log));
        const store = await FilePeerStore.open(path).catch((error: unknown) => error);
        // Who was killed while it carried over has left a part of that, and the rest is damaged now.
        if (!(store instanceof FilePeerStore)) expect(store).toMatchObject({ code: 'ERR_STORE_DAMAGED' });
        else {
          expect(lost(store, promised)).toEqual([]);
          await store.close();
        }
      });
    },
  );

  it('while another reads for long, promises stand in the log alone, and go with it (control)', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'peers');
      await (await FilePeerStore.open(path)).close();
      const reader = await openSqlite(path);
      let promised = new Map<number, number>();
      await reader.snapshot(async () => {
        reader.prepare('SELECT count(*) FROM peers').get();
        promised = await killed(path, 1);
      });
      const copy = join(folder, 'copy');
      writeFileSync(copy, readFileSync(path), { mode: 0o600 });
      reader.close();
      const store = await FilePeerStore.open(copy);
      expect(lost(store, promised).length).toBeGreaterThan(0);
      await store.close();
    });
  });
});

describe('several processes at once', () => {
  it('each finds what the others were promised, and all of it is there at the end', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'peers');
      const store = await FilePeerStore.open(path);
      const writers = [10_000, 20_000].map(from => write(path, 'hundred', from));
      let own = 0;
      while (writers.some(({ child }) => child.exitCode === null)) {
        await put(store, peer(own++));
        for (const { said } of writers) {
          const last = said().split('\n').at(-2);
          if (last !== undefined) expect(store.get(keyOf(Number(last.split(' ')[0])))).toBeDefined();
        }
        await sleep(5);
      }
      await Promise.all(writers.map(({ ended }) => ended));
      expect(writers.map(({ said }) => said().split('\n').length - 1)).toEqual([100, 100]);
      expect(store.count()).toBe(200 + own);
      await store.close();
      const again = await FilePeerStore.open(path);
      expect(await listed(again)).toHaveLength(200 + own);
      await again.close();
    });
  });

  it('one that is opened while another writes is not taken for damaged', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'peers');
      const first = await FilePeerStore.open(path);
      await Promise.all(Array.from({ length: 3_000 }, (_, n) => put(first, peer(50_000 + n))));
      await first.close();
      const writer = write(path, 'forever', 1);
      await until(() => writer.said() !== '');
      for (let i = 0; i < 10; i++) {
        const store = await FilePeerStore.open(path);
        expect(store.count()).toBeGreaterThanOrEqual(3_000);
        await store.close();
      }
      const { length } = writer.said();
      await until(() => writer.said().length > length);
      writer.child.kill('SIGKILL');
      await writer.ended;
    });
  });
});

it('where no SQLite is, what would bring it is said, and nothing is made', async () => {
  await inFolder(async folder => {
    const path = join(folder, 'peers');
    const done = promisify(execFile)(process.execPath, [alone, path, 'hundred', '0']);
    // Node has its own from 24 on.
    if (Number.parseInt(process.versions.node, 10) >= 24) expect((await done).stdout).toContain('99 0');
    else {
      await expect(done).rejects.toThrow(
        'a store in a file needs Node 24, or npm install @photostructure/sqlite: Cannot find package',
      );
      expect(existsSync(path)).toBe(false);
    }
  });
});
