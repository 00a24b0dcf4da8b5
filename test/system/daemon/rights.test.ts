// What a daemon may do: in every one of its threads no more than it needs, however it was started; and how that is shown.
// Read on: cli/daemon/rights.ts.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { serialize } from 'node:v8';
import { afterEach, describe, expect, test } from 'vitest';
import { HANDOVER_FD, type Handover } from '../../../cli/daemon/handover.js';
import { capabilityMask, capabilityNames } from '../../../tunnel/linux/capabilities.js';
import type { DeviceStatus } from '../../../tunnel/daemon/status.js';
import { socketPath, UapiClient } from '../../../tunnel/daemon/uapi/index.js';
import { run, until } from '../support/run.js';
import { atEnd, closeMachines, folder, freshName, namespace, PROGRAM } from './support/machine.js';

afterEach(closeMachines);

const KEPT = ['CAP_NET_BIND_SERVICE', 'CAP_NET_ADMIN'];
const NOBODY = 65_534;

interface Daemon {
  readonly name: string;
  readonly pid: number;
  status(): Promise<DeviceStatus>;
}

interface Start {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What starts it, such as `setpriv`. */
  readonly under?: readonly string[];
  /** A file that is its descriptor 3. */
  readonly fd3?: number;
}

/** In a namespace of its own. */
async function start(options: Start & { readonly background?: boolean } = {}): Promise<Daemon> {
  const { args = [], env = {}, under = [], fd3, background = false } = options;
  const [home, name] = [await namespace(), freshName()];
  const flags = background ? args : ['--foreground', ...args];
  const command = [...under, process.execPath, PROGRAM, ...flags, name];
  const child: ChildProcess = spawn('ip', ['netns', 'exec', home, ...command], {
    stdio: ['ignore', 'inherit', 'inherit', fd3 ?? 'ignore'],
    env: { ...process.env, LOG_LEVEL: 'error', ...env },
  });
  const client = new UapiClient(socketPath(name));
  atEnd(async () => {
    child.kill('SIGTERM');
    spawnSync('ip', ['-n', home, 'link', 'del', name]);
    await until('its end', () => child.exitCode !== null && !existsSync(socketPath(name)));
  });
  const status = () => client.status();
  await until('an answer', () => status().catch(() => undefined));
  if (background) await until('the command to return', () => child.exitCode !== null);
  const pid = background ? await run('ip', ['netns', 'pids', home]) : child.pid;
  return { name, pid: Number(pid), status };
}

/** The lines of `/proc/PID/status` about rights, of every thread, each once. */
function rightsOf(pid: number | string): Record<string, readonly string[]> {
  const seen: Record<string, Set<string>> = {};
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const text = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
    for (const [, name, value] of text.matchAll(/^(Cap\w+|NoNewPrivs):\s*(\w+)$/gm)) {
      (seen[name] ??= new Set()).add(value);
    }
  }
  return Object.fromEntries(Object.entries(seen).map(([name, values]) => [name, [...values]]));
}

const hex = (names: readonly string[]) => capabilityMask(names).toString(16).padStart(16, '0');
const NONE = hex([]);
const own = (which: string) => rightsOf(process.pid)[which]?.[0] ?? '';
const ours = (which: string) => capabilityNames(BigInt(`0x${own(which)}`));

/** Memory for keys: by the limit where this machine lets it be lifted, else by the capability. */
function expected(pid: number): string[] {
  const limits = readFileSync(`/proc/${pid}/limits`, 'latin1');
  const lifted = /^Max locked memory +unlimited +unlimited/m.test(limits);
  const kept = lifted ? KEPT : [...KEPT, 'CAP_IPC_LOCK'];
  return kept.filter(name => ours('CapBnd').includes(name));
}

describe.each([
  ['foreground', false],
  ['background', true],
])('a daemon in the %s', (_, background) => {
  test('keeps in all its threads what it needs, and says so', async () => {
    const daemon = await start({ background });
    const kept = expected(daemon.pid);
    expect(kept).toEqual(expect.arrayContaining(KEPT));
    expect(rightsOf(daemon.pid)).toEqual({
      CapInh: [NONE],
      CapPrm: [hex(kept)],
      CapEff: [hex(kept)],
      CapBnd: [hex(kept)],
      CapAmb: [NONE],
      NoNewPrivs: ['1'],
    });
    expect(readFileSync(`/proc/${daemon.pid}/limits`, 'latin1')).toMatch(/^Max core file size +0 +0 /m);
    const { privileges, hints } = await daemon.status();
    expect(privileges).toEqual({ capabilities: kept, noNewPrivileges: true });
    expect(hints.join()).not.toMatch(/may do more|CAP_/);
    const shown = await run(process.execPath, [PROGRAM, 'status', daemon.name]);
    expect(shown).toContain(`${kept.join(', ')}, and no more ever`);
    // Nothing that was handed on for its start is left, nor what no source of it needs.
    const open = readdirSync(`/proc/${daemon.pid}/fd`).map(fd =>
      String(spawnSync('readlink', [`/proc/${daemon.pid}/fd/${fd}`]).stdout),
    );
    expect(open.join()).not.toMatch(/memfd|\/dev\/mem\n/);
  });
});

