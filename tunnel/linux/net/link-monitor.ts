// What happens to the interface of a TUN device: up, down, another MTU or name, moved to another network namespace, gone.
// Promises: each change is told once, found by comparing states, so that a lost message costs a second and no more. It
// goes on after the interface was moved: up, down and gone are asked of the TUN descriptor, which moves along; name and
// MTU are asked of the other namespace by its id, from ours, without setns.
// Read on: wireguard-go tun/tun_linux.go (routineHackListener: the same trouble); Linux net/core/net_namespace.c (nsid).

import type { NativeMemory } from '../../../native/native-memory.js';
import { EINTR, ENOBUFS } from '../errno.js';
import type { Libc } from '../libc.js';
import { homeNamespace, openNamespaceOfTun } from './namespace.js';
import {
  type LinkMessage,
  MONITOR_GROUPS,
  type NetlinkMessage,
  assignNamespaceIdRequest,
  linkRequest,
  namespaceIdRequest,
  parseNetlink,
} from './netlink.js';
import { NETLINK_BUFFER_BYTES, NetlinkRequests, netlinkSocket } from './netlink-requests.js';
import type { LinuxTun, TunState } from '../tun/tun.js';

/** Call `look` at least this often unless `isTold`: a change in another namespace sends no message. */
export const LOOK_EVERY_MS = 1_000;

/** Datagrams read in one go: a flood of route changes must not hold up the packets. */
const MAX_DATAGRAMS = 64;

/** `routing`: addresses or routes of our namespace changed, and a sticky source may have lost its way. */
export type LinkEvent =
  | { readonly type: 'up' | 'down' | 'gone' | 'routing' }
  | { readonly type: 'mtu'; readonly mtu: number }
  | { readonly type: 'renamed'; readonly name: string }
  /** `home`: back in the namespace where this process made it. */
  | { readonly type: 'moved'; readonly home: boolean };

export interface LinkStatus {
  readonly state: TunState;
  readonly name: string;
  /** Bytes; the last known one where the namespace that it lies in does not tell. */
  readonly mtu: number | undefined;
  readonly home: boolean;
}

export class LinkMonitor {
  /** Readable when something changed in our namespace: then call `readable`. */
  readonly fd: number;
  readonly #libc: Libc;
  readonly #tun: LinuxTun;
  readonly #buffer: NativeMemory;
  readonly #home: number | undefined;
  readonly requests: NetlinkRequests;
  #index = 0;
  #status: LinkStatus;

  /** Begins with the state as it is. Throws `ERR_SYSTEM_CALL`, and `ERR_TUN` when the interface is gone. */
  constructor(libc: Libc, tun: LinuxTun) {
    this.#libc = libc;
    this.#home = homeNamespace(libc);
    this.#tun = tun;
    this.#buffer = libc.alloc(NETLINK_BUFFER_BYTES);
    const name = tun.name();
    this.fd = netlinkSocket(libc, MONITOR_GROUPS);
    try {
      this.requests = new NetlinkRequests(libc);
    } catch (error) {
      libc.close(this.fd);
      throw error;
    }
    this.#status = { state: 'down', name, mtu: undefined, home: true };
    this.#status = this.#ask();
  }

  /** As of the last look. */
  get status(): LinkStatus {
    return this.#status;
  }

  /** Whether messages tell of every change: the interface lies in our namespace, and we know it by its index. */
  get isTold(): boolean {
    return this.#status.home && this.#index !== 0;
  }

  /** Of the interface in our namespace; 0 while it lies in another. */
  get index(): number {
    return this.#index;
  }

  /** Call when `fd` is readable. */
  readable(handle: (event: LinkEvent) => void): void {
    let ours = false;
    let routing = false;
    for (let count = 0; count < MAX_DATAGRAMS; count++) {
      const length = this.#libc.read(this.fd, this.#buffer.address, NETLINK_BUFFER_BYTES);
      if (length === -EINTR) continue;
      // ENOBUFS: messages were lost, and any of them could have been about us.
      if (length === -ENOBUFS) ours = routing = true;
      else if (length <= 0) break;
      else {
        for (const message of parseNetlink(this.#buffer.bytes.subarray(0, length))) {
          if (message.type === 'routing' || message.type === 'address') routing = true;
          else if ('index' in message && message.index === this.#index) ours = true;
        }
      }
    }
    if (ours) this.look(handle);
    if (routing) handle({ type: 'routing' });
  }

  /**
   * Compares with the last look. Call every `LOOK_EVERY_MS` unless `isTold`, and when reading or writing the TUN device
   * gave `down` or `gone`. After `gone` nothing more is told.
   */
  look(handle: (event: LinkEvent) => void): void {
    const before = this.#status;
    if (before.state === 'gone') return;
    const after = this.#ask();
    this.#status = after;
    if (after.home !== before.home) handle({ type: 'moved', home: after.home });
    if (after.name !== before.name) handle({ type: 'renamed', name: after.name });
    if (after.mtu !== undefined && after.mtu !== before.mtu) handle({ type: 'mtu', mtu: after.mtu });
    if (after.state !== before.state) handle({ type: after.state });
  }

  close(): void {
    this.#libc.close(this.fd);
    this.requests.close();
  }

  #ask(): LinkStatus {
    const before = this.#status;
    const state = this.#tun.state();
    if (state === 'gone') return { ...before, state };
    let name: string;
    try {
      name = this.#tun.name();
    } catch {
      // Deleted between the two questions.
      return { ...before, state: 'gone' };
    }
    const namespace = openNamespaceOfTun(this.#libc, this.#tun.fd);
    try {
      const home = namespace < 0 || this.#libc.inode(namespace) === this.#home;
      const link = home ? this.#readLink(name) : this.#readForeignLink(name, namespace);
      // Its index at home is what messages are told apart by; elsewhere none of them is about us.
      this.#index = home ? (link?.index ?? 0) : 0;
      return { state, name, mtu: link?.mtu ?? before.mtu, home };
    } finally {
      if (namespace >= 0) this.#libc.close(namespace);
    }
  }

  #readLink(name: string, namespaceId?: number): LinkMessage | undefined {
    const answer = this.#answer(sequence => linkRequest(sequence, name, namespaceId));
    return answer?.type === 'link' ? answer : undefined;
  }

  #readForeignLink(name: string, namespace: number): LinkMessage | undefined {
    const id = this.#namespaceId(namespace);
    return id === undefined ? undefined : this.#readLink(name, id);
  }

  #namespaceId(namespace: number): number | undefined {
    const known = this.#askNamespaceId(namespace);
    if (known !== undefined && known >= 0) return known;
    this.#answer(sequence => assignNamespaceIdRequest(sequence, namespace));
    const assigned = this.#askNamespaceId(namespace);
    return assigned !== undefined && assigned >= 0 ? assigned : undefined;
  }

  #askNamespaceId(namespace: number): number | undefined {
    const answer = this.#answer(sequence => namespaceIdRequest(sequence, namespace));
    return answer?.type === 'namespaceId' ? answer.id : undefined;
  }

  #answer(request: (sequence: number) => Uint8Array): NetlinkMessage | undefined {
    return this.requests.ask(request).at(-1);
  }
}
