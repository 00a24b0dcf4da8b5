// The file source: what it takes, what it refuses and why, how it notices a change, how it comes back.

import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { VmGenId, type VmGenIdEvent } from '../../vmgenid/driver.js';
import { NO_EPOCH, formatGuid, generationBytes } from '../../vmgenid/generation.js';
import { FileSource, type FileSourceOptions } from '../../vmgenid/sources/file.js';
import { lateWriter } from '../support/late-writer.js';

const raw = (n: number) => new Uint8Array(16).fill(n);
let folder: string;
let path: string;
const open: { close(): unknown }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-file-'));
  path = join(folder, 'generation');
});
afterEach(async () => {
  for (const it of open.splice(0)) await it.close();
  rmSync(folder, { recursive: true, force: true });
});

function source(options?: FileSourceOptions): FileSource {
  const it = new FileSource(path, options);
  open.push(it);
  return it;
}

function readBytes(from: FileSource): Uint8Array {
  const words = new Uint32Array(4);
  from.read(words);
  return generationBytes(words);
}

function replace(content: string | Uint8Array): void {
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
}

describe('file source: content', () => {
  it('is delayed and unique, named by its path, unless told otherwise', () => {
    expect(source()).toMatchObject({ name: `file:${path}`, timing: 'delayed', uniqueness: 'unique' });
    expect(source({ timing: 'immediate', format: 'counter32' })).toMatchObject({
      timing: 'immediate',
      uniqueness: 'counter',
    });
  });

  it('takes 16 raw bytes and GUID text, in each of its spellings, as the same id', () => {
    const bytes = Uint8Array.from({ length: 16 }, (_, i) => 0xf0 - i);
    for (const content of [
      bytes,
      formatGuid(bytes),
      `${formatGuid(bytes).toUpperCase()}\n`,
      `${formatGuid(bytes)}\r\n`,
      `{${formatGuid(bytes)}}\r\n`,
      ` ${formatGuid(bytes)}\n`,
      `${formatGuid(bytes).replaceAll('-', '')}\n`,
    ]) {
      writeFileSync(path, content);
      expect(readBytes(source())).toEqual(bytes);
    }
  });

  it.each([
    ['empty', '', 'ERR_SOURCE_FORMAT', /: 0 bytes, and not a GUID/],
    ['short', raw(1).subarray(1), 'ERR_SOURCE_FORMAT', /: 15 bytes, and not a GUID/],
    ['17 bytes', Buffer.alloc(17, 1), 'ERR_SOURCE_FORMAT', /17 bytes, and not/],
    ['a GUID cut off after 16 characters', '00112233-4455-66', 'ERR_SOURCE_FORMAT', /the rest is missing/],
    ['one in braces, cut off there', '{00112233-4455-6', 'ERR_SOURCE_FORMAT', /the rest is missing/],
    ['one after a blank, cut off there', ' 00112233-4455-6', 'ERR_SOURCE_FORMAT', /the rest is missing/],
    ['a GUID cut off', '00112233-4455-6677-8899-aabbccdd', 'ERR_SOURCE_FORMAT', /not a GUID/],
    ['no GUID', 'x'.repeat(36), 'ERR_SOURCE_FORMAT', /not a GUID/],
    ['a GUID and more', `${formatGuid(raw(1))}\nx`, 'ERR_SOURCE_FORMAT', /not a GUID/],
    ['37 characters', `${formatGuid(raw(1))}0`, 'ERR_SOURCE_FORMAT', /not a GUID/],
    ['a page', Buffer.alloc(4096), 'ERR_SOURCE_FORMAT', /too long/],
  ])('refuses %s, with path and reason', (_name, content, code, reason) => {
    writeFileSync(path, content);
    const refused = expect.objectContaining({ code, message: expect.stringMatching(reason) });
    expect(() => readBytes(source())).toThrow(refused);
    expect(() => readBytes(source())).toThrow(path);
  });

  it('refuses a missing file, a folder, and one that it may not read', () => {
    expect(() => readBytes(source())).toThrow(expect.objectContaining({ code: 'ERR_SOURCE_UNREADABLE' }));
    expect(() => readBytes(source())).toThrow(/ENOENT/);
    mkdirSync(path);
    expect(() => readBytes(source())).toThrow(/not a regular file/);
    // A path through a file is refused to every user, root too.
    expect(() => readBytes(new FileSource('/dev/null/generation'))).toThrow(/ENOTDIR/);
  });

  it('reads a counter of 32 bits at the start of a file of any length', () => {
    const page = Buffer.alloc(4096, 0xee);
    page.writeUInt32LE(0x80000001, 0);
    writeFileSync(path, page);
    const words = new Uint32Array(4);
    source({ format: 'counter32' }).read(words);
    expect([...words]).toEqual([0x80000001, 0, 0, 0]);
    writeFileSync(path, page.subarray(0, 3));
    expect(() => readBytes(source({ format: 'counter32' }))).toThrow(
      /too short for a 32-bit counter: 3 bytes/,
    );
  });

  it('reads the ID of a container in its environment, and nothing that only resembles it', () => {
    const variables = (...lines: string[]) => writeFileSync(path, lines.map(line => `${line}\0`).join(''));
    const it = source({ format: 'environ', timing: 'immediate' });
    expect(it).toMatchObject({ timing: 'immediate', uniqueness: 'unique' });
    variables('PATH=/bin', `WIREONCE_GENERATION_ID=${formatGuid(raw(1))}`, `X=${'x'.repeat(100_000)}`);
    expect(readBytes(it)).toEqual(raw(1));
    variables(`WIREONCE_GENERATION_ID={${formatGuid(raw(2)).toUpperCase()}}`, 'WIREONCE_GENERATION_ID=other');
    expect(readBytes(it)).toEqual(raw(2));
    variables(
      `MY_WIREONCE_GENERATION_ID=${formatGuid(raw(3))}`,
      `A=WIREONCE_GENERATION_ID=${formatGuid(raw(3))}`,
    );
    expect(() => readBytes(it)).toThrow('has no WIREONCE_GENERATION_ID');
    variables('WIREONCE_GENERATION_ID=7');
    expect(() => readBytes(it)).toThrow('WIREONCE_GENERATION_ID is not a GUID');
    // Cut off behind the ID: it may have been longer.
    writeFileSync(path, `WIREONCE_GENERATION_ID=${formatGuid(raw(4))}`);
    expect(() => readBytes(it)).toThrow('has no WIREONCE_GENERATION_ID');
    variables('');
    expect(() => readBytes(it)).toThrow('has no WIREONCE_GENERATION_ID');
    variables(`WIREONCE_GENERATION_ID=${formatGuid(raw(5))}`, `X=${'x'.repeat(1 << 18)}`);
    expect(() => readBytes(it)).toThrow('too long for an environment');
  });

  it('notices a file that was rewritten in place and one that was renamed over it', () => {
    writeFileSync(path, raw(1));
    const it = source();
    expect(readBytes(it)).toEqual(raw(1));
    writeFileSync(path, raw(2));
    expect(readBytes(it)).toEqual(raw(2));
    replace(raw(3));
    expect(readBytes(it)).toEqual(raw(3));
    rmSync(path);
    expect(() => readBytes(it)).toThrow(/ENOENT/);
    writeFileSync(path, raw(4));
    expect(readBytes(it)).toEqual(raw(4));
  });
});

