/** memkv, as built into dist/: what users install. */
import type { Database } from "../../../src/index.ts";
import type { ScanRange, Store, StoreModule, StoreOptions, Visit } from "../store.ts";

const built = new URL("../../../dist/index.js", import.meta.url).href;
const memkv = (await import(built)) as typeof import("../../../src/index.ts");

export const store: StoreModule = {
  packageName: "memkv",
  async open(options: StoreOptions): Promise<Store> {
    const database = (await memkv.open(options.directory, {
      valueEncoding: options.values === "string" ? "utf8" : "msgpack",
      durability: options.durability,
      memtableBytes: options.writeBufferBytes,
      blockCacheBytes: options.cacheBytes,
    })) as Database<string, unknown>;
    return new MemkvStore(database);
  },
};

class MemkvStore implements Store {
  private readonly database: Database<string, unknown>;

  constructor(database: Database<string, unknown>) {
    this.database = database;
  }

  get(key: string): unknown {
    return this.database.get(key);
  }

  getMany(keys: readonly string[]): unknown[] {
    return this.database.getMany(keys);
  }

  put(key: string, value: unknown): Promise<void> {
    return this.database.put(key, value);
  }

  write(keys: readonly string[], values: readonly unknown[] | undefined): Promise<void> {
    return this.database.batch(
      values === undefined
        ? keys.map((key) => ({ type: "delete", key }))
        : keys.map((key, i) => ({ type: "put", key, value: values[i] })),
    );
  }

  scan(range: ScanRange, visit: Visit): void {
    const { keysOnly, ...rest } = range;
    if (keysOnly === true) {
      for (const key of this.database.keys(rest)) visit(key, undefined);
    } else {
      for (const [key, value] of this.database.entries(rest)) visit(key, value);
    }
  }

  async compact(): Promise<boolean> {
    await this.database.compact();
    return true;
  }

  close(): Promise<void> {
    return this.database.close();
  }
}
