// What a descriptor of the fake kernel stands for. Each kind does what its calls do, and says when it is ready.

/** Calls that a kind does not have fail with EINVAL. Results are those of the system calls: a number, or `-errno`. */
export interface FakeFile {
  /** Names the kind, as faults do: `tun`, `udp`, `netlink`. */
  readonly kind: string;
  /** Bits as of poll(2), whatever was asked for. */
  ready(): number;
  read?(into: Uint8Array): number;
  write?(bytes: Uint8Array): number;
  /** When it may become ready by itself, in monotonic milliseconds. */
  wakesAt?(): number;
  close?(): void;
}

/** A file that cannot be waited for and has nothing in it; or a network namespace, which is there to be told apart. */
export class PlainFile implements FakeFile {
  readonly kind = 'plain';
  readonly inode: number;

  constructor(inode: number) {
    this.inode = inode;
  }

  ready(): number {
    return 0;
  }

  read(): number {
    return 0;
  }
}
