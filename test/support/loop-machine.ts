// A machine that can be cloned, as `Machine` is, with all of a daemon's device thread in it: a `DeviceLoop` over a kernel
// of its own. It can be saved wherever a system call or a read of the generation returns, in the midst of a turn.

import { Crng, type CrngOptions } from '../../crng/index.js';
import type { Suite } from '../../protocol/suite.js';
import { type Device, FRESHNESS_POLL_MS } from '../../sessions/device.js';
import { RingReader, RingWriter, ringMemory } from '../../tunnel/daemon/device-thread/datagram-ring.js';
import { DeviceLoop, type DeviceLoopOptions } from '../../tunnel/linux/device-loop.js';
import { KernelLog } from '../../tunnel/linux/kernel-log.js';
import { LinuxTun } from '../../tunnel/linux/tun/tun.js';
import { EventFd } from '../../tunnel/linux/wait/poller.js';
import type { ForkGuard } from '../../vmgenid/driver.js';
import { type ChangeNotice, VmGenId } from '../../vmgenid/index.js';
import type { Cloneable } from './history.js';
import { FakeKernel } from './kernel/kernel.js';
import { type FakeTun, type StackPacket, split } from './kernel/tun-device.js';
import type { FakeDatagram } from './kernel/udp-socket.js';
import type { Ledger } from './ledger.js';
import { type Branching, Outside, type OutsideOptions } from './outside.js';
import { Witness } from './witness.js';

/** After so many instants, and so many inputs: the last of these may be under way. */
export interface LoopSnapshot {
  readonly instants: number;
  readonly inputs: number;
}

type Branch = LoopSnapshot & Branching;

export interface LoopMachineOptions extends OutsideOptions {
  readonly suite: Suite;
  readonly ledger: Ledger;
  readonly addresses: readonly Uint8Array[];
  /** What the kernel can do with TUN devices, as TUN_F_... bits; undefined: the loop is not to ask. */
  readonly offloads?: number | undefined;
  readonly loop?: Partial<DeviceLoopOptions>;
  /** The path of the kernel's log. */
  readonly log?: string;
  /** What tells of changes of the generation. */
  readonly notices?: (kernel: FakeKernel) => ChangeNotice[];
  readonly crng?: Partial<CrngOptions>;
  /** Sabotage for negative controls: what the loop (and only it) gets to see of the generation. */
  readonly sabotage?: (guard: ForkGuard) => ForkGuard;
  readonly complain: (of: string) => void;
  readonly onDatagram: (datagram: FakeDatagram) => void;
  readonly onRelayed: (datagram: Uint8Array, number: number) => void;
  /** Called once the loop exists, on each clone alike. */
  readonly setUp: (loop: DeviceLoop) => void;
}

type Input = (machine: LoopMachine) => void;

/** Turns in which no time passes: more of them than any queue has work for. */
const MOST_IDLE_TURNS = 300;
/** Turns while time passes: what wakes a device at most, besides what it has to do. */
const TURNS_A_SECOND = 10;
/** Where nothing parts two clones for a while, somebody may wait for randomness. */
const TURNS_A_SECOND_WHILE_WAITING = TURNS_A_SECOND + 1_000 / FRESHNESS_POLL_MS;
const RING_BYTES = 65_536;

export class LoopMachine implements Cloneable<LoopMachine, LoopSnapshot> {
  readonly kernel: FakeKernel;
  readonly loop: DeviceLoop;
  readonly vmgenid: VmGenId;
  readonly arrivals: RingWriter;
  readonly witness: Witness;
  /** Returns of system calls and reads of the generation: wherever this machine may be saved. */
  instants = 0;
  turns = 0;
  readonly #options: LoopMachineOptions;
  readonly #branches: readonly Branch[];
  readonly #outside: Outside;
  readonly #inputs: Input[] = [];
  readonly #closers: (() => void)[] = [];

