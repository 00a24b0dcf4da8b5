// Signals to every command that runs for long: none of them opens Node's debugger, or ends what was not asked to end.
// Read on: cli/signals.ts.

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { run, until } from './support/run.js';
import { atEnd, closeMachines, folder, freshName, namespace, PROGRAM } from './daemon/support/machine.js';

afterEach(closeMachines);

const PEER = `[Interface]
Address = 10.0.0.2/24
PrivateKey = 4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=
[Peer]
PublicKey = CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
AllowedIPs = 10.0.0.1/32
Endpoint = 127.0.0.1:9
`;
const MEANINGLESS = ['USR1', 'USR2', 'ALRM', 'VTALRM', 'PROF', 'IO', 'STKFLT'];
/** Real-time ones too, which Node does not know. */
const ALSO_OF_SERVICES = ['HUP', '34', '50', '64'];
const TIMES = 3;
const { SIGUSR2 } = constants.signals;

interface LongRunning {
  readonly args: (folder: string) => readonly string[];
  /** What it prints when it runs. */
  readonly says: string;
  readonly service?: true;
}

const COMMANDS: Readonly<Record<string, LongRunning>> = {
  daemon: { args: () => ['--foreground', freshName()], says: ' serves ', service: true },
  'vmgenid serve': {
    args: at => `vmgenid serve --no-socket --hook ${at}/hook --counter-file ${at}/page`.split(' '),
    says: 'serving',
    service: true,
  },
  'vmgenid watch': { args: at => ['vmgenid', 'watch', '--hook', join(at, 'hook')], says: 'watching' },
  ping: { args: at => ['ping', '-W', '3600', join(at, 'wg0.conf'), '10.0.0.1'], says: '' },
  demo: { args: () => ['demo', '--forks', '1000'], says: '' },
};

interface Running {
  readonly child: ChildProcess;
  readonly namespace: string;
  printed(): string;
}

/** Under Node, in a namespace of its own: what listens there is this process's. */
async function start(args: readonly string[], env: Record<string, string> = {}): Promise<Running> {
  const home = await namespace();
  const child = spawn('ip', ['netns', 'exec', home, process.execPath, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  atEnd(() => child.kill('SIGKILL'));
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', piece => (printed += String(piece)));
  return { child, namespace: home, printed: () => printed };
}

/** A command, as soon as it takes signals and says that it is at work. */
async function startCommand({ args, says }: LongRunning): Promise<Running> {
  const at = folder();
  writeFileSync(join(at, 'wg0.conf'), PEER, { mode: 0o600 });
  const running = await start([PROGRAM, ...args(at)]);
  await until('the command to run', () => running.printed().includes(says) && catches(running, SIGUSR2));
  return running;
}

function catches({ child }: Running, signal: number): boolean {
  const [, mask = '0'] = /^SigCgt:\s*(\w+)$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1')) ?? [];
  return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

const lives = ({ child }: Running) => child.exitCode === null && child.signalCode === null;
const listeners = (home: string) => run('ip', ['netns', 'exec', home, 'ss', '-Hltn']);
const send = ({ child }: Running, signal: string) => run('kill', ['-s', signal, `${child.pid}`]);

async function ended({ child }: Running) {
  await until('its end', () => child.exitCode !== null || child.signalCode !== null);
  return { code: child.exitCode, signal: child.signalCode };
}

describe.each(Object.entries(COMMANDS))('%s', (_, command) => {
  test('goes on, and no debugger listens, whatever signal comes that has no meaning', async () => {
    const running = await startCommand(command);
    const signals = command.service ? [...MEANINGLESS, ...ALSO_OF_SERVICES] : MEANINGLESS;
    for (let n = 0; n < TIMES; n++) for (const signal of signals) await send(running, signal);
    // What Node does without us, by one signal that came later: control.
    const control = await start(['-e', 'setInterval(() => {}, 1e6); console.log("up")']);
    await until('the control to run', () => control.printed().includes('up'));
    await send(control, 'USR1');
    await until('the debugger of the control', () => listeners(control.namespace));
    expect(await listeners(running.namespace)).toBe('');
    expect(running.printed()).not.toContain('ebugger');
    expect(lives(running)).toBe(true);
    await send(running, 'TERM');
    // Not by the signal, but in order.
    expect((await ended(running)).signal).toBeNull();
  });

  test.each(['INT', 'QUIT', 'XCPU', 'PWR'])('SIG%s asks it to end, and it does in order', async signal => {
    const running = await startCommand(command);
    await send(running, signal);
    expect((await ended(running)).signal).toBeNull();
  });
});

test.each(MEANINGLESS.slice(1))('SIG%s ends a program that does not take it: control', async signal => {
  const control = await start(['-e', 'setInterval(() => {}, 1e6); console.log("up")']);
  await until('the control to run', () => control.printed().includes('up'));
  await send(control, signal);
  expect((await ended(control)).signal).not.toBeNull();
});

test('a terminal that goes away ends what runs in it, in order', async () => {
  const running = await startCommand(COMMANDS['vmgenid watch']);
  await send(running, 'HUP');
  expect(await ended(running)).toEqual({ code: 0, signal: null });
});

describe('a debugger that was asked for, or opened before signals were taken', () => {
  const arrival = ['--import', 'data:text/javascript,process.kill(process.pid,"SIGUSR1");await 0'];
  test.each([
    ['by a flag', ['--inspect=127.0.0.1:9229'], {}],
    ['by the environment', [], { NODE_OPTIONS: '--inspect=127.0.0.1:9229' }],
    ['by a signal', arrival, {}],
  ])('%s: is closed, and left open for who debugs this program', async (_, flags, env) => {
    const watch = (more: Record<string, string>) =>
      start([...flags, PROGRAM, 'vmgenid', 'watch', '--hook', join(folder(), 'hook')], { ...env, ...more });
    const running = await watch({});
    await until('the command to run', () => running.printed().includes('watching'));
    await until('the debugger to be closed', () => running.printed().includes('debugger is closed'));
    expect(await listeners(running.namespace)).toBe('');
    const debugged = await watch({ WIREONCE_DEBUG: '1' });
    await until('the command to run', () => debugged.printed().includes('watching'));
    expect(await listeners(debugged.namespace)).toContain('127.0.0.1:9229');
  });
});
