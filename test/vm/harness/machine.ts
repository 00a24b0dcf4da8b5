// One virtual machine: a QEMU process with a generation ID, a cable, a way to talk to its guest.
// Promises: it ends with `close`, and at the latest with the process that started it.
// Read on: QEMU docs/specs/vmgenid.rst; docs/devel/migration.rst (a state is a migration into a file).

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { CONTROL_PORT } from '../guest/protocol.js';
import { AgentClient } from './agent-client.js';
import type { Board } from './boards.js';
import { Calls } from './calls.js';
import { GUEST_MAC } from './frames.js';
import { GuestMemory } from './guest-memory.js';
import { Link } from './link.js';
import { LocalServer } from './local-server.js';
import { Qmp, shellQuoted } from './qmp.js';

/** What a machine is made of. A state fits only the machine that it was taken from. */
export interface MachineHardware {
  readonly board: Board;
  readonly vmlinuz: string;
  readonly initrd: string;
  /** QEMU's name for a processor and its features. */
  readonly cpu: string;
  /** More for the kernel's command line. */
  readonly kernelOptions: string;
}

export interface MachineStart {
  readonly hardware: MachineHardware;
  /** A folder for this machine alone; removed with it. */
  readonly folder: string;
  /** `00112233-4455-6677-8899-aabbccddeeff`. */
  readonly generationId: string;
  /** A file with the state to go on from; without it the machine boots. */
  readonly state?: string;
}

const MEMORY_MB = 512;
/** An emulated processor takes all that it gets, and whoever works beside it comes first. */
const NICENESS = 10;
/** How much of the guest's console an error shows. */
const SHOWN_CONSOLE = 2_000;

export class Machine {
  readonly link: Link;
  readonly agent: AgentClient;
  readonly hardware: MachineHardware;
  readonly generationId: string;
  /** When the processors last began to run, in milliseconds on the host's monotonic clock. */
  resumedAt = performance.now();
  onClosed: () => void = () => {};
  readonly #process: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #qmp: Qmp;
  readonly #folder: string;
  readonly #servers: readonly LocalServer[];

  private constructor(
    { hardware, generationId, folder }: MachineStart,
    parts: {
      process: ChildProcess;
      exited: Promise<void>;
      qmp: Qmp;
      link: Link;
      agent: AgentClient;
      servers: readonly LocalServer[];
    },
  ) {
    this.hardware = hardware;
    this.generationId = generationId;
    this.#folder = folder;
    this.#process = parts.process;
    this.#exited = parts.exited;
    this.#qmp = parts.qmp;
    this.link = parts.link;
    this.agent = parts.agent;
    this.#servers = parts.servers;
  }

  /** Boots, or takes in a state and stands still until `resume`. */
  static async start(options: MachineStart): Promise<Machine> {
    const { folder, state } = options;
    mkdirSync(folder, { recursive: true });
    const servers = await Promise.all(
      ['qmp', 'net', 'control'].map(name => LocalServer.listen(join(folder, name))),
    );
    // If the process that runs this is killed, so is the machine.
    const { board } = options.hardware;
    const niced = ['nice', '-n', String(Math.max(0, NICENESS - getPriority())), board.emulator];
    const command = ['--pdeathsig', 'KILL', ...niced, ...(await qemuArguments(options))];
    const child = spawn('setpriv', command, { stdio: ['ignore', 'ignore', 'pipe'] });
    let complaint = '';
    child.stderr.on('data', (text: Buffer) => (complaint += text.toString()));
    const [qmpCalls, agentCalls] = [new Calls(), new Calls()];
    const exited = new Promise<void>(resolve => {
      child.once('error', error => {
        complaint = error.message;
        resolve();
      });
      child.once('exit', () => resolve());
    });
    let ended = false;
    const death = exited.then(() => {
      ended = true;
      const error = new Error(`the machine has ended: ${complaint.trim() || consoleOf(folder)}`);
      qmpCalls.end(error);
      agentCalls.end(error);
      return error;
    });
    const orDeath = <T>(promise: Promise<T>) =>
      Promise.race([
        promise,
        death.then(error => {
          throw error;
        }),
      ]);
    try {
      const [qmpSocket, netSocket, controlSocket] = await orDeath(
        Promise.all(servers.map(server => server.caller)),
      );
      const link = new Link(netSocket);
      const agent = new AgentClient(controlSocket, agentCalls);
      const qmp = await Qmp.open(qmpSocket, qmpCalls);
      const machine = new Machine(options, { process: child, exited, qmp, link, agent, servers });
      if (state) await qmp.loaded();
      machine.#announce();
      if (!state) await machine.resume();
      return machine;
    } catch (error) {
      if (!ended) child.kill('SIGKILL');
      await exited;
      for (const server of servers) server.close();
      throw error;
    }
  }

