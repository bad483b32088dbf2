/**
 * WriteEncoder: what a user asks to be written, in their types, as operations of a record.
 *
 * What is wrong with it is thrown here, and whoever has the record begun takes back what an operation
 * or a batch has left in it by then.
 */
import { describe } from "../encoding/key-codec.ts";
import { type KeyRange, toDeletedSpan } from "../encoding/range.ts";
import { InvalidArgumentError } from "../errors.ts";
import { unknownName } from "../names.ts";
import type { RecordBuilder } from "../wal/batch.ts";
import type { Codecs } from "./codecs.ts";
import { resolveTtl, type TtlOption } from "./options.ts";
import type { Store } from "./store.ts";

/** One operation of a batch. */
export type BatchOperation<K = string, V = unknown> =
  | PutOperation<K, V>
  | { readonly type: "delete"; readonly key: K }
  | DeleteRangeOperation<K>;

/** Stores a value under a key, as `put` does. */
export interface PutOperation<K, V> extends TtlOption {
  readonly type: "put";
  readonly key: K;
  readonly value: V;
}

/** Deletes every key of a range, as `deleteRange` does. */
export interface DeleteRangeOperation<K> extends KeyRange<K> {
  readonly type: "deleteRange";
}

/** Operations of a batch between two looks at its size. */
const CHECK_INTERVAL = 1024;
/** After so many operations a batch knows about how long it will be. */
const FIRST_OPERATIONS = 16;

export class WriteEncoder<K, V> {
  private readonly store: Pick<Store, "options" | "expiryAfter">;
  private readonly codecs: Codecs<K, V>;

  constructor(store: Pick<Store, "options" | "expiryAfter">, codecs: Codecs<K, V>) {
    this.store = store;
    this.codecs = codecs;
  }

  /** `time`: from which on the ttl counts. Default: now. */
  put(record: RecordBuilder, key: K, value: V, ttl: number | undefined, time?: number): void {
    const { key: keyCodec, value: valueCodec } = this.codecs;
    // Clock and value first: they may run the user's code, which may read and so encode other keys.
    const expiry = this.store.expiryAfter(ttl, time);
    const content = valueCodec.toAppend(value);
    // The length first: encoding a long key replaces the buffer.
    const length = keyCodec.encode(key);
    record.put(keyCodec.buffer, length, content, expiry);
  }

  delete(record: RecordBuilder, key: K): void {
    const keyCodec = this.codecs.key;
    const length = keyCodec.encode(key);
    record.delete(keyCodec.buffer, length);
  }

  /** `accepted`: fields that the range may have besides its bounds. */
  deleteRange(record: RecordBuilder, range: KeyRange<K>, accepted?: readonly string[]): void {
    const span = toDeletedSpan(range, this.codecs.key, accepted);
    if (span !== undefined) record.deleteRange(span);
  }

  batch(record: RecordBuilder, operations: readonly BatchOperation<K, V>[]): void {
    if (!Array.isArray(operations)) {
      throw new InvalidArgumentError(`batch takes an array, not ${describe(operations)}`);
    }
    const start = record.mark();
    // One moment for all, so that what is written at once expires at once.
    const time = this.store.options.now();
    for (let i = 0; i < operations.length; i++) {
      this.operation(record, operations[i], i, time);
      // Before a batch that is far too large fills the memory.
      if (i % CHECK_INTERVAL === 0) record.checkBatch(start);
      if (i === FIRST_OPERATIONS) record.expect(operations.length - i, start);
    }
    record.checkBatch(start);
  }

  private operation(
    record: RecordBuilder,
    operation: BatchOperation<K, V>,
    index: number,
    time: number,
  ): void {
    try {
      if (operation.type === "put") {
        checkWriteFields(operation);
        const { key, value, ttl } = operation;
        if (ttl !== undefined) resolveTtl({ ttl });
        this.put(record, key, value, ttl, time);
      } else if (operation.type === "delete") {
        checkWriteFields(operation);
        this.delete(record, operation.key);
      } else if (operation.type === "deleteRange") {
        this.deleteRange(record, operation, ["type"]);
      } else {
        const { type } = operation as { readonly type: unknown };
        throw new InvalidArgumentError(
          `type must be "put", "delete" or "deleteRange", not ${describe(type)}`,
        );
      }
    } catch (error) {
      const isObject = typeof operation === "object" && operation !== null;
      const reason = error instanceof Error ? error.message : String(error);
      const message = isObject ? reason : `must be an object, not ${describe(operation)}`;
      throw new InvalidArgumentError(`operation ${index} of the batch: ${message}`, {
        cause: error,
      });
    }
  }
}

/**
 * Throws for a field of a put or delete that is not known, such as `TTL`: its author meant something
 * by it. A value beside a delete is passed over. Takes 3 ns: no array of the names is made.
 */
function checkWriteFields(operation: object): void {
  for (const name in operation) {
    const isKnown = name === "type" || name === "key" || name === "value" || name === "ttl";
    if (!isKnown && Object.hasOwn(operation, name)) {
      throw unknownName(name, "field", ["type", "key", "value", "ttl"]);
    }
  }
}
