import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type DeviceFiles, hardwareEntropy, kernelEntropy } from 'wireonce/crng';

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wireonce-entropy-'));
});

afterEach(() => {
  vi.unstubAllGlobals();
  fs.rmSync(folder, { recursive: true });
});

/** The real calls, with what a test changes in them. */
function filesWith(changed: Partial<DeviceFiles>): DeviceFiles {
  const { openSync, fstatSync, readSync, closeSync, constants } = fs;
  return { openSync, fstatSync, readSync, closeSync, constants, ...changed };
}

/** The real calls, and the descriptors they opened. */
function watched(changed: Partial<DeviceFiles> = {}): { files: DeviceFiles; opened: number[] } {
  const opened: number[] = [];
  const openSync = ((...args: Parameters<typeof fs.openSync>) => {
    const descriptor = fs.openSync(...args);
    opened.push(descriptor);
    return descriptor;
  }) as typeof fs.openSync;
  return { files: filesWith({ openSync, ...changed }), opened };
}

function read(source: { read(into: Uint8Array): void }, length = 32): Uint8Array {
  const into = new Uint8Array(length);
  source.read(into);
  return into;
}

describe('kernel entropy', () => {
  test('one descriptor serves every read', () => {
    const { files, opened } = watched();
    const source = kernelEntropy({ files });
    expect(source.name).toBe('/dev/urandom');
    expect(source.inProcess ?? false).toBe(false);
    expect(read(source)).not.toEqual(read(source));
    expect(opened).toHaveLength(1);
    source.close();
  });

  test('a descriptor that somebody closed is replaced', () => {
    const { files, opened } = watched();
    const source = kernelEntropy({ files });
    fs.closeSync(opened[0]);
    expect(read(source)).not.toEqual(new Uint8Array(32));
    expect(opened).toHaveLength(2);
    source.close();
  });

  test('a descriptor number that leads to another file by now is neither read nor closed', () => {
    const { files, opened } = watched();
    const source = kernelEntropy({ files });
    fs.closeSync(opened[0]);
    const plain = path.join(folder, 'plain');
    fs.writeFileSync(plain, new Uint8Array(4096));
    const strangers: number[] = [];
    while (!strangers.includes(opened[0]) && strangers.length < 64) strangers.push(fs.openSync(plain, 'r'));
    expect(strangers).toContain(opened[0]);

    expect(read(source)).not.toEqual(new Uint8Array(32));
    expect(fs.readSync(opened[0], new Uint8Array(8), 0, 8, 0)).toBe(8);
    source.close();
    for (const descriptor of strangers) fs.closeSync(descriptor);
  });

  test('short reads are taken up again until every byte is there', () => {
    const readSync = vi.fn((descriptor: number, into: Uint8Array, offset: number, length: number) =>
      fs.readSync(descriptor, into, offset, Math.min(length, 5), null),
    );
    const { files, opened } = watched({ readSync: readSync as unknown as typeof fs.readSync });
    const source = kernelEntropy({ files });
    const bytes = read(source, 64);
    expect(readSync).toHaveBeenCalledTimes(13);
    for (let at = 0; at < 64; at += 8) expect(bytes.slice(at, at + 8)).not.toEqual(new Uint8Array(8));
    expect(opened).toHaveLength(1);
    source.close();
  });

  test('an error once is healed by reopening; an error twice is thrown, and leaves no half-filled array', () => {
    let failures = 1;
    const readSync = ((descriptor: number, into: Uint8Array, offset: number, length: number) => {
      if (offset > 0 && failures-- > 0) throw Object.assign(new Error('i/o'), { code: 'EIO' });
      return fs.readSync(descriptor, into, offset, Math.min(length, 8), null);
    }) as typeof fs.readSync;
    const { files, opened } = watched({ readSync });
    const source = kernelEntropy({ files });
    expect(read(source)).not.toEqual(new Uint8Array(32));
    expect(opened).toHaveLength(2);

    failures = 2;
    const into = new Uint8Array(32);
    expect(() => source.read(into)).toThrow(expect.objectContaining({ code: 'ERR_ENTROPY_READ' }));
    expect(into).toEqual(new Uint8Array(32));
    source.close();
  });

  test('an end of file is trouble, never a shorter answer', () => {
    const source = kernelEntropy({ files: filesWith({ readSync: () => 0 }) });
    expect(() => read(source)).toThrow(expect.objectContaining({ code: 'ERR_ENTROPY_READ' }));
    source.close();
  });

  test('a plain file, a missing one and another character device are refused', () => {
    const plain = path.join(folder, 'urandom');
    fs.writeFileSync(plain, new Uint8Array(4096).fill(7));
    expect(() => kernelEntropy({ path: plain })).toThrow(
      expect.objectContaining({ code: 'ERR_ENTROPY_DEVICE' }),
    );
    expect(() => kernelEntropy({ path: path.join(folder, 'none') })).toThrow(
      expect.objectContaining({ code: 'ERR_ENTROPY_UNAVAILABLE' }),
    );
    if (process.platform === 'linux') {
      expect(() => kernelEntropy({ path: '/dev/zero' })).toThrow(
        expect.objectContaining({ code: 'ERR_ENTROPY_DEVICE' }),
      );
    }
  });

  test('a closed source throws, and may be closed again', () => {
    const source = kernelEntropy();
    source.close();
    source.close();
    expect(() => read(source)).toThrow(expect.objectContaining({ code: 'ERR_ENTROPY_CLOSED' }));
  });

  test('without node, getRandomValues is asked, in portions it accepts, and is known to live in this process', () => {
    const getRandomValues = vi.fn((into: Uint8Array) => into.fill(9));
    vi.stubGlobal('crypto', { getRandomValues });
    const builtin = vi.spyOn(process, 'getBuiltinModule');
    (process as { getBuiltinModule: unknown }).getBuiltinModule = undefined;
    try {
      const source = kernelEntropy();
      expect(source.inProcess).toBe(true);
      expect(read(source, 100_000)).toEqual(new Uint8Array(100_000).fill(9));
      expect(getRandomValues.mock.calls.map(([into]) => into.length)).toEqual([65_536, 34_464]);
      expect(hardwareEntropy().reason).toMatch(/no \/dev\/hwrng/);
      vi.stubGlobal('crypto', undefined);
      expect(() => kernelEntropy()).toThrow(expect.objectContaining({ code: 'ERR_ENTROPY_UNAVAILABLE' }));
    } finally {
      builtin.mockRestore();
    }
  });
});

