/**
 * SQLite, as better-sqlite3's documentation advises: the write-ahead log, prepared statements, batches
 * as transactions. Rows lie in the key's own tree where they are short, as SQLite's documentation
 * advises ("WITHOUT ROWID").
 */
import { join } from "node:path";
import type { ScanRange, Store, StoreModule, StoreOptions, Visit } from "../store.ts";

/** What is used of better-sqlite3's types; the package is not installed with memkv. */
interface Statement {
  run(...parameters: unknown[]): unknown;
  get(...parameters: unknown[]): unknown;
  iterate(...parameters: unknown[]): Iterable<unknown>;
  pluck(): Statement;
  raw(): Statement;
}
interface SqliteDatabase {
  pragma(text: string): unknown;
  exec(text: string): unknown;
  prepare(text: string): Statement;
  transaction(
    run: (keys: readonly string[], values: readonly unknown[] | undefined) => void,
  ): (keys: readonly string[], values: readonly unknown[] | undefined) => void;
  close(): void;
}
interface Sqlite {
  readonly default: new (file: string) => SqliteDatabase;
}

const packageName: string = "better-sqlite3";
const { default: Database } = (await import(packageName)) as Sqlite;

/** Rows up to a twentieth of a page are best off in the key's tree (sqlite.org/withoutrowid.html). */
const MAX_INLINE_BYTES = 4096 / 20;

export const store: StoreModule = {
  packageName,
  async open(options: StoreOptions): Promise<Store> {
    const database = new Database(join(options.directory, "data.sqlite"));
    database.pragma("journal_mode = WAL");
    database.pragma(`synchronous = ${options.durability === "sync" ? "FULL" : "NORMAL"}`);
    database.pragma(`cache_size = -${options.cacheBytes / 1024}`);
    const isInline = options.valueBytes <= MAX_INLINE_BYTES;
    database.exec(
      `CREATE TABLE IF NOT EXISTS pairs (key TEXT PRIMARY KEY, value TEXT) ${isInline ? "WITHOUT ROWID" : ""}`,
    );
    return new SqliteStore(database, options);
  },
};

class SqliteStore implements Store {
  private readonly database: SqliteDatabase;
  private readonly isObject: boolean;
  private readonly getOne: Statement;
  private readonly putOne: Statement;
  private readonly deleteOne: Statement;
  private readonly writeAll: (
    keys: readonly string[],
    values: readonly unknown[] | undefined,
  ) => void;
  /** Statements of range reads, by their text. */
  private readonly scans = new Map<string, Statement>();

  constructor(database: SqliteDatabase, options: StoreOptions) {
    this.database = database;
    this.isObject = options.values === "object";
    this.getOne = database.prepare("SELECT value FROM pairs WHERE key = ?").pluck();
    this.putOne = database.prepare(
      "INSERT INTO pairs VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    );
    this.deleteOne = database.prepare("DELETE FROM pairs WHERE key = ?");
    this.writeAll = database.transaction((keys, values) => {
      if (values === undefined) for (const key of keys) this.deleteOne.run(key);
      else for (let i = 0; i < keys.length; i++) this.putOne.run(keys[i], this.encode(values[i]));
    });
  }

  get(key: string): unknown {
    return this.decode(this.getOne.get(key));
  }

  getMany(keys: readonly string[]): unknown[] {
    return keys.map((key) => this.get(key));
  }

  async put(key: string, value: unknown): Promise<void> {
    this.putOne.run(key, this.encode(value));
  }

  async write(keys: readonly string[], values: readonly unknown[] | undefined): Promise<void> {
    this.writeAll(keys, values);
  }

  scan(range: ScanRange, visit: Visit): void {
    const { gte, lt, limit, reverse, keysOnly } = range;
    const conditions = [gte === undefined ? "" : "key >= ?", lt === undefined ? "" : "key < ?"];
    const where = conditions.filter((condition) => condition !== "").join(" AND ");
    const text = `SELECT ${keysOnly === true ? "key" : "key, value"} FROM pairs ${
      where === "" ? "" : `WHERE ${where}`
    } ORDER BY key ${reverse === true ? "DESC" : "ASC"} LIMIT ?`;
    let statement = this.scans.get(text);
    if (statement === undefined) {
      statement = this.database.prepare(text);
      statement = keysOnly === true ? statement.pluck() : statement.raw();
      this.scans.set(text, statement);
    }
    const parameters = [gte, lt].filter((bound) => bound !== undefined);
    const rows = statement.iterate(...parameters, limit ?? -1);
    if (keysOnly === true) {
      for (const key of rows as Iterable<string>) visit(key, undefined);
    } else {
      for (const row of rows as Iterable<[string, unknown]>) visit(row[0], this.decode(row[1]));
    }
  }

  async compact(): Promise<boolean> {
    this.database.exec("VACUUM");
    this.database.pragma("wal_checkpoint(TRUNCATE)");
    return true;
  }

  async close(): Promise<void> {
    this.database.close();
  }

  private encode(value: unknown): unknown {
    return this.isObject ? JSON.stringify(value) : value;
  }

  private decode(value: unknown): unknown {
    return this.isObject && value !== undefined ? JSON.parse(value as string) : value;
  }
}
