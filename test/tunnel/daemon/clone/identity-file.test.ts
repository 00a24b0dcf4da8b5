// A clone's identity on disk: what is written is read back, for its owner alone, and nothing else is taken for it.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { publicKeyOf } from '../../../../protocol/suite.js';
import { nobleSuite } from '../../../../protocol/suites/noble.js';
import {
  type StoredIdentity,
  readIdentity,
  writeIdentity,
} from '../../../../tunnel/daemon/clone/identity-file.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-identity-'));
  path = join(folder, 'deep', 'wg0.identity');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function identity(byte = 0x48, change: Partial<StoredIdentity> = {}): StoredIdentity {
  const privateKey = new Uint8Array(32).fill(byte);
  return {
    privateKey,
    publicKey: publicKeyOf(nobleSuite, privateKey),
    generation: new Uint8Array(16).fill(7),
    parent: new Uint8Array(32).fill(9),
    since: 1_700_000_000_123,
    told: undefined,
    ...change,
  };
}

const TOLD = {
  addresses: [{ ip: Uint8Array.of(10, 0, 0, 7), prefix: 24 }],
  peers: [
    {
      publicKey: new Uint8Array(32).fill(1),
      presharedKey: new Uint8Array(32).fill(2),
      remove: false,
      updateOnly: false,
      replaceAllowedIps: true,
      allowedIps: [{ ip: Uint8Array.of(10, 0, 0, 0), prefix: 8, remove: false }],
      endpoint: { ip: Uint8Array.of(192, 0, 2, 1), port: 51_820 },
    },
  ],
};

const read = () => readIdentity(path, nobleSuite);

it('there is none at first', () => {
  expect(read()).toBeUndefined();
});

it.each([
  ['derived', {}],
  ['of a machine that was never cloned', { parent: undefined }],
  ['told', { told: TOLD }],
])('one that is %s is read back, from a file of its owner’s alone', (_, change) => {
  const written = identity(0x48, change);
  writeIdentity(path, written);
  expect(read()).toEqual(written);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(folder, 'deep')).mode & 0o077).toBe(0);
});

it('another takes its place as a whole, whatever a crash has left beside it', () => {
  writeIdentity(path, identity());
  writeFileSync(`${path}.new`, 'half of o');
  writeIdentity(path, identity(0x50));
  expect(read()).toEqual(identity(0x50));
  expect(readdirSync(join(folder, 'deep'))).toEqual(['wg0.identity']);
});

it('one that cannot be written leaves the one that is there', () => {
  writeIdentity(path, identity());
  const noFolder = join(path, 'in', 'a', 'file');
  expect(() => writeIdentity(noFolder, identity(0x50))).toThrow(/ENOTDIR|EEXIST/);
  expect(read()).toEqual(identity());
});

it('one that cannot take its place leaves no key beside it', () => {
  mkdirSync(path, { recursive: true });
  expect(() => writeIdentity(path, identity())).toThrow(/EISDIR/);
  expect(readdirSync(join(folder, 'deep'))).toEqual(['wg0.identity']);
});

describe('refused with the reason', () => {
  it('whichever byte of it is another', () => {
    writeIdentity(path, identity(0x48, { told: TOLD }));
    const good = readFileSync(path);
    // The lowest bits of a private key and its highest are not looked at by X25519.
    const free = new Set([16, 47]);
    for (let at = 0; at < good.length; at++) {
      if (free.has(at)) continue;
      const bad = Buffer.from(good);
      bad[at] ^= 0x10;
      writeFileSync(path, bad);
      expect(read, `byte ${at}`).toThrow('it is damaged');
    }
  });

  it('at every length but its own', () => {
    writeIdentity(path, identity());
    const good = readFileSync(path);
    for (let length = 0; length < good.length; length++) {
      writeFileSync(path, good.subarray(0, length));
      expect(read, `${length} bytes`).toThrow('it is damaged');
    }
    writeFileSync(path, Buffer.concat([good, Buffer.alloc(1)]));
    expect(read).toThrow('it is damaged');
    writeFileSync(path, Buffer.alloc(2_000_000));
    expect(read).toThrow('it is damaged');
  });

  it('when others may read it', () => {
    writeIdentity(path, identity());
    chmodSync(path, 0o640);
    expect(read).toThrow('others than its owner may read it');
  });

  it('(control: a file that is whole is read)', () => {
    writeIdentity(path, identity());
    expect(existsSync(path)).toBe(true);
    expect(read()).toEqual(identity());
  });
});
