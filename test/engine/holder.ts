/**
 * A process that opens the database given as its argument, says "open" or the error's name and
 * message on standard output, and keeps it open until it is killed or its standard input ends.
 */
import { open } from "../../src/index.ts";

try {
  const database = await open(process.argv[2] ?? "");
  await database.put("holder", process.pid);
  console.log("open");
  process.stdin.resume();
  process.stdin.on("end", () => void database.close());
} catch (error) {
  console.log(String(error));
}
