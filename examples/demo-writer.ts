/**
 * The process that the demo kills: writes batches without end, each durable before it is reported.
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type BatchOperation, type OpenOptions, open } from "../src/index.ts";

/** Writes of one batch. */
export const WRITER_BATCH_COUNT = 100;

/** Both processes open the store so. */
export const STORE_OPTIONS: OpenOptions<string, string> = { memtableBytes: 2 * 2 ** 20 };

/** The writes of the batch `number`, from 0. */
export function batchOf(number: number): { type: "put"; key: string; value: string }[] {
  return Array.from({ length: WRITER_BATCH_COUNT }, (_, i) => ({
    type: "put" as const,
    key: `crash-test/${number}/${i}`,
    value: `https://example.org/written/${number}/${i}`,
  }));
}

async function write(directory: string): Promise<never> {
  const store = await open<string, string>(directory, STORE_OPTIONS);
  for (let number = 0; ; number++) {
    const operations: BatchOperation<string, string>[] = batchOf(number);
    await store.batch(operations, { durability: "sync" });
    process.send?.(number);
  }
}

const isMain = resolve(process.argv[1] ?? "") === fileURLToPath(import.meta.url);
if (isMain) await write(process.argv[2] ?? "");
