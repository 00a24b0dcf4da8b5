// Every failure at the door of the real command: one sentence with the next step, and neither a stack nor a word of the
// system's in capitals.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { atEnd, closeMachines, freshName, namespace, PROGRAM } from '../daemon/support/machine.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
const name = freshName();
let folder: string;
/** Where no interface of a failed test harms anybody. */
let home: string;
let taken: number;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-doors-'));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  home = await namespace();
  writeFileSync(
    join(folder, 'no-koffi.cjs'),
    preload("if (name === 'koffi') throw new Error('Cannot find module');"),
  );
  writeFileSync(
    join(folder, 'darwin.cjs'),
    "Object.defineProperty(process, 'platform', { value: 'darwin' });",
  );
  writeFileSync(
    join(folder, 'old.cjs'),
    "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } });",
  );
  writeFileSync(join(folder, 'mine.conf'), '', { mode: 0o600 });
  writeFileSync(join(folder, 'bad.conf'), '[Interface]\nStrict = perhaps\n');
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  taken = (server.address() as { port: number }).port;
  atEnd(() => server.close());
});
afterAll(closeMachines);

const preload = (body: string) => `
  const Module = require('node:module');
  const load = Module._load;
  Module._load = function (name, ...rest) { ${body} return load.call(this, name, ...rest); };
`;

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a program in the namespace. Nothing here may run on: a daemon in the background would be a failure. */
function run(argv: readonly string[], env: Record<string, string> = {}, stdin = ''): Promise<Outcome> {
  return new Promise(resolve => {
    const child = spawn('ip', ['netns', 'exec', home, ...argv], {
      env: { ...process.env, LOG_LEVEL: '', ...env },
    });
    let out = '';
    let err = '';
    child.stdout.on('data', chunk => (out += chunk));
    child.stderr.on('data', chunk => (err += chunk));
    child.stdin.on('error', () => undefined);
    child.stdin.end(stdin);
    child.on('close', code => resolve({ code, out, err }));
  });
}

const node = (...args: string[]) => [process.execPath, PROGRAM, ...args];
const shell = (script: string, ...argv: string[]) => ['sh', '-c', script, 'sh', ...argv];
/** In a mount namespace of its own, whose /dev/net is empty but for what the script makes there. */
const withDevNet = (script: string, ...argv: string[]) => [
  'unshare',
  '-m',
  ...shell(`mount -t tmpfs none /dev/net && ${script} exec "$@"`, ...argv),
];

interface Door {
  readonly what: string;
  readonly argv: () => readonly string[];
  readonly env?: () => Record<string, string>;
  readonly says: string;
  /** The next step, somewhere in what is printed. */
  readonly next: string;
  readonly code?: number;
}

