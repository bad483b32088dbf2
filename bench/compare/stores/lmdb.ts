/** lmdb-js. Durability "os": `noSync`, so that no commit waits for the disk, as no other store's does. */
import { join } from "node:path";
import type { ScanRange, Store, StoreModule, StoreOptions, Visit } from "../store.ts";

/** What is used of lmdb's types; the package is not installed with memkv. */
interface Lmdb {
  open(options: Record<string, unknown>): LmdbDatabase;
}
interface LmdbRange {
  readonly start?: string | undefined;
  readonly end?: string | undefined;
  readonly limit?: number | undefined;
  readonly reverse?: boolean | undefined;
}
interface LmdbDatabase {
  get(key: string): unknown;
  put(key: string, value: unknown): Promise<boolean>;
  remove(key: string): Promise<boolean>;
  batch(callback: () => void): Promise<boolean>;
  getRange(range: LmdbRange): Iterable<{ readonly key: string; readonly value: unknown }>;
  getKeys(range: LmdbRange): Iterable<string>;
  backup(path: string, isCompact: boolean): Promise<void>;
  close(): Promise<void>;
}

const packageName: string = "lmdb";
const lmdb = (await import(packageName)) as Lmdb;

export const store: StoreModule = {
  packageName,
  async open(options: StoreOptions): Promise<Store> {
    const isSync = options.durability === "sync";
    const database = lmdb.open({
      path: join(options.directory, "data.mdb"),
      encoding: options.values === "string" ? "string" : "msgpack",
      // With shared structures, as its documentation advises for objects.
      ...(options.values === "object" ? { sharedStructuresKey: Symbol.for("structures") } : {}),
      // A commit then resolves once it is synced; overlapping syncs are slower here.
      ...(isSync ? { overlappingSync: false } : { noSync: true }),
      noMemInit: true,
    });
    return new LmdbStore(database);
  },
};

class LmdbStore implements Store {
  private readonly database: LmdbDatabase;

  constructor(database: LmdbDatabase) {
    this.database = database;
  }

  get(key: string): unknown {
    return this.database.get(key);
  }

  /** Its own getMany goes through the thread pool, to spare the main thread page faults. */
  getMany(keys: readonly string[]): unknown[] {
    return keys.map((key) => this.database.get(key));
  }

  put(key: string, value: unknown): Promise<unknown> {
    return this.database.put(key, value);
  }

  write(keys: readonly string[], values: readonly unknown[] | undefined): Promise<unknown> {
    const { database } = this;
    return database.batch(() => {
      if (values === undefined) for (const key of keys) void database.remove(key);
      else for (let i = 0; i < keys.length; i++) void database.put(keys[i], values[i]);
    });
  }

  scan(range: ScanRange, visit: Visit): void {
    const { gte, lt, limit, reverse } = range;
    const bounds: LmdbRange =
      reverse === true ? { start: lt, end: gte, limit, reverse } : { start: gte, end: lt, limit };
    if (range.keysOnly === true) {
      for (const key of this.database.getKeys(bounds)) visit(key, undefined);
    } else {
      for (const { key, value } of this.database.getRange(bounds)) visit(key, value);
    }
  }

  /** It compacts only into a copy: the size of that is what `compact` could get to. */
  async compact(): Promise<boolean> {
    return false;
  }

  close(): Promise<void> {
    return this.database.close();
  }
}
