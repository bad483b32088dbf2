/**
 * Store: what a workload asks of a database, and the one place that lists those compared.
 *
 * Each adapter does what its store's documentation advises for the job, in the fewest calls: reads
 * are synchronous wherever the store can (all five can), batches are atomic, range reads come in the
 * largest chunks. README.md has the settings in a table.
 */

/** What values are: every store's own way for strings, or for objects. */
export type ValueKind = "string" | "object";

export interface StoreOptions {
  readonly directory: string;
  /** "os": a write survives the process, "sync": a power cut too. */
  readonly durability: "os" | "sync";
  readonly values: ValueKind;
  /** What a memtable may hold, where there is one. */
  readonly writeBufferBytes: number;
  /** Cache of blocks or pages, where there is one. */
  readonly cacheBytes: number;
  /** About how long values are. */
  readonly valueBytes: number;
}

export interface ScanRange {
  /** First key; undefined for the first of all. */
  readonly gte?: string;
  /** End of the keys, itself out. */
  readonly lt?: string;
  readonly limit?: number;
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
}

/** Called for each entry; the value is undefined with `keysOnly`. */
export type Visit = (key: string, value: unknown) => void;

export interface Store {
  get(key: string): unknown;
  getMany(keys: readonly string[]): readonly unknown[] | Promise<readonly unknown[]>;
  /** Resolves when the write is as durable as the store was opened for. */
  put(key: string, value: unknown): Promise<unknown>;
  /** All or none: puts of keys[i], values[i], or deletes if there are no values. */
  write(keys: readonly string[], values: readonly unknown[] | undefined): Promise<unknown>;
  scan(range: ScanRange, visit: Visit): void | Promise<void>;
  /** Makes the store as small as it offers to; returns false if it offers nothing. */
  compact(): Promise<boolean>;
  close(): Promise<void>;
}

export interface StoreModule {
  /** Package that is loaded, to say whether it is there. */
  readonly packageName: string;
  open(options: StoreOptions): Promise<Store>;
}

export const STORE_NAMES = ["memkv", "lmdb", "classic-level", "rocksdb", "better-sqlite3"] as const;
export type StoreName = (typeof STORE_NAMES)[number];

/** Loads the adapter, and with it the store; fails where the store is not installed. */
export async function loadStore(name: StoreName): Promise<StoreModule> {
  const module = (await import(`./stores/${name}.ts`)) as { readonly store: StoreModule };
  return module.store;
}
