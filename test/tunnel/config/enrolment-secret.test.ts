// The file with the secret of an enrolment: what is taken, and that nothing else is.

import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BadValue } from '../../../tunnel/config/config-values.js';
import { readEnrolmentSecret } from '../../../tunnel/config/enrolment-secret.js';
import { keyText } from '../daemon/status.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-secret-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function file(content: string | Uint8Array, mode = 0o600): string {
  const path = join(folder, 'secret');
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

test.each(['', '\n', '\r\n', ' \n'])('32 bytes in base64, and %j behind them', end => {
  expect(readEnrolmentSecret(file(`${keyText(0xa7)}${end}`))).toEqual(new Uint8Array(32).fill(0xa7));
});

test('a group may read it', () => {
  expect(readEnrolmentSecret(file(keyText(1), 0o640))).toEqual(new Uint8Array(32).fill(1));
});

test.each([
  ['nothing', ''],
  ['half of it', keyText(1).slice(0, 24)],
  ['32 bytes as they are', new Uint8Array(32).fill(0x41)],
  ['64 hexadecimal digits', 'ab'.repeat(32)],
  ['two of them', `${keyText(1)}\n${keyText(2)}\n`],
  ['a character more', `${keyText(1)}A`],
  ['a character that is none of base64', keyText(1).replace('Q', '-')],
  ['spare bits that are set', `${'A'.repeat(42)}B=`],
  ['blanks before it', ` ${keyText(1)}`],
])('%s is refused, and not shown', (_, content) => {
  const path = file(content);
  let message = '';
  try {
    readEnrolmentSecret(path);
  } catch (error) {
    expect(error).toBeInstanceOf(BadValue);
    ({ message } = error as Error);
  }
  expect(message).toBe(`${path} does not hold 32 bytes in base64: wireonce enrol secret makes such a secret`);
});

test('one that every user may read is refused, with the command that mends it', () => {
  const path = file(keyText(1), 0o644);
  expect(() => readEnrolmentSecret(path)).toThrow(`chmod 600 ${path}`);
});

test('a folder is no secret', () => {
  mkdirSync(join(folder, 'secret'), { mode: 0o700 });
  expect(() => readEnrolmentSecret(join(folder, 'secret'))).toThrow(/no file/);
});
