// The counter page: what its readers see, and what it remembers over the life of a broker.

import {
  chmodSync,
  closeSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CounterPage, PAGE_BYTES } from '../../../vmgenid/broker/counter-page.js';
import { loadKoffi } from '../../../native/koffi.js';

const ONE = new Uint8Array(16).fill(1);
const TWO = new Uint8Array(16).fill(2);
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-broker-'));
  path = join(folder, 'vmgenid');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Opens, does something and closes: the life of a broker. */
function session(id?: Uint8Array, act: (page: CounterPage) => void = () => {}) {
  const page = new CounterPage(path, id);
  try {
    act(page);
    return page.history;
  } finally {
    page.close();
    page.close();
  }
}

const words = () => {
  const page = readFileSync(path);
  return { counter: page.readUInt32LE(0), reseeded: page.readUInt32LE(4), length: page.length };
};

describe('for its readers', () => {
  it('is one page with a little-endian counter at its start, readable for all', () => {
    const before = process.umask(0o077);
    try {
      session(ONE);
    } finally {
      process.umask(before);
    }
    expect(words()).toEqual({ counter: 0, reseeded: 0, length: PAGE_BYTES });
    expect(lstatSync(path).mode & 0o777).toBe(0o644);
  });

  it('moves on with every fork, and says when the kernel has reseeded since', () => {
    session(ONE, page => {
      page.bump(TWO);
      page.bump(undefined);
      expect(words()).toMatchObject({ counter: 2, reseeded: 0 });
      expect(page.counter).toBe(2);
      page.reseeded();
      expect(words()).toMatchObject({ counter: 2, reseeded: 2 });
    });
  });

  it('a descriptor that was opened before sees each change', () => {
    session(ONE, page => {
      const fd = openSync(path, 'r');
      const bytes = Buffer.alloc(4);
      const read = () => readSync(fd, bytes, 0, 4, 0) && bytes.readUInt32LE(0);
      const seen = [read()];
      page.bump(TWO);
      seen.push(read());
      closeSync(fd);
      expect(seen).toEqual([0, 1]);
    });
  });

  it('a program that has mapped it sees each change', () => {
    const { koffi, reason } = loadKoffi();
    if (!koffi) throw new Error(reason);
    const libc = koffi.load(null);
    const mmap = libc.func('mmap', 'void *', ['void *', 'size_t', 'int', 'int', 'int', 'long']);
    const munmap = libc.func('munmap', 'int', ['void *', 'size_t']);
    session(ONE, page => {
      const fd = openSync(path, 'r');
      const PROT_READ = 1;
      const MAP_SHARED = 1;
      const mapped = mmap(null, PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
      closeSync(fd);
      try {
        const view = new Int32Array(koffi.view(mapped, PAGE_BYTES));
        expect(Atomics.load(view, 0)).toBe(0);
        page.bump(TWO);
        expect(Atomics.load(view, 0)).toBe(1);
      } finally {
        munmap(mapped, PAGE_BYTES);
      }
    });
  });

  it('does not tell the generation ID itself', () => {
    session(ONE, page => page.bump(TWO));
    expect(readFileSync(path).includes(Buffer.from(TWO))).toBe(false);
  });

  it('goes over its largest value', () => {
    session(ONE);
    const page = readFileSync(path);
    page.writeUInt32LE(0xffff_ffff, 0);
    writeFileSync(path, page);
    session(ONE, open => open.bump(TWO));
    expect(words().counter).toBe(0);
  });
});

describe('a page that somebody else has written meanwhile', () => {
  const write = (counter: number) => {
    const page = readFileSync(path);
    page.writeUInt32LE(counter, 0);
    const fd = openSync(path, 'r+');
    writeSync(fd, page, 0, page.length, 0);
    closeSync(fd);
  };

  it.each([
    ['further on', 5, 9, 10],
    ['further on by one, which is what the fork would make it', 5, 6, 7],
    ['further on, over the largest value', 0xffff_fffe, 1, 2],
    ['back', 5, 3, 6],
    ['back, over the largest value', 1, 0xffff_fff0, 2],
  ])('%s: a fork shows all the same, and no number comes again', (_, ours, theirs, next) => {
    session(ONE);
    write(ours);
    session(ONE, page => {
      write(theirs);
      page.bump(TWO);
      expect([words().counter, page.counter]).toEqual([next, next]);
    });
  });

  it('cut off is whole again with the next fork, and goes on', () => {
    session(ONE, page => {
      page.bump(TWO);
      truncateSync(path, 2);
      page.bump(ONE);
      expect(words()).toMatchObject({ counter: 2, length: PAGE_BYTES });
    });
    expect(session(ONE)).toBe('same');
  });
});

describe('over the life of a broker', () => {
  it('the same ID again is no fork', () => {
    expect(session(ONE, page => page.bump(TWO))).toBe('new');
    expect(session(TWO)).toBe('same');
    expect(words().counter).toBe(1);
  });

  it('another ID is a fork that was missed', () => {
    session(ONE);
    expect(session(TWO)).toBe('forked');
    expect(words().counter).toBe(1);
    expect(session(TWO)).toBe('same');
  });

  it.each([
    [undefined, ONE],
    [ONE, undefined],
    [undefined, undefined],
  ])('where one of the two is not known the counter moves, to be safe', (before, after) => {
    session(before);
    expect(session(after)).toBe('unknown');
    expect(words().counter).toBe(1);
  });

  it('one that died between counter and ID has its fork told twice, not never', () => {
    session(ONE);
    const torn = readFileSync(path);
    torn.writeUInt32LE(1, 0);
    writeFileSync(path, torn);
    expect(session(TWO)).toBe('forked');
    expect(words().counter).toBe(2);
  });
});

describe('a file that is no such page', () => {
  const refused = (reason: RegExp) => {
    expect(() => session(ONE)).toThrow(expect.objectContaining({ code: 'ERR_BROKER_FILE' }));
    expect(() => session(ONE)).toThrow(reason);
  };

  it.each([1, PAGE_BYTES - 1, PAGE_BYTES + 1, 100_000])('of %i bytes is left alone', length => {
    const content = Buffer.alloc(length, 7);
    writeFileSync(path, content);
    refused(/no counter page/);
    expect(readFileSync(path)).toEqual(content);
  });

  it('behind a symbolic link is left alone', () => {
    writeFileSync(`${path}.victim`, '');
    symlinkSync(`${path}.victim`, path);
    refused(/ELOOP/);
    expect(readFileSync(`${path}.victim`)).toHaveLength(0);
  });

  it('is refused with the reason: a folder, no folder above it', () => {
    path = folder;
    refused(/EISDIR/);
    path = join(folder, 'nowhere', 'vmgenid');
    refused(/ENOENT/);
  });

  it('keeps the mode that it has', () => {
    session(ONE);
    chmodSync(path, 0o600);
    session(ONE);
    expect(lstatSync(path).mode & 0o777).toBe(0o600);
  });
});
