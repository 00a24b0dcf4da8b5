// The addresses of one interface: a clone gets its own, and loses those of the machine that it was copied from.
// Promises: the new ones are there before any old one goes, so that routes by this interface stay; addresses that a link
// gives itself are left alone.
// Read on: netlink.ts; Linux net/ipv6/addrconf.c (whose prefix route stays with the last address in it).

import { equalBytes } from '../../../native/bytes.js';
import type { IpPrefix } from '../../config/config-values.js';
import { formatIp } from '../../ip.js';
import { TunnelError } from '../../errors.js';
import { EADDRNOTAVAIL, EIO, systemCallError } from '../errno.js';
import { addAddressRequest, addressesRequest, removeAddressRequest } from './netlink.js';
import type { NetlinkRequests } from './netlink-requests.js';

/** Addresses that are good everywhere (RT_SCOPE_UNIVERSE). */
const GLOBAL = 0;
/** One to remove, one to see that nothing is left. Whoever adds addresses meanwhile is an operator. */
const ROUNDS = 3;

export class InterfaceAddresses {
  readonly #requests: NetlinkRequests;
  readonly #index: () => number;

  /** `index`: of the interface in our namespace, 0 when it lies in another. */
  constructor(requests: NetlinkRequests, index: () => number) {
    this.#requests = requests;
    this.#index = index;
  }

  /** Those of global scope. Throws `ERR_SYSTEM_CALL`. */
  list(): IpPrefix[] {
    const index = this.#requireIndex();
    const answers = this.#requests.ask(addressesRequest);
    const end = answers.at(-1);
    if (end?.type !== 'answer' || end.errno !== 0)
      throw systemCallError('RTM_GETADDR', end?.type === 'answer' ? end.errno : EIO);
    return answers
      .filter(message => message.type === 'address')
      .filter(address => address.index === index && address.scope === GLOBAL)
      .map(({ ip, prefix }) => ({ ip, prefix }));
  }

  /** Adds one; that it is there already is no mistake. Throws `ERR_SYSTEM_CALL`. */
  add(address: IpPrefix): void {
    const index = this.#requireIndex();
    this.#do('RTM_NEWADDR', address, sequence => addAddressRequest(sequence, index, address));
  }

  /** That it is not there is no mistake. Throws `ERR_SYSTEM_CALL`. */
  remove(address: IpPrefix): void {
    const index = this.#requireIndex();
    this.#do(
      'RTM_DELADDR',
      address,
      sequence => removeAddressRequest(sequence, index, address),
      EADDRNOTAVAIL,
    );
  }

  /** Removes all of global scope but these. Throws `ERR_SYSTEM_CALL`. */
  keepOnly(addresses: readonly IpPrefix[]): void {
    // What changes while the kernel tells of it may be left out.
    for (let round = 0; round < ROUNDS; round++) {
      const others = this.list().filter(found => !addresses.some(({ ip }) => equalBytes(ip, found.ip)));
      if (others.length === 0) return;
      for (const other of others) this.remove(other);
    }
  }

  #requireIndex(): number {
    const index = this.#index();
    if (index !== 0) return index;
    const problem = 'the interface lies in another network namespace, where no address can be set from here';
    throw new TunnelError('ERR_SYSTEM_CALL', problem, { errno: 'ENODEV' });
  }

  #do(call: string, { ip, prefix }: IpPrefix, request: (sequence: number) => Uint8Array, fine = 0): void {
    const [answer] = this.#requests.ask(request);
    const errno = answer?.type === 'answer' ? answer.errno : EIO;
    if (errno !== 0 && errno !== fine) throw systemCallError(call, errno, `${formatIp(ip)}/${prefix}`);
  }
}
