// The store in a file: SQLite, so that it survives the death of its process at any instant, and other processes may use it too.
// Promises: what `update` has answered is on the disk; what is read is what was written, or `ERR_STORE_DAMAGED`: all of the file
// is looked through when it is opened, and each record when it is read. Memory does not grow with the number of peers.
// Read on: sqlite.ts (the library), place.ts (the file), integrity.ts (damage), record-bytes.ts.

import { statSync } from 'node:fs';
import { equalBytes } from '../../native/bytes.js';
import type { AllowedIp } from '../../sessions/allowed-ips.js';
import { AddressTakenError, GatewayError } from '../errors.js';
import type { PeerChange, PeerRecord, PeerStore } from '../store.js';
import { requireIntact } from './integrity.js';
import { preparePlace } from './place.js';
import { decodeRecord, encodeRecord } from './record-bytes.js';
import { ownRange, ownRecord, rangeBytes, rangeId, requireKey, storeClosed } from './record.js';
import { Sqlite, loadSqlite } from './sqlite.js';
import { Tables } from './tables.js';
import { type Totals, addPeer, addRange, sameTotals } from './totals.js';

/** Of a list so many records are read at once. */
const PAGE = 500;
/** Before the first key. */
const START = Uint8Array.of(0);

/** How a store in a file is opened. */
export interface FileStoreOptions {
  /** Make the file where there is none. Default true. */
  readonly create?: boolean;
}

/** An update that waits to be written. */
interface Job {
  readonly publicKey: Uint8Array;
  readonly change: PeerChange;
  readonly resolve: (kept: PeerRecord | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** The store in a file, which other processes may use at the same time. */
export class FilePeerStore implements PeerStore {
  readonly #path: string;
  readonly #sqlite: Sqlite;
  readonly #tables: Tables;
  readonly #inode: number;
  #waiting: Job[] = [];
  #closed = false;

  private constructor(path: string, sqlite: Sqlite, tables: Tables) {
    this.#path = path;
    this.#sqlite = sqlite;
    this.#tables = tables;
    this.#inode = statSync(path).ino;
  }

  /**
   * The store at `path`. Rejects with `ERR_STORE_UNAVAILABLE` when the library does not load, `ERR_STORE_OPEN`,
   * `ERR_STORE_FOREIGN` when it is something else, `ERR_STORE_DAMAGED`.
   */
  static async open(path: string, options: FileStoreOptions = {}): Promise<FilePeerStore> {
    const engine = await loadSqlite();
    await preparePlace(path, options.create ?? true);
    const sqlite = new Sqlite(path, engine);
    try {
      const tables = new Tables(sqlite);
      await requireIntact(sqlite, tables);
      // What one that was killed left in the log.
      sqlite.carryOver();
      return new FilePeerStore(path, sqlite, tables);
    } catch (error) {
      sqlite.close();
      throw error;
    }
  }

  get(publicKey: Uint8Array): PeerRecord | undefined {
    this.#requireOpen();
    requireKey(publicKey);
    const bytes = this.#tables.peers.get(publicKey);
    return bytes && this.#decode(publicKey, bytes);
  }

  ownerOf(range: AllowedIp): Uint8Array | undefined {
    this.#requireOpen();
    return this.#tables.ranges.get(rangeBytes(ownRange(range)));
  }

  async update(publicKey: Uint8Array, change: PeerChange): Promise<PeerRecord | undefined> {
    this.#requireOpen();
    requireKey(publicKey);
    return new Promise((resolve, reject) => {
      // Whatever comes in the same turn shares one wait for the disk.
      if (this.#waiting.length === 0) setImmediate(() => this.#write());
      this.#waiting.push({ publicKey: new Uint8Array(publicKey), change, resolve, reject });
    });
  }

  async *list(): AsyncGenerator<PeerRecord> {
    for (let last: Uint8Array = START; ; ) {
      this.#requireOpen();
      const rows = this.#tables.peers.page(last, PAGE);
      for (const { key, value } of rows) yield this.#decode(key, value);
      if (rows.length < PAGE) return;
      last = rows[PAGE - 1].key;
      await new Promise(resolve => setImmediate(resolve));
    }
  }

  count(): number {
    this.#requireOpen();
    return this.#tables.totals().standing;
  }

  /** What was asked for before is written first. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#write();
    this.#closed = true;
    this.#sqlite.close();
  }

  /** Writes all that waits in one transaction, and answers. One that is refused leaves the others as they are. */
  #write(): void {
    const jobs = this.#waiting;
    this.#waiting = [];
    if (jobs.length === 0) return;
    const answers: (() => void)[] = [];
    try {
      this.#requireInPlace();
      this.#sqlite.transaction(() => {
        const totals = this.#tables.totals();
        const before = { ...totals };
        for (const job of jobs) answers.push(this.#apply(job, totals));
        if (!sameTotals(before, totals)) this.#tables.setTotals(totals);
      });
      this.#sqlite.carryOver();
    } catch (error) {
      for (const { reject } of jobs) reject(error);
      return;
    }
    for (const answer of answers) answer();
  }

  /** Does one update, and returns how to answer it. */
  #apply({ publicKey, change, resolve, reject }: Job, totals: Totals): () => void {
    let known: PeerRecord | undefined;
    let kept: PeerRecord | undefined;
    try {
      known = this.get(publicKey);
      const wanted = change(known);
      if (wanted === known) return () => resolve(known);
      kept = wanted && ownRecord(publicKey, wanted);
      for (const range of kept?.allowedIps ?? []) {
        const owner = this.ownerOf(range);
        if (owner && !equalBytes(owner, publicKey)) throw new AddressTakenError(range, owner);
      }
    } catch (error) {
      return () => reject(error);
    }
    this.#replace(publicKey, known, kept, totals);
    return () => resolve(kept);
  }

