// Who waits in front of a door, in order of arrival and by address.
// Promises: whoever must give way is found fairly: the oldest of the address that holds most places.

/** 4 bytes are an address; of 16 the first 8 count, since whoever has one address of a /64 has all of them. */
function holderOf(ip: Uint8Array): string {
  return ip.subarray(0, 8).join('.');
}

export class Places<T> {
  readonly #holders = new Map<string, Set<T>>();
  readonly #holderOf = new Map<T, string>();

  get size(): number {
    return this.#holderOf.size;
  }

  /** Places that are held from this address. */
  countOf(ip: Uint8Array): number {
    return this.#holders.get(holderOf(ip))?.size ?? 0;
  }

  /** `ip`: 4 or 16 bytes. */
  add(item: T, ip: Uint8Array): void {
    const name = holderOf(ip);
    const held = this.#holders.get(name) ?? new Set();
    held.add(item);
    this.#holders.set(name, held);
    this.#holderOf.set(item, name);
  }

  delete(item: T): boolean {
    const name = this.#holderOf.get(item);
    if (name === undefined) return false;
    this.#holderOf.delete(item);
    const held = this.#holders.get(name) as Set<T>;
    held.delete(item);
    if (held.size === 0) this.#holders.delete(name);
    return true;
  }

  /** The oldest of this address. */
  oldestOf(ip: Uint8Array): T | undefined {
    return first(this.#holders.get(holderOf(ip)));
  }

  /** The oldest of the address that holds most; of several that hold as many, of the one that came first. */
  oldestOfMost(): T | undefined {
    let most: Set<T> | undefined;
    for (const held of this.#holders.values()) if (held.size > (most?.size ?? 0)) most = held;
    return first(most);
  }
}

function first<T>(items: Set<T> | undefined): T | undefined {
  return items?.values().next().value;
}
