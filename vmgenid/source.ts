// What a source of generations promises, and how it speaks to the driver.
// A source is either read (a page, a file: `read`) or announces (a log line, a call: `listener.announce`), or both.
// Read on: Linux drivers/virt/vmgenid.c (the page and its notification), the vmclock ABI.

/**
 * `immediate`: the hypervisor has written the new value before any processor of the clone runs, so that a read
 * tells the truth. `delayed`: the truth arrives some time after the clone already runs.
 */
export type Timing = 'immediate' | 'delayed';

/** `unique`: two clones see two values. `counter`: clones of one snapshot see the same value. */
export type Uniqueness = 'unique' | 'counter';

/** What a source that announces can say. */
export interface Announcement {
  /** The new generation ID, 16 bytes, when the announcer knows it. Public, but different in every clone. */
  readonly vmGenId?: Uint8Array | undefined;
  /** Secret random bytes from outside the machine, different in every clone. Wiped by the receiver. */
  readonly seed?: Uint8Array | undefined;
  /** The kernel has said that it reseeded its own generator because of a fork. */
  readonly kernelReseeded?: boolean | undefined;
}

/** How things stand, as the driver tells a source. */
export interface Standing {
  /** NO_EPOCH once the driver is closed. */
  readonly epoch: number;
  /** The epoch that the last fork began, FIRST_EPOCH before the first: drills begin epochs too. NO_EPOCH once closed. */
  readonly forkEpoch: number;
  /** Whether the machine was never forked, or something is known that this clone has and its siblings lack. */
  readonly parted: boolean;
}

/** The driver's side of a source. Every call is synchronous; a wipe has been done when it returns. */
export interface SourceListener {
  /** The value may have changed: the driver reads the source again. */
  changed(): void;
  /**
   * A fork was announced. Returns the epoch that holds now, raised unless another source (or the same call, made
   * twice) has already shown this fork; `NO_EPOCH` once the driver is closed and nobody is told any more.
   */
  announce(announcement: Announcement): number;
  /**
   * Something was lost that may have been word of a fork. It is no news where an immediate source can be read now, since
   * that one shows every fork; where none can, it counts as a fork.
   */
  missed(): void;
  /** The source can no longer be trusted to report a fork: nothing is released until `recovered`. */
  failed(error: Error): void;
  /** It can again. A source that may have missed a fork meanwhile announces one first. */
  recovered(): void;
  /** Reads the immediate sources, and tells how things stand. */
  look(): Standing;
  /** Resolves when the asynchronous subscribers of all forks announced so far are done. */
  settled(): Promise<void>;
}

/** A descriptor for who waits by poll(2) or epoll(7). It is the source's, and closed with it. */
export interface ChangeNotice {
  /** Readable when the value may have changed, until `settle`. A hang-up: nothing tells any more. */
  readonly fd: number;
  /** Call before the source is read again. False: it stays readable, and is of no use. */
  settle(): boolean;
}

/** Something that tells which generation this machine is. */
export interface GenerationSource {
  /** Names the source and what it reads: `acpi`, `file:/run/generation`. */
  readonly name: string;
  readonly timing: Timing;
  readonly uniqueness: Uniqueness;
  /**
   * Writes the generation as it is now (four words) into `into`. Synchronous. An immediate source is read at every
   * release: no allocation, no system call where that can be had. Throws a `VmGenIdError` when the value cannot be
   * had or cannot be trusted; the driver then lets nothing out.
   */
  read?(into: Uint32Array): void;
  /**
   * Of a source that announces: bytes that differ, within one boot of this machine, as soon as there is
   * another fork to tell of, whether anybody was there to hear of it. Undefined where that is not known.
   */
  readonly history?: Uint8Array | undefined;
  /** Of a source that can be waited for. Throws as `read` does. */
  readonly notice?: ChangeNotice | undefined;
  /**
   * Looks, synchronously, for what a delayed source would announce by itself a little later. May be called while
   * an announcement of the same source is being handled.
   */
  poll?(): void;
  /** Begins to watch. Called once, by the driver. */
  start?(listener: SourceListener): void | Promise<void>;
  /** Ends watching and gives back every descriptor. May be called twice. */
  close(): void | Promise<void>;
}