  constructor(options: LoopMachineOptions, branches: readonly Branch[] = []) {
    const { ledger, suite, addresses, offloads } = options;
    this.#options = options;
    this.#branches = branches;
    this.witness = new Witness({
      ledger,
      complain: options.complain,
      holds: options.loop?.settings?.forkPolicy === 'hold',
    });
    this.#outside = new Outside(options, branches, () => {
      this.witness.reads(this.#outside.shown);
      this.#instant();
    });
    this.kernel = new FakeKernel({
      addresses,
      offloads: offloads ?? 0,
      tun: { read: packet => this.#taken(packet), deliver: packet => this.witness.delivers(packet) },
      leave: datagram => this.#leaves(datagram.bytes, () => options.onDatagram(datagram)),
      returned: () => this.#instant(),
    });
    const { kernel } = this;
    const clock = { now: () => kernel.clock.monotonic, wallClock: () => kernel.clock.realtime };
    const vmgenid = (this.vmgenid = new VmGenId([this.#outside.source], { now: clock.now }));
    void vmgenid.start();
    const crng = new Crng({ entropy: this.#outside.entropy, vmgenid, now: clock.now, ...options.crng });
    const wake = EventFd.create(kernel);
    const arrivals = ringMemory(RING_BYTES);
    this.arrivals = new RingWriter(arrivals, () => wake.signal());
    this.loop = new DeviceLoop({
      libc: kernel,
      tun: LinuxTun.create(kernel, { name: 'wg0', mtu: 1_420, offloads: offloads !== undefined }),
      wake,
      guard: options.sabotage ? options.sabotage(vmgenid) : vmgenid,
      crng,
      suite: ledger.recording(suite, this.witness.seals),
      clock,
      offloads: offloads !== undefined,
      onWake: () => {},
      onDeviceEvent: () => {},
      onLinkEvent: () => {},
      onTrouble: () => {},
      arrivals: new RingReader(arrivals, () => {}),
      onRelay: (datagram, { number }) => {
        const copy = datagram.slice();
        this.#leaves(copy, () => options.onRelayed(copy, number));
        return true;
      },
      onProven: () => {},
      kernelLog: options.log === undefined ? undefined : KernelLog.open(kernel, options.log),
      notices: options.notices?.(kernel) ?? [],
      ...options.loop,
    });
    this.#closers.push(
      () => this.loop.close(),
      () => wake.close(),
      () => crng.close(),
      () => void vmgenid.close(),
    );
    options.setUp(this.loop);
  }

  get device(): Device {
    return this.loop.device;
  }

  get tun(): FakeTun {
    return this.kernel.tun as FakeTun;
  }

  /** Whether packets longer than the MTU may be handed to the interface. */
  get splits(): boolean {
    return (this.#options.offloads ?? 0) !== 0;
  }

  /** Runs one call at this instant, and remembers it for clones. */
  run(input: Input): void {
    this.#inputs.push(input);
    input(this);
  }

  /** One turn that does not wait, as of a thread that was waked. */
  turn(): void {
    this.#turn(0);
  }

  /** Turns for so long as the machine's clock has it. */
  runFor(ms: number): void {
    const { clock } = this.kernel;
    const end = clock.monotonic + ms;
    const mayWait = this.#options.uniqueness === 'counter';
    const turnsASecond = mayWait ? TURNS_A_SECOND_WHILE_WAITING : TURNS_A_SECOND;
    const mostTurns = this.turns + MOST_IDLE_TURNS + (ms / 1_000) * turnsASecond;
    for (let idle = 0; clock.monotonic < end && !this.loop.ended; ) {
      const before = clock.monotonic;
      this.#turn(end - before);
      idle = clock.monotonic === before ? idle + 1 : 0;
      if (idle <= MOST_IDLE_TURNS && this.turns <= mostTurns) continue;
      this.#options.complain('the loop does not sleep');
      clock.monotonic = end;
    }
    // An ended loop is turned no more; its machine goes on.
    clock.monotonic = end;
  }

  #turn(ms: number): void {
    if (this.loop.ended) return;
    this.turns++;
    this.loop.turn(ms);
  }

  /** A snapshot between two calls. */
  snapshot(): LoopSnapshot {
    return { instants: this.instants, inputs: this.#inputs.length };
  }

  /** A snapshot in the midst of a call: at an instant of those that it goes through, which are at least one. */
  snapshotDuring(input: Input, which: number): LoopSnapshot {
    const before = this.instants;
    this.run(input);
    const passed = Math.max(1, this.instants - before);
    return { instants: before + 1 + (which % passed), inputs: this.#inputs.length };
  }

  /** Starts a clone from a snapshot of this machine, under a generation ID of its own (unless `silent`). */
  restore(snapshot: LoopSnapshot, label: string, silent = false): LoopMachine {
    const clone = new LoopMachine(this.#options, [...this.#branches, { ...snapshot, label, silent }]);
    for (const input of this.#inputs.slice(0, snapshot.inputs)) clone.run(input);
    clone.#pass();
    return clone;
  }

  /**
   * A clone whose history parts at an instant: it runs every input of this machine from the start, with what comes of it
   * after that instant, and goes on from there.
   */
  forkAt(instants: number, label: string): LoopMachine {
    return this.restore({ instants, inputs: this.#inputs.length }, label);
  }

  signal(): void {
    this.run(machine => machine.#outside.signal());
  }

  close(): void {
    for (const close of this.#closers) close();
  }

  #instant(): void {
    this.instants++;
    this.#pass();
  }

  #pass(): void {
    while (this.#outside.isInThePast && this.#branches[this.#outside.passed].instants <= this.instants) {
      this.#outside.pass();
    }
  }

  /** What is in a packet that lies in the queue is what the machine's own world has put there. */
  #taken(packet: StackPacket): StackPacket {
    const taken = { ...packet, bytes: packet.bytes.slice() };
    if (this.#outside.passed > 0) this.#outside.scribble(taken.bytes);
    this.witness.takes(split(Buffer.concat([taken.vnet, taken.bytes])) ?? []);
    return taken;
  }

  #leaves(datagram: Uint8Array, leave: () => void): void {
    this.witness.leaves(datagram);
    // What left before the machine was saved has left before.
    if (this.#outside.isInThePast) return;
    this.#options.ledger.leaves(datagram);
    leave();
  }
}