  /** Tells a machine that stands still which generation it is, where no device of QEMU does. */
  #announce(): void {
    const { memory: told } = this.hardware.board;
    if (!told || this.#process.pid === undefined) return;
    const memory = new GuestMemory(this.#process.pid, told.start);
    try {
      told.announce(memory, this.generationId);
    } finally {
      memory.close();
    }
  }

  /** Stops the processors between two instructions. */
  async pause(): Promise<void> {
    await this.#qmp.execute('stop');
  }

  async resume(): Promise<void> {
    this.resumedAt = performance.now();
    await this.#qmp.execute('cont');
  }

  /** Tells the kernel of a board that can be told that a page was written. */
  async notify(): Promise<void> {
    await this.#qmp.execute('system_powerdown');
  }

  /**
   * Milliseconds for which real processors have run the emulated one, since the machine was started: what else they did
   * meanwhile is not in it.
   */
  processorMs(): number {
    return emulatedProcessorMs(this.#process.pid);
  }

  /** Writes the state of a machine that stands still. It can go on after. */
  async save(file: string): Promise<void> {
    await this.#qmp.save(file);
  }

  /** What the guest's kernel has said. */
  console(): string {
    return readConsole(this.#folder);
  }

  async close(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exited;
    for (const server of this.#servers) server.close();
    rmSync(this.#folder, { recursive: true, force: true });
    this.onClosed();
  }
}

async function qemuArguments({ hardware, folder, generationId, state }: MachineStart): Promise<string[]> {
  const { board } = hardware;
  const { memoryMb = MEMORY_MB } = board;
  const socket = (name: string) => join(folder, name);
  const mac = Array.from(GUEST_MAC, byte => byte.toString(16).padStart(2, '0')).join(':');
  const options = {
    display: 'none',
    M: board.memory ? `${board.machine},memory-backend=ram` : board.machine,
    accel: 'tcg',
    cpu: hardware.cpu,
    m: String(memoryMb),
    smp: '1',
    kernel: hardware.vmlinuz,
    initrd: hardware.initrd,
    // With init_on_free what nobody uses is zero, and takes no room in a state.
    append: `console=${board.console} loglevel=5 panic=-1 init_on_free=1 ${board.kernelOptions ?? ''} ${hardware.kernelOptions}`,
    serial: 'chardev:console',
    // Else all of its threads have one name.
    name: 'clone,debug-threads=on',
    qmp: `unix:${socket('qmp')},server=off`,
    netdev: `stream,id=net,server=off,addr.type=unix,addr.path=${socket('net')}`,
    ...(state && { incoming: `exec:cat ${shellQuoted(state)}` }),
  };
  const characterDevices = [
    `file,id=console,path=${socket('console')}`,
    `socket,id=control,path=${socket('control')},server=off`,
  ];
  const devices = [
    `virtio-net-pci,netdev=net,mac=${mac}`,
    'virtio-serial-pci',
    `virtserialport,chardev=control,name=${CONTROL_PORT}`,
  ];
  return [
    '-nodefaults',
    '-no-user-config',
    '-no-reboot',
    // Until it has been told which generation it is.
    '-S',
    ...(board.memory ? ['-object', `memory-backend-memfd,id=ram,size=${memoryMb}M,share=on`] : []),
    ...(await board.hardware(generationId, folder)).flatMap(([name, value]) => [`-${name}`, value]),
    ...Object.entries(options).flatMap(([name, value]) => [`-${name}`, value]),
    ...characterDevices.flatMap(device => ['-chardev', device]),
    ...devices.flatMap(device => ['-device', device]),
  ];
}

// As QEMU names the threads of its emulated processors, of which our machines have one.
const PROCESSOR_THREAD = /^CPU \d+\/TCG$/;

/** schedstat(5): nanoseconds on a processor come first. */
function emulatedProcessorMs(pid: number | undefined): number {
  const tasks = `/proc/${pid}/task`;
  const thread = readdirSync(tasks).find(tid =>
    PROCESSOR_THREAD.test(readFileSync(`${tasks}/${tid}/comm`, 'latin1').trim()),
  );
  if (thread === undefined) throw new Error('QEMU has no thread for its processor');
  return Number(readFileSync(`${tasks}/${thread}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
}

function readConsole(folder: string): string {
  try {
    return readFileSync(join(folder, 'console'), 'utf8');
  } catch {
    return '';
  }
}

function consoleOf(folder: string): string {
  return readConsole(folder).slice(-SHOWN_CONSOLE) || 'its console is empty';
}
