/** classic-level: LevelDB. Synchronous gets; range reads in chunks through its thread pool. */
import type { ScanRange, Store, StoreModule, StoreOptions, Visit } from "../store.ts";

/** What is used of classic-level's types; the package is not installed with memkv. */
interface ChunkIterator<T> {
  nextv(size: number): Promise<T[]>;
  close(): Promise<void>;
}
interface ClassicDatabase {
  open(): Promise<void>;
  getSync(key: string): unknown;
  put(key: string, value: unknown, options: { sync: boolean }): Promise<void>;
  batch(operations: readonly object[], options: { sync: boolean }): Promise<void>;
  iterator(options: object): ChunkIterator<[string, unknown]>;
  keys(options: object): ChunkIterator<string>;
  compactRange(start: string, end: string): Promise<void>;
  close(): Promise<void>;
}
interface Classic {
  readonly ClassicLevel: new (directory: string, options: object) => ClassicDatabase;
}

const packageName: string = "classic-level";
const { ClassicLevel } = (await import(packageName)) as Classic;

/** Entries a chunk; the bytes are what its documentation advises to go with that. */
const CHUNK_ENTRIES = 1000;
const HIGHEST_KEY = "\u{10ffff}";

export const store: StoreModule = {
  packageName,
  async open(options: StoreOptions): Promise<Store> {
    const database = new ClassicLevel(options.directory, {
      valueEncoding: options.values === "string" ? "utf8" : "json",
      writeBufferSize: options.writeBufferBytes,
      cacheSize: options.cacheBytes,
    });
    await database.open();
    return new ClassicStore(database, options);
  },
};

class ClassicStore implements Store {
  private readonly database: ClassicDatabase;
  private readonly writeOptions: { sync: boolean };
  private readonly entryBytes: number;

  constructor(database: ClassicDatabase, options: StoreOptions) {
    this.database = database;
    this.writeOptions = { sync: options.durability === "sync" };
    this.entryBytes = options.valueBytes + 100;
  }

  get(key: string): unknown {
    return this.database.getSync(key);
  }

  getMany(keys: readonly string[]): unknown[] {
    return keys.map((key) => this.database.getSync(key));
  }

  put(key: string, value: unknown): Promise<void> {
    return this.database.put(key, value, this.writeOptions);
  }

  write(keys: readonly string[], values: readonly unknown[] | undefined): Promise<void> {
    return this.database.batch(
      values === undefined
        ? keys.map((key) => ({ type: "del", key }))
        : keys.map((key, i) => ({ type: "put", key, value: values[i] })),
      this.writeOptions,
    );
  }

  async scan(range: ScanRange, visit: Visit): Promise<void> {
    const { keysOnly, ...rest } = range;
    const size = Math.min(CHUNK_ENTRIES, range.limit ?? CHUNK_ENTRIES);
    const options = { ...rest, highWaterMarkBytes: size * this.entryBytes };
    if (keysOnly === true) {
      await walk(this.database.keys(options), size, range.limit, (key) => visit(key, undefined));
    } else {
      await walk(this.database.iterator(options), size, range.limit, ([key, value]) =>
        visit(key, value),
      );
    }
  }

  async compact(): Promise<boolean> {
    await this.database.compactRange("", HIGHEST_KEY);
    return true;
  }

  close(): Promise<void> {
    return this.database.close();
  }
}

async function walk<T>(
  iterator: ChunkIterator<T>,
  size: number,
  limit: number | undefined,
  visit: (entry: T) => void,
): Promise<void> {
  let left = limit ?? Number.POSITIVE_INFINITY;
  while (left > 0) {
    const chunk = await iterator.nextv(size);
    if (chunk.length === 0) break;
    for (const entry of chunk) visit(entry);
    left -= chunk.length;
  }
  await iterator.close();
}