describe('hardware entropy', () => {
  // A stand-in with the numbers of the real device, which few machines have.
  const standIn = (readSync: (into: Uint8Array, offset: number) => number) => {
    const stats = { isCharacterDevice: () => true, rdev: (10 << 8) | 183 };
    return filesWith({
      openSync: () => 1_000_000,
      fstatSync: () => stats,
      readSync: (_, into, offset) => readSync(into, offset),
      closeSync: () => {},
    });
  };
  const failing = (code: string) => () => {
    throw Object.assign(new Error(code), { code });
  };

  test('absent, a plain file, or present without a device behind it: the reason is said', () => {
    const plain = path.join(folder, 'hwrng');
    fs.writeFileSync(plain, new Uint8Array(64));
    expect(hardwareEntropy({ path: path.join(folder, 'none') }).reason).toMatch(/ENOENT/);
    expect(hardwareEntropy({ path: plain }).reason).toMatch(/not the device/);
    expect(hardwareEntropy({ files: standIn(failing('ENODEV')) }).reason).toMatch(/ENODEV/);
  });

  test('what is there is given, up to the first refusal', () => {
    let portions = [1, 3, 4];
    const { hardware } = hardwareEntropy({
      files: standIn((into, offset) => {
        const count = portions.shift();
        if (count === undefined) return failing('EAGAIN')();
        into.fill(count, offset, offset + count);
        return count;
      }),
    });
    const into = new Uint8Array(10);
    expect(hardware?.read(into)).toBe(7);
    expect([...into]).toEqual([3, 3, 3, 4, 4, 4, 4, 0, 0, 0]);
    expect(hardware?.read(into)).toBe(0);
    portions = [10];
    expect(hardware?.read(into)).toBe(10);
    hardware?.close();
    expect(hardware?.read(into)).toBe(0);
  });

  test('a device with nothing at the moment counts as present', () => {
    const { hardware } = hardwareEntropy({ files: standIn(failing('EAGAIN')) });
    expect(hardware?.read(new Uint8Array(4))).toBe(0);
  });
});
