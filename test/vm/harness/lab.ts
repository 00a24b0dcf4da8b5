// A place for virtual machines: builds the guest once, boots it once, and makes clones of whatever runs in it.
// Promises: what is started here ends with `close`, machines and files alike, and at the latest with this process.
// Read on: machine.ts; test/vm/README.md for a use in ten lines.

import { createHash, randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Board, PC } from './boards.js';
import { type GuestImage, guestImage } from './guest-image.js';
import { Machine, type MachineHardware } from './machine.js';
import { run, which } from './run.js';
import { VmUnavailableError } from './unavailable.js';

export interface LabOptions {
  /** Where kernels, guests and booted states are kept. Default: `wireonce-vm` in the user's cache folder. */
  readonly cache?: string;
  /** One line for whoever waits. Default: standard error. */
  readonly progress?: (line: string) => void;
}

export interface MachineOptions {
  /** Default: a PC with QEMU's generation ID. */
  readonly board?: Board;
  /** Default `max`: all that QEMU can emulate, RDRAND included. */
  readonly cpu?: string;
  /** More for the kernel's command line. */
  readonly kernelOptions?: string;
  /** What is done in a machine that has booted, once: the state after it is kept too. */
  readonly prepared?: Preparation;
}

export interface Preparation {
  readonly name: string;
  /** All that `prepare` does, as a text: another text is another state. */
  readonly recipe: string;
  prepare(machine: Machine): Promise<void>;
}

export interface RestoreOptions {
  /** The generation ID of every clone. Default: a new one each. */
  readonly generationId?: string;
  /** Whether the clones run at once; default true. Otherwise they stand still until `resume`. */
  readonly running?: boolean;
}

const BOOT_MS = 300_000;
const FOLDER = 'wireonce-vm-';
const ABANDONED = /^wireonce-vm-(\d+)-\w+$/;
/** An image or state that nobody has used for so long is removed. */
const KEPT_MS = 24 * 3_600_000;
const FIRST_GENERATION_ID = '00112233-4455-6677-8899-aabbccddeeff';

export class VmLab {
  readonly #images = new Map<string, Promise<GuestImage>>();
  readonly #cache: string;
  readonly #folder: string;
  readonly #progress: (line: string) => void;
  readonly #machines = new Set<Machine>();
  readonly #atExit = () => rmSync(this.#folder, { recursive: true, force: true });
  #made = 0;

