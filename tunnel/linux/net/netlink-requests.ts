// Questions to the kernel by route netlink, one after the other, each with its answers.
// Promises: what is answered is answered before `ask` returns, as the kernel does it within the write; nobody waits.
// Read on: netlink.ts (the bytes); man 7 netlink.

import type { NativeMemory } from '../../../native/native-memory.js';
import { EINTR, systemCallError } from '../errno.js';
import { AF_NETLINK, type Libc, SOCK_CLOEXEC_NONBLOCK, SOCK_RAW, checked } from '../libc.js';
import { NETLINK_ROUTE, type NetlinkMessage, SOCKADDR_NL_BYTES, parseNetlink } from './netlink.js';

export const NETLINK_BUFFER_BYTES = 32_768;

export class NetlinkRequests {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #buffer: NativeMemory;
  #sequence = 0;

  /** Throws `ERR_SYSTEM_CALL`. */
  constructor(libc: Libc) {
    this.#libc = libc;
    this.#buffer = libc.alloc(NETLINK_BUFFER_BYTES);
    this.#fd = netlinkSocket(libc, 0);
  }

  /** The answers to what `request` makes of its number, to the first that ends them. Empty: the kernel took no question. */
  ask(request: (sequence: number) => Uint8Array): NetlinkMessage[] {
    const sequence = ++this.#sequence;
    const { bytes, address } = this.#buffer;
    const question = request(sequence);
    bytes.set(question);
    const answers: NetlinkMessage[] = [];
    if (this.#libc.write(this.#fd, address, question.length) < 0) return answers;
    for (;;) {
      const length = this.#libc.read(this.#fd, address, bytes.length);
      if (length === -EINTR) continue;
      if (length <= 0) return answers;
      for (const message of parseNetlink(bytes.subarray(0, length))) {
        if (!('sequence' in message) || message.sequence !== sequence) continue;
        answers.push(message);
        if (message.type !== 'address') return answers;
      }
    }
  }

  close(): void {
    this.#libc.close(this.#fd);
  }
}

/** Throws `ERR_SYSTEM_CALL`. */
export function netlinkSocket(libc: Libc, groups: number): number {
  const fd = checked(libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC_NONBLOCK, NETLINK_ROUTE), 'socket');
  const address = libc.alloc(SOCKADDR_NL_BYTES);
  address.u32.set([AF_NETLINK, 0, groups]);
  const bound = libc.bind(fd, address.address, SOCKADDR_NL_BYTES);
  if (bound < 0) {
    libc.close(fd);
    throw systemCallError('bind', bound, 'netlink');
  }
  return fd;
}
