// vmgenid status and watch: what they print is what the driver would do.

import { once } from 'node:events';
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCli } from '../../cli/program.js';
import { vmgenidStatus } from '../../cli/vmgenid.js';
import { readMachine } from '../../cli/vmgenid-machine.js';
import { nextStep } from '../../cli/vmgenid-next-step.js';
import { vmgenidWatch } from '../../cli/vmgenid-watch.js';
import {
  MemorySource,
  type SourceListener,
  type SourceSelection,
  VmGenId,
  type VmGenIdEvent,
  openVmGenId,
  parseGuid,
} from '../../vmgenid/index.js';
import { AcpiMachine } from '../support/acpi-tables.js';
import { terminal } from './terminal.js';

const GUIDS = ['00112233-4455-6677-8899-aabbccddeeff', 'ffeeddcc-bbaa-9988-7766-554433221100'];
const NO_MACHINE = ['--no-acpi', '--no-bpf', '--no-vmclock', '--no-kmsg'];
let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-cli-'));
  file = join(folder, 'generation');
  writeFileSync(file, `${GUIDS[0]}\n`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function setGeneration(guid: string): void {
  writeFileSync(`${file}.new`, `${guid}\n`);
  renameSync(`${file}.new`, file);
}

/** One that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}

async function status(argv: string[]) {
  const io = terminal();
  const exitCode = await runCli(['vmgenid', 'status', ...argv], io);
  return { exitCode, out: io.out, err: io.err };
}

describe('vmgenid status', () => {
  test('lists every source, with the reason where it does not work', async () => {
    const { exitCode, out, err } = await status([
      '--no-bpf',
      '--file',
      file,
      '--hook',
      join(folder, 'nowhere/hook.sock'),
    ]);
    expect([exitCode, err]).toEqual([0, '']);
    expect(out).toMatch(/^SOURCE +TIMING +VALUE +AVAILABLE\nacpi +immediate +unique +(yes|no: )/);
    expect(out).toMatch(/\nbpf +immediate +unique +no: switched off by an option/);
    expect(out).toMatch(/\nvmclock +immediate +counter +/);
    expect(out).toMatch(/\nkmsg +delayed +counter +/);
    expect(out).toContain(`file:${file}`);
    expect(out).toMatch(/hook:\S+ +delayed +unique +no: /);
    expect(out).toContain('nothing may be sent: hook:');
  });

  test('says what a machine without any source has', async () => {
    const { out } = await status(NO_MACHINE);
    expect(out).toContain('no: switched off by an option');
    expect(out).toContain('\nprotection: none\n');
    expect(out).toMatch(/\nkernel: \S+, lockdown .+\nnext step: .+\n$/);
  });

  test.each([
    ['nothing', () => ({})],
    ['a file', () => ({ file })],
    ['a file that is not there', () => ({ file: `${file}.gone` })],
    ['a broken vmclock', () => ({ vmclock: file })],
    ['a broken vmclock and a file', () => ({ vmclock: file, file })],
    ['an ACPI page, whether this machine has one or not', () => ({ acpi: true })],
    ['a file and one thing that fails', () => ({ file, kmsg: join(folder, 'no-log') })],
  ] as const)('tells the protection that the driver has: %s', async (_, make) => {
    const selection: SourceSelection = {
      acpi: false,
      bpf: false,
      vmclock: false,
      kmsg: false,
      ...make(),
    };
    const argv = Object.entries(selection).flatMap(([name, value]) => {
      if (typeof value === 'boolean') return value ? [`--${name}`] : [`--no-${name}`];
      return [`--${name}`, String(value)];
    });
    const said = JSON.parse((await status(['--json', ...argv])).out);
    const vmgenid = await openVmGenId(selection);
    try {
      expect(said.protection).toBe(vmgenid.protection);
      expect(said.kernel).toEqual(readMachine().kernel);
      expect(said.nextStep).toBe(nextStep(readMachine(), said.protection));
      expect(said.maySend).toBe(vmgenid.check() !== 0);
      const used = said.sources.filter((source: { used: boolean }) => source.used);
      expect(used.map((source: { name: string }) => source.name).sort()).toEqual(
        vmgenid.sources.map(({ name }) => name).sort(),
      );
    } finally {
      await vmgenid.close();
    }
  });

  test('a machine whose ACPI page can be read is protected immediately', () => {
    const machine = AcpiMachine.qemu(parseGuid(GUIDS[0]));
    try {
      const io = terminal();
      const { tables, memory } = machine;
      vmgenidStatus(io, { acpi: { tables, memory }, vmclock: false, kmsg: false });
      expect(io.out).toMatch(/^acpi:\S+ +immediate +unique +yes$/m);
      expect(io.out).toMatch(/^protection: immediate \(acpi:/m);
    } finally {
      machine.remove();
    }
  });

  test('an option without sense is an error', async () => {
    const { exitCode, err } = await status(['--hook', 'somewhere']);
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^wireonce: .*neither an absolute path nor/);
  });
});

describe('vmgenid watch', () => {
  test('says what it watches, prints a line per fork, and ends at the signal', async () => {
    const io = terminal();
    const forks = () => io.out.split('\n').filter(line => line.includes('"event":"fork"'));
    io.onOut = () => {
      if (forks().length === 0) setGeneration(GUIDS[1]);
      else if (forks().length === 1) setGeneration(GUIDS[0]);
      else io.interrupt();
    };
    const argv = ['vmgenid', 'watch', '--json', ...NO_MACHINE, '--file', file];
    expect(await runCli(argv, io)).toBe(0);
    const lines = io.out
      .trim()
      .split('\n')
      .map(line => JSON.parse(line));
    const source = `file:${file}`;
    expect(lines[0]).toMatchObject({ event: 'watching', protection: 'delayed', sources: [source], epoch: 1 });
    expect(lines.filter(({ event }) => event === 'fork')).toMatchObject([
      { epoch: 2, source, vmGenId: GUIDS[1] },
      { epoch: 3, source, vmGenId: GUIDS[0] },
    ]);
    expect(lines.every(({ time }) => !Number.isNaN(Date.parse(time)))).toBe(true);
  });

  test('prints forks, evidence and trouble for people too', async () => {
    const io = terminal();
    const page = new MemorySource({ name: 'page', vmGenId: parseGuid(GUIDS[0]) });
    const log = {
      name: 'log',
      timing: 'delayed' as const,
      uniqueness: 'counter' as const,
      start: (listener: SourceListener) => {
        io.onOut = () => {
          if (io.out.endsWith('epoch 1\n')) page.fork(parseGuid(GUIDS[1]));
          else if (io.out.includes('works again')) io.interrupt();
          else if (io.out.includes('log failed')) listener.recovered();
          else if (io.out.includes('reseeded')) listener.failed(new Error('log is gone'));
          else if (io.out.includes('fork:') && !io.out.includes('same fork')) {
            setImmediate(() => listener.announce({ kernelReseeded: true }));
          }
        };
      },
      close: () => {},
    };
    const open = async (onEvent: (event: VmGenIdEvent) => void) => {
      const vmgenid = new VmGenId([page, log], { onEvent });
      await vmgenid.start();
      return vmgenid;
    };
    expect(await vmgenidWatch(io, { open })).toBe(0);
    expect(io.out).toMatch(/^\S+Z watching page, log; protection: immediate, epoch 1\n/);
    expect(io.out).toContain(`fork: epoch 2, seen by page, generation ${GUIDS[1]}\n`);
    expect(io.out.match(/Z fork:/g)).toHaveLength(1);
    expect(io.out).toContain('evidence: the kernel has reseeded its generator (epoch 2)\n');
    expect(io.out).toContain('log failed: log is gone\n');
    expect(io.out).toContain('log works again\n');
  });

  test('with nothing to watch it says why and exits with 1', async () => {
    const io = terminal();
    expect(await runCli(['vmgenid', 'watch', ...NO_MACHINE], io)).toBe(1);
    expect(io.out).toBe('');
    expect(io.err).toMatch(/^wireonce: nothing to watch: .*\n {2}- acpi: switched off by an option\n/);
    expect(io.err).toContain('  - kmsg: switched off by an option\n');
  });

  test.each([
    ['a file', () => ['--file', `${file}.gone`], /gone: no such file/],
    [
      'a hook',
      () => ['--hook', join(folder, 'nowhere', 'hook.sock')],
      /hook:.*cannot listen: its folder is missing/,
    ],
    ['a vmclock', () => ['--vmclock', `${file}.clock`], /clock: no such file/],
    ['a log', () => ['--kmsg', `${file}.log`], /log: no such file/],
  ])(
    'ends with the reason when it was asked for %s that does not work, whatever else does',
    async (_, asked, reason) => {
      for (const command of ['watch', 'serve']) {
        const io = terminal();
        const places = command === 'serve' ? ['--counter-file', `${file}.page`, '--no-socket'] : [];
        const working = asked()[0] === '--file' ? ['--hook', join(folder, 'hook.sock')] : ['--file', file];
        const argv = ['vmgenid', command, ...NO_MACHINE, ...working, ...asked(), ...places];
        expect(await runCli(argv, io)).toBe(1);
        expect([io.out, io.err]).toEqual(['', expect.stringMatching(reason)]);
        expect(existsSync(`${file}.page`)).toBe(false);
      }
    },
  );

  test('takes the token of its hook from the environment, and warns of a port without', async () => {
    const watch = async (env: Record<string, string>) => {
      const io = terminal('', env);
      const answers: number[] = [];
      io.onOut = () => {
        const port = /hook:127\.0\.0\.1:(\d+)/.exec(io.out)?.[1];
        if (port === undefined || answers.length > 0) return;
        void Promise.all(
          ['', 'Bearer correct horse battery'].map(async authorization => {
            const url = `http://127.0.0.1:${port}/fork`;
            return (await fetch(url, { headers: { authorization } })).status;
          }),
        ).then(statuses => {
          answers.push(...statuses);
          io.interrupt();
        });
      };
      const port = await freePort();
      expect(await runCli(['vmgenid', 'watch', ...NO_MACHINE, '--hook', `127.0.0.1:${port}`], io)).toBe(0);
      return { answers, err: io.err };
    };
    expect(await watch({ WIREONCE_HOOK_TOKEN: 'correct horse battery' })).toEqual({
      answers: [401, 200],
      err: '',
    });
    expect(await watch({})).toEqual({
      answers: [200, 200],
      err: expect.stringMatching(/^wireonce: warning: hook \S+ has no token.*WIREONCE_HOOK_TOKEN\n$/),
    });
  });

  test('ends at once when it was interrupted before it began', async () => {
    const io = terminal();
    io.interrupt();
    expect(await runCli(['vmgenid', 'watch', ...NO_MACHINE, '--file', file], io)).toBe(0);
  });
});
