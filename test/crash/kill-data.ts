/**
 * The writes that the process to be killed makes: the i-th is a function of i, so that whoever reads
 * the store afterwards knows what it must hold. Every write is a batch that also says its number.
 */
import type { BatchOperation, OpenOptions } from "../../src/index.ts";

/** Small limits, so that flushes and compactions are under way when the process is killed. */
export const KILL_OPTIONS: OpenOptions<string, string> = {
  valueEncoding: "utf8",
  memtableBytes: 2 ** 18,
  segmentBytes: 2 ** 17,
  compactionTrigger: 3,
};

export type Write = BatchOperation<string, string>[];

/** Key under which each write leaves its number. */
export const LAST = "last";

const KEYS = 400;

/** Scatters i; neighbours have nothing in common. */
function hash(i: number, salt: number): number {
  let value = Math.imul(i + 1, 0x9e3779b1) ^ Math.imul(salt + 1, 0x85ebca77);
  value = Math.imul(value ^ (value >>> 15), 0xc2b2ae3d);
  return (value ^ (value >>> 13)) >>> 0;
}

export function writeNumber(i: number): Write {
  const write: Write = [{ type: "put", key: LAST, value: `${i}` }];
  const count = 1 + (hash(i, 0) % 4);
  for (let j = 1; j <= count; j++) {
    const key = `key ${hash(i, j) % KEYS}`;
    if (hash(i, j + 50) % 100 === 0) {
      // Two such keys, and those that have one of them as their beginning.
      write.push({ type: "deleteRange", gte: key, lt: `${key}~` });
    } else if (hash(i, j + 10) % 5 === 0) {
      write.push({ type: "delete", key });
    } else {
      // Mostly short; some are stored apart from the others (4 KiB and more).
      const length = hash(i, j + 20) % 50 === 0 ? 6000 : hash(i, j + 30) % 300;
      write.push({ type: "put", key, value: `${i}.${j} `.padEnd(length, `${hash(i, j + 40)} `) });
    }
  }
  return write;
}

export function applyTo(content: Map<string, string>, write: Write): void {
  for (const operation of write) {
    if (operation.type === "put") content.set(operation.key, operation.value);
    else if (operation.type === "delete") content.delete(operation.key);
    else {
      const { gte = "", lt = "" } = operation;
      for (const key of [...content.keys()]) if (key >= gte && key < lt) content.delete(key);
    }
  }
}
