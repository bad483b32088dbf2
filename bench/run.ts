/**
 * Runs one bench: `npm run bench -- <name> [--json]`, for bench/<name>.ts.
 */
import { existsSync, readdirSync } from "node:fs";

const HELPERS = ["run.ts", "harness.ts", "key-workload.ts"];

const name = process.argv[2] ?? "";
const file = new URL(`${name}.ts`, import.meta.url);
if (!/^[a-z-]+$/.test(name) || HELPERS.includes(`${name}.ts`) || !existsSync(file)) {
  const names = readdirSync(new URL(".", import.meta.url))
    .filter((entry) => entry.endsWith(".ts") && !HELPERS.includes(entry))
    .map((entry) => entry.slice(0, -3));
  console.error(`usage: npm run bench -- <name> [--json]; names: ${names.join(", ")}`);
  process.exit(2);
}
process.argv.splice(2, 1);
await import(file.href);