test('control: one that is started past its first start keeps everything, and says that this is too much', async () => {
  const path = join(folder(), 'handover');
  const options = { foreground: true, settings: { device: {} }, peers: [], secrets: [], warnings: [] };
  const handover: Handover = { options: { ...options, enrolment: undefined }, opened: {} };
  writeFileSync(path, serialize(handover));
  const fd3 = openSync(path, 'r+');
  const daemon = await start({ fd3, env: { [HANDOVER_FD]: '3' } });
  closeSync(fd3);
  expect(rightsOf(daemon.pid)['CapEff']).toEqual([own('CapBnd')]);
  const { privileges, hints } = await daemon.status();
  expect(privileges?.capabilities).toEqual(ours('CapBnd'));
  expect(hints.join()).toMatch(/may do more than it needs: .*CAP_SYS_RAWIO/);
});

test('what it could open and make before it cannot, in any thread: physical memory, the kernel’s log, a device', async () => {
  const at = folder();
  const seen = join(at, 'seen');
  const memory = join(at, 'mem');
  await run('mknod', [memory, 'c', '1', '1']);
  const probe = join(at, 'probe.mjs');
  writeFileSync(
    probe,
    `import { spawnSync } from 'node:child_process';
    import { appendFileSync, closeSync, openSync } from 'node:fs';
    import { threadId } from 'node:worker_threads';
    const attempt = path => { try { closeSync(openSync(path, 'r')); return 'open'; } catch (e) { return e.code; } };
    const mknod = spawnSync('mknod', ['-m', '600', ${JSON.stringify(at)} + '/null' + process.hrtime.bigint(), 'c', '1', '3']);
    const found = { first: process.env.${HANDOVER_FD} === undefined, thread: threadId > 0, pid: process.pid,
      mem: attempt(${JSON.stringify(memory)}), kmsg: attempt('/dev/kmsg'), mknod: mknod.status };
    appendFileSync(${JSON.stringify(seen)}, JSON.stringify(found) + '\\n');`,
  );
  const daemon = await start({ env: { NODE_OPTIONS: `--import ${pathToFileURL(probe).href}` } });
  const lines = readFileSync(seen, 'utf8').trim().split('\n');
  const found = lines.map(line => JSON.parse(line) as Record<string, unknown>);
  const first = found.filter(each => each['first']);
  const later = found.filter(each => !each['first']);
  expect(first).toHaveLength(1);
  // One process in two lives.
  expect(found.every(({ pid }) => pid === daemon.pid)).toBe(true);
  expect(later.map(({ thread }) => Number(thread)).toSorted((a, b) => a - b)).toEqual([0, 1]);
  // Before: control. (Some kernels have no such device, for nobody.)
  const [{ mem, kmsg, mknod }] = first;
  expect([mknod, kmsg]).toEqual([0, 'open']);
  expect(mem).toBeOneOf(['open', 'ENXIO']);
  const restricted = readFileSync('/proc/sys/kernel/dmesg_restrict', 'latin1').trim() === '1';
  for (const each of later) {
    expect(each['mem']).toBe(mem === 'open' ? 'EPERM' : mem);
    if (restricted) expect(each['kmsg']).toBe('EPERM');
    expect(each['mknod']).not.toBe(0);
  }
  // And yet it hears the log.
  const { sources } = await daemon.status();
  expect(sources.filter(({ readable }) => !readable)).toEqual([]);
});

test('under bounds that it may not change, as its unit sets, it gives up the same', async () => {
  const bounds = '-all,+net_admin,+net_bind_service,+syslog,+sys_rawio';
  const daemon = await start({ under: ['setpriv', '--bounding-set', bounds, '--no-new-privs'] });
  expect(rightsOf(daemon.pid)).toMatchObject({
    CapPrm: [hex(KEPT)],
    CapEff: [hex(KEPT)],
    CapBnd: [hex([...KEPT, 'CAP_SYSLOG', 'CAP_SYS_RAWIO'])],
    NoNewPrivs: ['1'],
  });
});

test('in a user namespace, as in a rootless container, it works and gives up the same', async () => {
  const daemon = await start({ under: ['unshare', '--user', '--map-root-user', '--net'] });
  const { privileges } = await daemon.status();
  expect(privileges).toEqual({ capabilities: expected(daemon.pid), noNewPrivileges: true });
  expect(rightsOf(daemon.pid)['CapEff']).toEqual([hex(expected(daemon.pid))]);
});

test('a generation file in a folder that is closed to root is read, by a right that is kept and named', async () => {
  const at = folder();
  const file = join(at, 'generation');
  writeFileSync(file, '00112233-4455-6677-8899-aabbccddeeff\n', { mode: 0o600 });
  chownSync(file, NOBODY, NOBODY);
  chownSync(at, NOBODY, NOBODY);
  chmodSync(at, 0o700);
  const daemon = await start({ args: ['--generation-file', file] });
  const { privileges, hints, sources } = await daemon.status();
  expect(privileges?.capabilities.toSorted()).toEqual(
    [...expected(daemon.pid), 'CAP_DAC_READ_SEARCH'].toSorted(),
  );
  expect(hints.join()).toContain('CAP_DAC_READ_SEARCH is kept');
  expect(sources.find(({ name }) => name.startsWith('file:'))?.readable).toBe(true);
});

test('its file is read while it may, though root could not read it later', async () => {
  const at = folder();
  const config = join(at, 'settings.conf');
  writeFileSync(config, '[Interface]\nForkPolicy = hold\n', { mode: 0o600 });
  for (const path of [config, at]) chownSync(path, NOBODY, NOBODY);
  chmodSync(at, 0o700);
  const daemon = await start({ args: ['--config', config], background: true });
  const { privileges, forkPolicy } = await daemon.status();
  expect(forkPolicy).toBe('hold');
  expect(privileges?.capabilities).toEqual(expected(daemon.pid));
});