const DOORS: readonly Door[] = [
  {
    what: 'no root',
    argv: () => [...NOBODY, ...node(name)],
    says: 'no permission to ',
    next: 'try sudo',
  },
  {
    what: 'no /dev/net/tun',
    argv: () => withDevNet('', ...node(name)),
    says: 'there is no TUN device: /dev/net/tun is missing',
    next: 'modprobe tun',
  },
  {
    what: 'no permission for /dev/net/tun',
    argv: () => withDevNet('mknod -m 600 /dev/net/tun c 10 200;', ...NOBODY, ...node(name)),
    says: 'no permission to open /dev/net/tun',
    next: 'try sudo',
  },
  {
    what: 'a device without its driver',
    argv: () => withDevNet('touch /dev/net/tun;', ...node(name)),
    says: '/dev/net/tun leads to no TUN driver',
    next: 'modprobe tun',
  },
  {
    what: 'a name taken by another kind of device',
    argv: () => node('lo'),
    says: 'lo is an interface already, and of another kind',
    next: 'ip -details link show lo',
  },
  ...['a-name-too-long-', 'a/b', 'a:b', '..', 'a b'].map(
    (bad): Door => ({
      what: `the name ${JSON.stringify(bad)}`,
      argv: () => node(bad),
      says: `${JSON.stringify(bad)} is no name for an interface`,
      next: '1 to 15 bytes, without blanks, slashes and colons',
      code: 2,
    }),
  ),
  {
    what: 'a hook in a folder that is missing',
    argv: () => node('--hook', `${folder}/none/hook.sock`, name),
    says: 'cannot listen: its folder is missing',
    next: 'mkdir -p ',
  },
  ...[
    ['--metrics', (port: number) => String(port)] as const,
    ['--listen-websocket', (port: number) => `127.0.0.1:${port}`] as const,
    ['--hook', (port: number) => `127.0.0.1:${port}`] as const,
  ].map(
    ([flag, address]): Door => ({
      what: `a port taken, ${flag}`,
      // In the namespace of the test, where the port is.
      argv: () => ['nsenter', '-t', String(process.pid), '-n', ...node(flag, address(taken), name)],
      env: () => ({ WIREONCE_HOOK_TOKEN: 'x'.repeat(16), LOG_LEVEL: 'silent' }),
      says: 'another program has this port',
      next: 'choose another port',
    }),
  ),
  {
    what: 'an address of another machine',
    argv: () => node('--metrics', '192.0.2.1:9', name),
    says: 'this machine has no such address',
    next: 'ip address shows',
  },
  {
    what: 'a settings file that is missing',
    argv: () => node('--config', join(folder, 'none.conf'), name),
    says: 'none.conf: no such file',
    next: 'no such file',
  },
  {
    what: 'a settings file that may not be read',
    argv: () => [...NOBODY, ...node('--config', '/etc/shadow', name)],
    says: '/etc/shadow: no permission',
    next: 'try sudo',
  },
  {
    what: 'a settings file that is a folder',
    argv: () => node('--config', folder, name),
    says: ': a folder, not a file',
    next: 'not a file',
  },
  {
    what: 'a settings file with a mistake',
    argv: () => node('--config', join(folder, 'bad.conf'), name),
    says: "bad.conf:2: Strict: 'perhaps'",
    next: 'true',
  },
  {
    what: 'a configuration for ping that may not be read',
    argv: () => [...NOBODY, ...node('ping', '/etc/shadow', '10.0.0.1')],
    says: '/etc/shadow: no permission',
    next: 'try sudo',
  },
  {
    what: 'strict without protection',
    argv: () => node('--strict', '--no-acpi', '--no-bpf', '--no-kmsg', '--no-vmclock', name),
    says: "this machine offers protection 'none'",
    next: 'wireonce vmgenid status',
  },
  {
    what: 'koffi missing',
    argv: () => node(name),
    env: () => ({ NODE_OPTIONS: `--require=${join(folder, 'no-koffi.cjs')}` }),
    says: 'system calls need the optional package koffi',
    next: 'npm install koffi',
  },
  {
    what: 'another platform',
    argv: () => node(name),
    env: () => ({ NODE_OPTIONS: `--require=${join(folder, 'darwin.cjs')}` }),
    says: 'system calls need Linux on x64 or arm64, and this is darwin',
    next: 'wireonce ping, and tunnels of the library, work here',
  },
  {
    what: 'an old Node',
    argv: () => node('genkey'),
    env: () => ({ NODE_OPTIONS: `--require=${join(folder, 'old.cjs')}` }),
    says: 'this needs Node 20.19 or newer, and runs in Node 18.20.4',
    next: 'install a newer one',
  },
  {
    what: 'descriptors of which none is a TUN device',
    argv: () => node('--foreground', name),
    env: () => ({ WG_TUN_FD: '99' }),
    says: 'the descriptor in WG_TUN_FD is no TUN device',
    next: 'leave the variable out',
  },
  {
    what: 'an unknown option',
    argv: () => node('--forground', name),
    says: "unknown option '--forground'",
    next: 'Did you mean --foreground?',
    code: 2,
  },
  {
    what: '24 descriptors',
    argv: () => shell('ulimit -n 24; exec "$@"', ...node(name)),
    says: 'too many files are open',
    next: 'ulimit -n 1024',
  },
  ...['genkey', '--help'].map(
    (word): Door => ({
      what: `a full disk under the output of ${word}`,
      argv: () => shell('exec "$@" > /dev/full', ...node(word)),
      says: 'standard output: no space is left on the device',
      next: 'df -h',
    }),
  ),
];

test.each(DOORS)('$what', async ({ argv, env, says, next, code = 1 }) => {
  const { code: exitCode, err } = await run(argv(), env?.());
  const [first] = err.split('\n').filter(line => !line.includes('warning: '));
  expect(first).toMatch(/^wireonce: /);
  expect(first).toContain(says);
  expect(err).toContain(next);
  expect(exitCode).toBe(code);
  expect(err, 'a stack').not.toMatch(/\n\s+at |node:internal|throw /);
  expect(err, 'a word of the system').not.toMatch(/\bE[A-Z]{3,}\b/);
  expect(spawnSync('ip', ['-n', home, 'link', 'show', name]).status, 'an interface is left').not.toBe(0);
});

test('a LOG_LEVEL that is none is said so, and the daemon starts', async () => {
  const { err } = await run(node('--hook', `${folder}/none/hook.sock`, name), { LOG_LEVEL: 'loud' });
  expect(err).toContain(
    'LOG_LEVEL=loud is no level, and is ignored: take one of verbose, debug, info, error, silent',
  );
  // It got as far as the hook; and no log line has a stack.
  expect(err).toContain('its folder is missing');
  expect(err).not.toMatch(/\n\s+at |\\n\s+at /);
});

test('64 descriptors are enough for keys', async () => {
  for (const [word, stdin] of [
    ['genkey', ''],
    ['genpsk', ''],
    ['pubkey', `${'A'.repeat(43)}=`],
  ]) {
    const { code, out, err } = await run(shell('ulimit -n 64; exec "$@"', ...node(word)), {}, stdin);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^[A-Za-z0-9+/]{43}=\n$/);
  }
});

test('a reader that goes away ends it quietly', async () => {
  const { out, err } = await run(shell('"$@" | head -1', ...node('--help')));
  expect(out).toMatch(/^Usage: wireonce .*\n$/);
  expect(err).toBe('');
});

test('the door itself is of a language that old Nodes read, and knows the engines of the package', () => {
  const source = readFileSync(PROGRAM, 'utf8').replaceAll(/\/\/.*$/gm, '');
  expect(source).not.toMatch(/\?\.|\?\?|^\s*await |^import |#[a-z]|\d_\d/m);
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    engines: { node: string };
  };
  const [, major, minor] = /\[MAJOR, MINOR\] = \[(\d+), (\d+)\]/.exec(source) ?? [];
  expect(engines.node).toBe(`>=${major}.${minor}`);
});