  #replace(
    key: Uint8Array,
    known: PeerRecord | undefined,
    kept: PeerRecord | undefined,
    totals: Totals,
  ): void {
    const { peers, ranges } = this.#tables;
    const [old, own] = [rangesOf(known), rangesOf(kept)];
    for (const [id, range] of old) {
      if (own.has(id)) continue;
      ranges.remove(range);
      addRange(totals, range, key, -1);
    }
    for (const [id, range] of own) {
      if (old.has(id)) continue;
      ranges.put(range, key);
      addRange(totals, range, key, 1);
    }
    if (known) withBytes(known, bytes => addPeer(totals, bytes, -1));
    if (!kept) peers.remove(key);
    else
      withBytes(kept, bytes => {
        peers.put(key, bytes);
        addPeer(totals, bytes, 1);
      });
  }

  /** Erases the bytes. */
  #decode(publicKey: Uint8Array, bytes: Uint8Array): PeerRecord {
    const record = decodeRecord(publicKey, bytes);
    if (!record) throw this.#sqlite.damaged('a record has changed');
    bytes.fill(0);
    return record;
  }

  #requireOpen(): void {
    if (this.#closed) throw storeClosed();
  }

  /** What is written into a file that has lost its name is lost. */
  #requireInPlace(): void {
    const now = statSync(this.#path, { throwIfNoEntry: false });
    if (now?.ino !== this.#inode)
      throw new GatewayError(
        'ERR_STORE_WRITE',
        `${this.#path} was removed or replaced: start anew with what is there`,
      );
  }
}

function withBytes(record: PeerRecord, work: (bytes: Uint8Array) => void): void {
  const bytes = encodeRecord(record);
  try {
    work(bytes);
  } finally {
    bytes.fill(0);
  }
}

function rangesOf(record: PeerRecord | undefined): Map<string, Uint8Array> {
  return new Map(record?.allowedIps.map(range => [rangeId(range), rangeBytes(range)]));
}