type Fs = typeof import('node:fs');

/** A source whose system calls are changed. */
async function sourceOver(change: (fs: Fs) => Partial<Fs>, options?: FileSourceOptions): Promise<FileSource> {
  vi.resetModules();
  vi.doMock('node:fs', async importOriginal => {
    const fs = await importOriginal<Fs>();
    return { ...fs, ...change(fs) };
  });
  try {
    const { FileSource: Changed } = await import('../../vmgenid/sources/file.js');
    const it = new Changed(path, options);
    open.push(it);
    return it;
  } finally {
    vi.doUnmock('node:fs');
  }
}

describe('file source: what is read again and again', () => {
  it.each([
    ['id', raw(1), raw(2)],
    ['counter32', raw(1), raw(2)],
    ['environ', environ(1), environ(2)],
  ] as const)('%s: one read, as long as it is as it was', async (format, before, after) => {
    writeFileSync(path, before);
    let reads = 0;
    const it = await sourceOver(
      ({ readSync }) => ({
        readSync: ((...args: Parameters<typeof readSync>) => {
          reads++;
          return readSync(...args);
        }) as typeof readSync,
      }),
      { format },
    );
    const first = readBytes(it);
    reads = 0;
    for (let n = 0; n < 10; n++) expect(readBytes(it)).toEqual(first);
    expect(reads).toBe(10);
    writeFileSync(path, after);
    expect(readBytes(it)).not.toEqual(first);
  });

  it('another value is seen though size, times and inode are those of before, as in a sandbox that was restored', () => {
    const times = { mtime: new Date(1_000), atime: new Date(2_000) };
    for (const format of ['id', 'environ', 'counter32'] as const) {
      const content = (n: number) => (format === 'environ' ? environ(n) : raw(n));
      writeFileSync(path, content(1));
      utimesSync(path, times.atime, times.mtime);
      const it = source({ format, timing: 'immediate' });
      const first = readBytes(it);
      const { ino, size, mtimeMs } = statSync(path);
      writeFileSync(path, content(2), { flag: 'r+' });
      utimesSync(path, times.atime, times.mtime);
      expect(statSync(path)).toMatchObject({ ino, size, mtimeMs });
      expect([format, readBytes(it)]).not.toEqual([format, first]);
    }
  });

  it('what was refused is refused as long as it is there, and what was taken before it is not', () => {
    writeFileSync(path, raw(1));
    const it = source();
    readBytes(it);
    writeFileSync(path, 'half');
    for (let n = 0; n < 3; n++) expect(() => readBytes(it)).toThrow(/not a GUID/);
    writeFileSync(path, raw(1));
    expect(readBytes(it)).toEqual(raw(1));
  });

  it('a pipe that comes in place of the file, between looking and opening, is not waited for', async () => {
    writeFileSync(path, raw(1));
    execFileSync('mkfifo', [`${path}.pipe`]);
    const it = await sourceOver(({ statSync: stat, renameSync: rename }) => ({
      statSync: ((...args: Parameters<typeof stat>) => {
        const stats = stat(...args);
        if (stats?.isFile()) rename(`${path}.pipe`, path);
        return stats;
      }) as typeof stat,
    }));
    const late = lateWriter(path);
    open.push(late);
    expect(() => readBytes(it)).toThrow(/not a regular file/);
    expect(late.hasCome()).toBe(false);
  });
});

