/** What the process that is killed writes, and what must therefore be there. */
import type { BatchOperation, OpenOptions } from "../../src/index.ts";

/** Small limits, so that flushes and compactions are under way when the process is killed. */
export const KILL_OPTIONS: OpenOptions<string, string> = {
  valueEncoding: "utf8",
  memtableBytes: 2 ** 18,
  segmentBytes: 2 ** 17,
  compactionTrigger: 3,
};

/** Keys that the batches put, in turn. */
export const SLOTS = 500;

export function slotValue(number: number): string {
  return `${number}:`.padEnd(20 + (number % 7) * 300, "some value ");
}

export function batchOf(number: number): BatchOperation<string, string>[] {
  return [
    { type: "put", key: `slot ${number % SLOTS}`, value: slotValue(number) },
    { type: "put", key: "newest", value: `${number}` },
  ];
}

/** The content after batches 1 to `newest`. */
export function contentAfter(newest: number): Map<string, string> {
  const content = new Map<string, string>();
  if (newest > 0) content.set("newest", `${newest}`);
  for (let number = Math.max(1, newest - SLOTS + 1); number <= newest; number++) {
    content.set(`slot ${number % SLOTS}`, slotValue(number));
  }
  return content;
}
