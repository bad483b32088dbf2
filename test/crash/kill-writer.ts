/**
 * The process that test/crash/kill.ts kills: writes numbered batches as fast as it can and says on
 * standard output which it has been promised.
 *
 * Arguments: the directory, the number to begin with, "sync" or "os". Lines: "ready", then the number
 * of each acknowledged batch. Batch n puts n under `slot <n modulo SLOTS>` and under `newest`.
 */
import { open } from "../../src/index.ts";
import { batchOf, KILL_OPTIONS } from "./kill-data.ts";

const [directory, first, durability] = process.argv.slice(2);
const database = await open<string, string>(directory, {
  ...KILL_OPTIONS,
  durability: durability === "sync" ? "sync" : "os",
});
process.stdout.write("ready\n");

/** Batches under way at once. */
const WRITERS = 8;

let next = Number(first);
async function write(): Promise<void> {
  for (;;) {
    const number = next++;
    await database.batch(batchOf(number));
    // Not writeSync, which fails where the pipe is full and does not block.
    process.stdout.write(`${number}\n`);
  }
}
await Promise.all(Array.from({ length: WRITERS }, write));