function environ(n: number): string {
  return `PATH=/bin\0WIREONCE_GENERATION_ID=${formatGuid(raw(n))}\0`;
}

describe('file source: torn', () => {
  // Writes to the file between two reads of the source, as another processor would.
  async function tornBy(between: (read: number) => Uint8Array | undefined): Promise<FileSource> {
    let reads = 0;
    return sourceOver(fs => {
      const readSync = (...args: Parameters<typeof fs.readSync>) => {
        const length = fs.readSync(...args);
        const next = between(++reads);
        if (next) {
          const fd = openSync(path, 'r+');
          writeSync(fd, next, 0, 16, 0);
          closeSync(fd);
        }
        return length;
      };
      return { readSync: readSync as typeof fs.readSync };
    });
  }

  it('a value that changes under the first reads is taken when two reads agree', async () => {
    writeFileSync(path, raw(1));
    const it = await tornBy(read => (read <= 3 ? raw(10 + read) : undefined));
    expect(readBytes(it)).toEqual(raw(13));
  });

  it('a value that never settles is refused as torn', async () => {
    writeFileSync(path, raw(1));
    const it = await tornBy(read => raw(10 + read));
    expect(() => readBytes(it)).toThrow(
      expect.objectContaining({ code: 'ERR_SOURCE_TORN', message: expect.stringContaining(path) }),
    );
  });
});

describe('file source: under the driver', () => {
  async function watched(options?: FileSourceOptions) {
    const events: VmGenIdEvent[] = [];
    const vm = new VmGenId([source(options)], { onEvent: event => events.push(event) });
    open.push(vm);
    await vm.start();
    return { vm, events };
  }

  it.each([
    ['told by the system', { pollMs: 3_600_000 }],
    ['looking by itself', { pollMs: 5, watch: false }],
  ])('a new value is a fork, %s', async (_name, options) => {
    writeFileSync(path, raw(1));
    const { vm } = await watched(options);
    replace(raw(2));
    await vi.waitFor(() => expect(vm.epoch).toBe(2), { timeout: 10_000 });
    expect(vm.evidence.vmGenId).toEqual(raw(2));
  });

  it('lets nothing out while the file is away, recovers by itself, and tells the same value from another', async () => {
    writeFileSync(path, raw(1));
    const { vm, events } = await watched({ pollMs: 5 });
    rmSync(path);
    await vi.waitFor(() => expect(vm.check()).toBe(NO_EPOCH), { timeout: 10_000 });
    expect(vm.sources[0].reason).toContain(path);
    replace(raw(1));
    await vi.waitFor(() => expect(vm.check()).toBe(1), { timeout: 10_000 });
    expect(events.map(({ type }) => type)).toEqual(['sourceFailed', 'sourceRecovered']);
    writeFileSync(path, 'half');
    await vi.waitFor(() => expect(vm.check()).toBe(NO_EPOCH), { timeout: 10_000 });
    replace(raw(2));
    await vi.waitFor(() => expect(vm.check()).toBe(2), { timeout: 10_000 });
  });

  it('an immediate one is read at every check, without any watching', () => {
    writeFileSync(path, raw(1));
    const vm = new VmGenId([source({ timing: 'immediate' })]);
    open.push(vm);
    writeFileSync(path, raw(2));
    expect(vm.check()).toBe(2);
    // Control: a delayed one does not see it until it looks.
    const delayed = new VmGenId([source()]);
    open.push(delayed);
    writeFileSync(path, raw(3));
    expect([delayed.check(), delayed.poll()]).toEqual([1, 2]);
  });

  it('a folder that does not exist is looked for until it does', async () => {
    path = join(folder, 'later', 'generation');
    const { vm } = await watched({ pollMs: 5 });
    expect(vm.check()).toBe(NO_EPOCH);
    mkdirSync(join(folder, 'later'));
    replace(raw(1));
    await vi.waitFor(() => expect(vm.check()).toBe(2), { timeout: 10_000 });
  });
});
