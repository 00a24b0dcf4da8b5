// A path-compressed binary trie from address prefixes to values: the data structure under the allowed IPs.
// Promises: lookup allocates nothing and answers the longest prefix; at most two nodes per prefix; giving up all
// prefixes of a value costs as much as it had, whatever the trie holds.
// Read on: WireGuard paper 2; Linux drivers/net/wireguard/allowedips.c.

// An address is four 32-bit words, most significant first. IPv4 uses the first and leaves the others zero.

class Node<T> {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly prefix: number;
  /** Undefined in a node that only branches; such a node always has both children. */
  value: T | undefined = undefined;
  parent: Node<T> | undefined = undefined;
  left: Node<T> | undefined = undefined;
  right: Node<T> | undefined = undefined;
  // The list of all nodes of one value.
  before: Node<T> | undefined = undefined;
  after: Node<T> | undefined = undefined;

  /** Masks the host bits. `| 0` keeps the words small integers, which the engine stores without a box. */
  constructor(a: number, b: number, c: number, d: number, prefix: number) {
    this.a = masked(a, prefix);
    this.b = masked(b, prefix - 32);
    this.c = masked(c, prefix - 64);
    this.d = masked(d, prefix - 96);
    this.prefix = prefix;
  }
}

/** One prefix of a value: four signed words with the host bits zero, and the number of bits that count. */
export interface TriePrefix {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly prefix: number;
}

export class PrefixTrie<T extends NonNullable<unknown>> {
  #root: Node<T> | undefined;
  /** The head of each value's list. */
  readonly #owned = new Map<T, Node<T>>();
  #size = 0;
  #nodes = 0;

  /** The number of prefixes. */
  get size(): number {
    return this.#size;
  }

  /** The number of nodes, branches included: below twice the size. */
  get nodes(): number {
    return this.#nodes;
  }

  /** The value of the longest prefix that covers this address. Allocates nothing. */
  lookup(a: number, b: number, c: number, d: number): T | undefined {
    let best: T | undefined;
    let node = this.#root;
    while (node !== undefined && covers(node, a, b, c, d)) {
      if (node.value !== undefined) best = node.value;
      node = bit(node.prefix, a, b, c, d) === 0 ? node.left : node.right;
    }
    return best;
  }

  /** The value of exactly this prefix. */
  get(a: number, b: number, c: number, d: number, prefix: number): T | undefined {
    return this.#find(a, b, c, d, prefix)?.value;
  }

  /** Gives the prefix to `value`. Returns the other value that had it, if one had. */
  insert(a: number, b: number, c: number, d: number, prefix: number, value: T): T | undefined {
    let parent: Node<T> | undefined;
    let node = this.#root;
    while (node !== undefined && node.prefix <= prefix && covers(node, a, b, c, d)) {
      if (node.prefix === prefix) return this.#give(node, value);
      parent = node;
      node = bit(node.prefix, a, b, c, d) === 0 ? node.left : node.right;
    }

    const leaf = new Node<T>(a, b, c, d, prefix);
    this.#nodes++;
    if (node === undefined) {
      this.#hang(parent, leaf);
    } else {
      const shared = Math.min(sharedBits(node, a, b, c, d), prefix);
      if (shared === prefix) {
        this.#hang(parent, leaf);
        this.#hang(leaf, node);
      } else {
        const branch = new Node<T>(a, b, c, d, shared);
        this.#nodes++;
        this.#hang(parent, branch);
        this.#hang(branch, node);
        this.#hang(branch, leaf);
      }
    }
    return this.#give(leaf, value);
  }

  /** Takes the prefix away from `value`. False, with nothing changed, when `value` does not have it. */
  remove(a: number, b: number, c: number, d: number, prefix: number, value: T): boolean {
    const node = this.#find(a, b, c, d, prefix);
    if (node?.value !== value) return false;
    this.#takeFromOwner(node);
    this.#prune(node);
    return true;
  }

  #find(a: number, b: number, c: number, d: number, prefix: number): Node<T> | undefined {
    let node = this.#root;
    while (node !== undefined && node.prefix < prefix && covers(node, a, b, c, d)) {
      node = bit(node.prefix, a, b, c, d) === 0 ? node.left : node.right;
    }
    return node?.prefix === prefix && covers(node, a, b, c, d) ? node : undefined;
  }

  /** Takes every prefix away from `value`. */
  removeAll(value: T): void {
    for (let node = this.#owned.get(value); node !== undefined; node = this.#owned.get(value)) {
      this.#takeFromOwner(node);
      this.#prune(node);
    }
  }

  /** The prefixes of `value`, in no particular order. */
  entries(value: T): TriePrefix[] {
    const found: TriePrefix[] = [];
    for (let node = this.#owned.get(value); node !== undefined; node = node.after) found.push(node);
    return found;
  }

  clear(): void {
    this.#root = undefined;
    this.#owned.clear();
    this.#size = 0;
    this.#nodes = 0;
  }

  #give(node: Node<T>, value: T): T | undefined {
    const old = node.value;
    if (old === value) return undefined;
    if (old !== undefined) this.#takeFromOwner(node);
    node.value = value;
    node.after = this.#owned.get(value);
    if (node.after !== undefined) node.after.before = node;
    this.#owned.set(value, node);
    this.#size++;
    return old;
  }

  #takeFromOwner(node: Node<T>): void {
    if (node.value === undefined) return;
    if (node.after !== undefined) node.after.before = node.before;
    if (node.before !== undefined) node.before.after = node.after;
    else if (node.after !== undefined) this.#owned.set(node.value, node.after);
    else this.#owned.delete(node.value);
    node.before = undefined;
    node.after = undefined;
    node.value = undefined;
    this.#size--;
  }

  // A node without a value stays only as long as it parts two children.
  #prune(node: Node<T>): void {
    if (node.left !== undefined && node.right !== undefined) return;
    const child = node.left ?? node.right;
    const parent = node.parent;
    this.#nodes--;
    if (child !== undefined) {
      this.#hang(parent, child);
      return;
    }
    if (parent === undefined) {
      this.#root = undefined;
      return;
    }
    if (parent.left === node) parent.left = undefined;
    else parent.right = undefined;
    if (parent.value === undefined) this.#prune(parent);
  }

  /** Puts `child` under `parent` on the side its bits say, in place of what was there; without a parent, at the root. */
  #hang(parent: Node<T> | undefined, child: Node<T>): void {
    child.parent = parent;
    if (parent === undefined) this.#root = child;
    else if (bit(parent.prefix, child.a, child.b, child.c, child.d) === 0) parent.left = child;
    else parent.right = child;
  }
}

function masked(word: number, bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? word | 0 : word & (-1 << (32 - bits));
}

function bit(at: number, a: number, b: number, c: number, d: number): number {
  const word = at < 32 ? a : at < 64 ? b : at < 96 ? c : d;
  return (word >>> (31 - (at & 31))) & 1;
}

/** How many leading bits the address shares with the node's, 0..128. */
function sharedBits(node: TriePrefix, a: number, b: number, c: number, d: number): number {
  if (a !== node.a) return Math.clz32(a ^ node.a);
  if (b !== node.b) return 32 + Math.clz32(b ^ node.b);
  if (c !== node.c) return 64 + Math.clz32(c ^ node.c);
  return 96 + Math.clz32(d ^ node.d);
}

function covers(node: TriePrefix, a: number, b: number, c: number, d: number): boolean {
  return sharedBits(node, a, b, c, d) >= node.prefix;
}