  private constructor(cache: string, progress: (line: string) => void) {
    this.#cache = cache;
    this.#progress = progress;
    removeAbandoned();
    this.#folder = mkdtempSync(join(tmpdir(), `${FOLDER}${process.pid}-`));
    process.once('exit', this.#atExit);
  }

  /** Builds the guest of a PC or finds it. Throws `VmUnavailableError` where there can be no machines, with the reason. */
  static async open(options: LabOptions = {}): Promise<VmLab> {
    const { progress = line => process.stderr.write(`vm: ${line}\n`) } = options;
    const cache = options.cache ?? defaultCache();
    mkdirSync(cache, { recursive: true });
    forgetUnused(cache);
    const lab = new VmLab(cache, progress);
    try {
      await lab.#image(PC);
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  /**
   * A machine that has booted and answers: from the cache after the first time. Its generation ID is the one that it has
   * booted with, so that nothing in it has seen a fork yet.
   */
  async machine(options: MachineOptions = {}): Promise<Machine> {
    const { board = PC, cpu = 'max', kernelOptions = '', prepared } = options;
    const { vmlinuz, initrd, hash } = await this.#image(board);
    const hardware: MachineHardware = { board, vmlinuz, initrd, cpu, kernelOptions };
    const version = (await run(board.emulator, ['--version'])).toString();
    const recipe = [hash, version, board.name, board.kernelOptions ?? '', cpu, kernelOptions];
    let state = this.#cached(recipe);
    if (!existsSync(state)) await this.#keep(state, 'booting the guest', () => this.#boot(hardware));
    if (prepared) {
      const booted = state;
      state = this.#cached([...recipe, prepared.recipe]);
      if (!existsSync(state)) {
        await this.#keep(state, `preparing ${prepared.name}`, async () => {
          const machine = await this.#start(hardware, FIRST_GENERATION_ID, booted);
          await machine.resume();
          await prepared.prepare(machine);
          return machine;
        });
      }
    }
    const machine = await this.#start(hardware, FIRST_GENERATION_ID, state);
    await machine.resume();
    return machine;
  }

  /** Saves a machine where it is. It stands still after; `resume` lets it go on beside its clones. */
  async snapshot(machine: Machine): Promise<Snapshot> {
    const state = join(this.#folder, `state-${++this.#made}`);
    await machine.pause();
    const takenAt = performance.now();
    await machine.save(state);
    return new Snapshot(state, machine, takenAt, (generationId, from) =>
      this.#start(machine.hardware, generationId, from),
    );
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#machines, machine => machine.close()));
    this.#atExit();
    process.removeListener('exit', this.#atExit);
  }

  /** One for all boards that have the same kernel. */
  async #image({ kernel, emulator }: Board): Promise<GuestImage> {
    if (!(await which(emulator))) throw new VmUnavailableError(`${emulator} is missing: run .ci/install-vm`);
    const image = this.#images.get(kernel) ?? guestImage(this.#cache, this.#progress, kernel);
    this.#images.set(kernel, image);
    return image;
  }

  #cached(recipe: readonly string[]): string {
    const hash = createHash('sha256').update(recipe.join('\0')).digest('hex');
    const state = join(this.#cache, `state-${hash.slice(0, 16)}`);
    markUsed(state);
    return state;
  }

  /** Brings a machine to where its state is worth keeping, and keeps it. */
  async #keep(state: string, what: string, reach: () => Promise<Machine>): Promise<void> {
    this.#progress(what);
    const begun = performance.now();
    const unfinished = `${state}.${process.pid}`;
    let machine: Machine | undefined;
    try {
      machine = await reach();
      await machine.pause();
      await machine.save(unfinished);
      renameSync(unfinished, state);
      this.#progress(`${what}: done and saved in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    } finally {
      await machine?.close();
      rmSync(unfinished, { force: true });
    }
  }

  async #boot(hardware: MachineHardware): Promise<Machine> {
    const machine = await this.#start(hardware, FIRST_GENERATION_ID);
    await machine.agent.ping(BOOT_MS).catch((error: unknown) => {
      throw new Error(`the guest does not boot: ${machine.console()}`, { cause: error });
    });
    return machine;
  }

  async #start(hardware: MachineHardware, generationId: string, state?: string): Promise<Machine> {
    const folder = join(this.#folder, `machine-${++this.#made}`);
    const machine = await Machine.start({ hardware, folder, generationId, ...(state && { state }) });
    this.#machines.add(machine);
    machine.onClosed = () => this.#machines.delete(machine);
    return machine;
  }
}

export class Snapshot {
  /** The machine that was saved. */
  readonly origin: Machine;
  /** Milliseconds on the host's monotonic clock. */
  readonly takenAt: number;
  readonly #state: string;
  readonly #start: (generationId: string, state: string) => Promise<Machine>;

  constructor(
    state: string,
    origin: Machine,
    takenAt: number,
    start: (generationId: string, state: string) => Promise<Machine>,
  ) {
    this.#state = state;
    this.origin = origin;
    this.takenAt = takenAt;
    this.#start = start;
  }

  /** Makes clones, which run in the same instant or stand still. */
  async restore(clones: number, options: RestoreOptions = {}): Promise<Machine[]> {
    const { generationId, running = true } = options;
    const machines = await Promise.all(
      Array.from({ length: clones }, () => this.#start(generationId ?? randomUUID(), this.#state)),
    );
    if (running) await Promise.all(machines.map(machine => machine.resume()));
    return machines;
  }

  /** Gives back the room on the disk; clones that run do not need it any more. */
  remove(): void {
    rmSync(this.#state, { force: true });
  }
}

/** Folders of processes that were killed: nobody else removes them. */
function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir())) {
    const [, owner] = ABANDONED.exec(name) ?? [];
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue;
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function markUsed(file: string): void {
  if (existsSync(file)) utimesSync(file, new Date(), new Date());
}

/** Images and states of sources that have changed since are of no use to anybody, and large. */
function forgetUnused(cache: string): void {
  for (const name of readdirSync(cache)) {
    const file = join(cache, name);
    if (!/^(state|guest)-/.test(name) || Date.now() - statSync(file).mtimeMs < KEPT_MS) continue;
    rmSync(file, { force: true });
  }
}

function defaultCache(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'wireonce-vm');
}
