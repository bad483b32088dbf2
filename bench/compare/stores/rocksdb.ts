/**
 * RocksDB in nxtedition's binding. Reads through the synchronous calls that its authors use; the
 * write buffer's size goes with a style of compaction there, and universal is its tiered one.
 */
import type { ScanRange, Store, StoreModule, StoreOptions, Visit } from "../store.ts";

/** What is used of the binding; the package is not installed with memkv. */
interface RocksIterator {
  _nextvSync(size: number): { readonly rows: readonly string[]; readonly finished: boolean };
  _closeSync(): void;
}
interface RocksDatabase {
  open(): Promise<void>;
  _getManySync(keys: readonly string[], options: object): (string | undefined)[];
  batch(operations: readonly object[], options: object): Promise<void>;
  _iterator(options: object): RocksIterator;
  close(): Promise<void>;
}
interface Rocks {
  readonly RocksLevel: new (directory: string, options: object) => RocksDatabase;
}

const packageName: string = "@nxtedition/rocksdb";
const { RocksLevel } = (await import(packageName)) as Rocks;

const CHUNK_ENTRIES = 1000;
const READ_OPTIONS = { keyEncoding: "utf8", valueEncoding: "utf8" };
/** Its budget is for four memtables, of which it then keeps six; of three as large, which memkv keeps: */
const MEMTABLES = 2;

export const store: StoreModule = {
  packageName,
  async open(options: StoreOptions): Promise<Store> {
    const database = new RocksLevel(options.directory, {
      compaction: "universal",
      memtableMemoryBudget: options.writeBufferBytes * MEMTABLES,
      cacheSize: options.cacheBytes,
    });
    await database.open();
    return new RocksStore(database, options);
  },
};

class RocksStore implements Store {
  private readonly database: RocksDatabase;
  private readonly writeOptions: { sync: boolean };
  private readonly isObject: boolean;

  constructor(database: RocksDatabase, options: StoreOptions) {
    this.database = database;
    this.writeOptions = { sync: options.durability === "sync" };
    this.isObject = options.values === "object";
  }

  get(key: string): unknown {
    return this.decode(this.database._getManySync([key], READ_OPTIONS)[0]);
  }

  getMany(keys: readonly string[]): unknown[] {
    const values = this.database._getManySync(keys, READ_OPTIONS);
    return this.isObject ? values.map((value) => this.decode(value)) : values;
  }

  put(key: string, value: unknown): Promise<void> {
    // Its own put takes no options, so a synced one is a batch.
    return this.write([key], [value]);
  }

  write(keys: readonly string[], values: readonly unknown[] | undefined): Promise<void> {
    return this.database.batch(
      values === undefined
        ? keys.map((key) => ({ type: "del", key }))
        : keys.map((key, i) => ({ type: "put", key, value: this.encode(values[i]) })),
      this.writeOptions,
    );
  }

  scan(range: ScanRange, visit: Visit): void {
    const { keysOnly, ...rest } = range;
    const iterator = this.database._iterator({
      ...READ_OPTIONS,
      ...rest,
      values: keysOnly !== true,
    });
    const size = Math.min(CHUNK_ENTRIES, range.limit ?? CHUNK_ENTRIES);
    let left = range.limit ?? Number.POSITIVE_INFINITY;
    while (left > 0) {
      const { rows, finished } = iterator._nextvSync(size);
      for (let i = 0; i < rows.length; i += 2) {
        visit(rows[i], keysOnly === true ? undefined : this.decode(rows[i + 1]));
      }
      left -= rows.length / 2;
      if (finished) break;
    }
    iterator._closeSync();
  }

  /** The binding has no call for it. */
  async compact(): Promise<boolean> {
    return false;
  }

  close(): Promise<void> {
    return this.database.close();
  }

  private encode(value: unknown): string {
    return this.isObject ? JSON.stringify(value) : (value as string);
  }

  private decode(value: string | undefined): unknown {
    return this.isObject && value !== undefined ? JSON.parse(value) : value;
  }
}
