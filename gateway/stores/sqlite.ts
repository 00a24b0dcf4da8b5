// SQLite: Node's own from 24 on, before that the same as an optional package. Loaded when a store is opened, by nobody else.
// Promises: what is committed is on the disk; SQLite's errors come out as ours, and what it finds damaged as `ERR_STORE_DAMAGED`.
// Read on: CONTRIBUTING.md "Dependencies"; sqlite.org/pragma.html, sqlite.org/rescode.html.

import { GatewayError, type GatewayErrorCode } from '../errors.js';

/** What is used of `node:sqlite`. */
export interface Engine {
  readonly DatabaseSync: new (path: string) => EngineDatabase;
}

interface EngineDatabase {
  exec(sql: string): void;
  prepare(sql: string): EngineStatement;
  close(): void;
}

interface EngineStatement {
  get(...values: readonly Value[]): unknown;
  all(...values: readonly Value[]): unknown[];
  run(...values: readonly Value[]): unknown;
}

type Value = Uint8Array | number;

/** From here on Node has it and does not warn that it may change. */
const NODE_WITH_SQLITE = 24;
const PACKAGE = '@photostructure/sqlite';
/** So long another process may write. */
const BUSY_MS = 10_000;
/** Of the file. It is all that memory holds of it. */
const CACHE_KIB = 8_192;

const SETTINGS = [
  `busy_timeout = ${BUSY_MS}`,
  'synchronous = FULL',
  'wal_autocheckpoint = 0',
  `cache_size = -${CACHE_KIB}`,
  'mmap_size = 0',
  'cell_size_check = ON',
  'trusted_schema = OFF',
  'temp_store = MEMORY',
];

/** sqlite.org/rescode.html: the primary result codes that have a code of ours. */
const CODES: Readonly<Record<number, GatewayErrorCode>> = {
  // CORRUPT, NOTADB
  11: 'ERR_STORE_DAMAGED',
  26: 'ERR_STORE_DAMAGED',
  // PERM, CANTOPEN, AUTH
  3: 'ERR_STORE_OPEN',
  14: 'ERR_STORE_OPEN',
  23: 'ERR_STORE_OPEN',
};
/** What SQLite says in other words than a person would. BUSY, READONLY, IOERR, FULL. */
const WORDS: Readonly<Record<number, string>> = {
  5: 'another program keeps it busy',
  8: 'it may not be written',
  10: 'the disk fails',
  13: 'no space is left on the device',
};

export class Statement {
  readonly #sqlite: Sqlite;
  readonly #statement: EngineStatement;

  constructor(sqlite: Sqlite, statement: EngineStatement) {
    this.#sqlite = sqlite;
    this.#statement = statement;
  }

  /** The first row, if there is one. */
  get(...values: readonly Value[]): unknown {
    return this.#sqlite.guard(() => this.#statement.get(...values));
  }

  all(...values: readonly Value[]): unknown[] {
    return this.#sqlite.guard(() => this.#statement.all(...values));
  }

  run(...values: readonly Value[]): void {
    this.#sqlite.guard(() => this.#statement.run(...values));
  }
}

export class Sqlite {
  readonly #path: string;
  readonly #database: EngineDatabase;

  /** Opens the database at `path`, which is there, if only as an empty file. Throws `ERR_STORE_UNAVAILABLE`, `ERR_STORE_OPEN`. */
  constructor(path: string, engine: Engine) {
    this.#path = path;
    this.#database = this.guard(() => new engine.DatabaseSync(path));
    try {
      for (const setting of SETTINGS) this.prepare(`PRAGMA ${setting}`).all();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  prepare(sql: string): Statement {
    return new Statement(
      this,
      this.guard(() => this.#database.prepare(sql)),
    );
  }

  exec(sql: string): void {
    this.guard(() => this.#database.exec(sql));
  }

  /** All that `work` does or, when it throws, nothing. Nobody else writes meanwhile. */
  transaction(work: () => void): void {
    this.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.exec('COMMIT');
    } catch (error) {
      this.#rollBack();
      throw error;
    }
  }

  /** What `work` reads is of one moment, whoever writes meanwhile. */
  async snapshot(work: () => Promise<void>): Promise<void> {
    this.exec('BEGIN');
    try {
      await work();
    } finally {
      this.#rollBack();
    }
  }

  #rollBack(): void {
    try {
      this.exec('ROLLBACK');
    } catch {
      // SQLite has done so by itself.
    }
  }

  /*
   * With a log, who reads never waits for who writes. But what is damaged at the end of a log counts as never written: damage
   * there would take back what was promised, and nobody would notice. So each commit is carried into the file, whose totals
   * tell, before it is answered for. Only where another process reads at that moment it has to stay in the log for a while.
   */

  /** From now on with a write-ahead log. */
  useLog(): void {
    this.prepare('PRAGMA journal_mode = WAL').all();
  }

  /** Carries what is in the log into the file, and waits for nobody. What cannot be carried stays there, and is kept too. */
  carryOver(): void {
    try {
      this.exec('PRAGMA wal_checkpoint(PASSIVE)');
    } catch {
      // It is tried again with the next commit.
    }
  }

  close(): void {
    this.#database.close();
  }

  damaged(what: string, cause?: unknown): GatewayError {
    return new GatewayError('ERR_STORE_DAMAGED', `${this.#path} is damaged: ${what}`, { cause });
  }

  /** Does it, and throws an error of ours for one of SQLite's. */
  guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      const { errcode, errstr, message } = error as Error & { errcode?: unknown; errstr?: unknown };
      if (typeof errcode !== 'number') throw error;
      // The upper bits say more of the same.
      const primary = errcode & 0xff;
      const code = CODES[primary] ?? 'ERR_STORE_WRITE';
      const words = WORDS[primary] ?? (typeof errstr === 'string' ? errstr : message);
      if (code === 'ERR_STORE_DAMAGED') throw this.damaged(words, error);
      throw new GatewayError(code, `${this.#path}: ${words}`, { cause: error });
    }
  }
}

/** Opens a database. Rejects with `ERR_STORE_UNAVAILABLE` when the library cannot be had, and as `Sqlite` throws. */
export async function openSqlite(path: string): Promise<Sqlite> {
  return new Sqlite(path, await loadSqlite());
}

/** Rejects with `ERR_STORE_UNAVAILABLE`. */
export async function loadSqlite(): Promise<Engine> {
  // A name that compilers and bundlers do not follow: the package may be missing.
  const names: readonly string[] = ownsSqlite() ? ['node:sqlite', PACKAGE] : [PACKAGE];
  let failed: unknown;
  for (const name of names) {
    try {
      return (await import(name)) as Engine;
    } catch (error) {
      failed ??= error;
    }
  }
  const [reason] = (failed as Error).message.split('\n');
  const problem = `a store in a file needs Node ${NODE_WITH_SQLITE}, or npm install ${PACKAGE}: ${reason}`;
  throw new GatewayError('ERR_STORE_UNAVAILABLE', problem, { cause: failed });
}

function ownsSqlite(): boolean {
  return Number.parseInt(process.versions.node, 10) >= NODE_WITH_SQLITE;
}
