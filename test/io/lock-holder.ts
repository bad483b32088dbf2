/**
 * A process that locks the directory given as its argument, says "held" or the error's name on
 * standard output, and holds the lock until it is killed or its standard input ends.
 */
import { lockDirectory } from "../../src/io/lock.ts";

try {
  const lock = await lockDirectory(process.argv[2] ?? "", () => {});
  console.log("held");
  process.stdin.resume();
  process.stdin.on("end", () => void lock.release());
} catch (error) {
  console.log(error instanceof Error ? error.name : "unknown");
}
