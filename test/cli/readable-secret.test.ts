// Files with a secret that every user may get at: each door that reads one says so once, with what mends it.

import {
  chmodSync,
  closeSync,
  createReadStream,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readDaemonOptions } from '../../cli/daemon/options.js';
import { runCli } from '../../cli/program.js';
import { keyText } from '../tunnel/daemon/status.js';
import { terminal } from './terminal.js';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-secret-'));
  path = join(folder, 'wg0.conf');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const peer = (endpoint: string) => `[Peer]\nPublicKey = ${keyText(2)}\nEndpoint = ${endpoint}\n`;
/** Nobody has the address that is asked: the command ends when it has read the file. */
const WG_QUICK = `[Interface]\nPrivateKey = ${keyText(1)}\n`;

async function run(argv: readonly string[], stdinFile?: string): Promise<string> {
  const io = terminal();
  if (stdinFile === undefined) {
    await runCli(argv, io);
    return io.err;
  }
  const fd = openSync(stdinFile, 'r');
  try {
    const stdin = Object.assign(createReadStream(stdinFile, { fd, autoClose: false }), { fd });
    await runCli(argv, { ...io, stdin });
    return io.err;
  } finally {
    closeSync(fd);
  }
}

const daemon = async () => readDaemonOptions({ env: {} }, 'wg0', {}, folder).warnings.join('\n');

interface Door {
  readonly what: string;
  readonly text: string;
  readonly secret: string;
  readonly said: () => Promise<string>;
}

const DOORS: readonly Door[] = [
  {
    what: "the daemon's file with a hook token",
    text: '[Interface]\nHook = /run/hook\nHookToken = x\n',
    secret: 'a HookToken',
    said: daemon,
  },
  ...['wss://name:word@h/', 'wss://name@h/', 'ws://h/?token=x'].map(
    (url): Door => ({
      what: `the daemon's file with ${url}`,
      text: peer(url),
      secret: 'an Endpoint with a password',
      said: daemon,
    }),
  ),
  {
    what: 'the wg-quick file of ping',
    text: WG_QUICK,
    secret: 'a PrivateKey',
    said: () => run(['ping', path, '10.0.0.1']),
  },
  {
    what: 'the same on standard input',
    text: WG_QUICK,
    secret: 'a PrivateKey',
    said: () => run(['ping', '-', '10.0.0.1'], path),
  },
  {
    what: 'the private key of pubkey on standard input',
    text: `${keyText(1)}\n`,
    secret: 'a private key',
    said: () => run(['pubkey'], path),
  },
];

describe.each(DOORS)('$what', ({ text, secret, said }) => {
  test.each([0o644, 0o604, 0o602])('of mode %o: a warning, once', async mode => {
    writeFileSync(path, text);
    chmodSync(path, mode);
    const warnings = (await said()).split('\n').filter(line => line.includes('world accessible'));
    expect(warnings).toEqual([
      expect.stringContaining(`${path} holds ${secret} and is world accessible: chmod 600 ${path}`),
    ]);
  });

  test.each([0o600, 0o640])('of mode %o: none', async mode => {
    writeFileSync(path, text);
    chmodSync(path, mode);
    expect(await said()).not.toContain('world accessible');
  });
});

test.each(['', '[Interface]\nStrict = true\n', peer('wss://h/path'), peer('h:1')])(
  'a file without a secret is nobody’s business: %j',
  async text => {
    writeFileSync(path, text);
    chmodSync(path, 0o644);
    expect(await daemon()).toBe('');
  },
);

test('the command can be typed whatever the name of the file', async () => {
  path = join(folder, "it's mine.conf");
  writeFileSync(path, WG_QUICK);
  chmodSync(path, 0o644);
  expect(await run(['ping', path, '10.0.0.1'])).toContain(
    String.raw`chmod 600 '${folder}/it'\''s mine.conf'`,
  );
});
