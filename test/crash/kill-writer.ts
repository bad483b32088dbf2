/**
 * The process that test/crash/kill.ts kills: makes numbered writes as fast as it can and says on
 * standard output which it has been promised.
 *
 * Arguments: the directory, the number to begin with, "sync" or "os". Lines: "ready", then the number
 * of each acknowledged write, which is one of kill-data.ts.
 */
import { open } from "../../src/index.ts";
import { KILL_OPTIONS, writeNumber } from "./kill-data.ts";

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
    await database.batch(writeNumber(number));
    // Not writeSync, which fails where the pipe is full and does not block.
    process.stdout.write(`${number}\n`);
  }
}
await Promise.all(Array.from({ length: WRITERS }, write));
