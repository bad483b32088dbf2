/**
 * A process that writes until it is killed. Arguments: directory, durability, number of the first
 * write. It keeps several writes under way, and says the number of each on standard output, a line
 * each, once it is acknowledged.
 */
import { open } from "../../src/index.ts";
import { writeNumber } from "./history.ts";

const UNDER_WAY = 4;

const [directory = "", durability, first] = process.argv.slice(2);
const database = await open<string, string>(directory, {
  durability: durability === "os" ? "os" : "sync",
  memtableBytes: 2 ** 18,
  segmentBytes: 2 ** 16,
});

let next = Number(first);

async function writeOn(): Promise<never> {
  for (;;) {
    const number = next++;
    await database.batch(writeNumber(number));
    // Not writeSync, which fails where the pipe is full and does not block.
    process.stdout.write(`${number}\n`);
  }
}

await Promise.all(Array.from({ length: UNDER_WAY }, writeOn));
