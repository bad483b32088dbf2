/**
 * The whole table of the transducer, the key index and the values of a segment, with the bar of each.
 *
 *   npm run bench -- fst [--data DIR] [--rounds N] [--quick] [--json]
 *
 * It runs the benches that measure them (key-index, frozen-layer, values), one after the other, each
 * in a process of its own: what the compiler learns in one must not weigh on the next. Their headers
 * say how each figure is taken. The table of each is printed when it is done, and on the standard
 * error stream what it is at. With all keys (--data DIR) it takes six minutes of CPU time, with
 * --quick one; the bars are for all keys.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import {
  describeMachine,
  type Figure,
  figureOf,
  printFigures,
  printProgress,
  readOptions,
} from "./harness.ts";

/** The columns of the values' bench that belong here, by set of values. */
const VALUE_FIGURES: readonly [set: string, column: string, unit: string, bar: number][] = [
  ["texts", "size %", "% of values", 25],
  ["texts", "store %", "% of keys and values", 28],
  ["texts", "times faster", "x deflated 16 KiB", 5],
  ["documents", "size %", "% of values", 37],
];

const PARTS: readonly [name: string, figures: () => Figure[]][] = [
  ["key-index", () => keyFigures("key-index", "key index")],
  ["frozen-layer", () => keyFigures("frozen-layer", "fst")],
  ["values", valueFigures],
];

const options = readOptions();

function run(name: string, ...args: string[]): Record<string, unknown> {
  const file = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  const { status, stdout, error } = spawnSync(
    process.execPath,
    [...process.execArgv, file, ...process.argv.slice(2), "--json", ...args],
    { encoding: "utf8", maxBuffer: 1 << 24, stdio: ["ignore", "pipe", "inherit"] },
  );
  if (status !== 0) throw new Error(`bench ${name} failed`, { cause: error });
  return JSON.parse(stdout);
}

function keyFigures(name: string, what: string): Figure[] {
  const figures = run(name)["figures"] as Figure[];
  return figures.map((figure) => ({ ...figure, set: `${what}, ${figure.set}` }));
}

function valueFigures(): Figure[] {
  const { rows } = run("values", "auto", "texts", "documents");
  return VALUE_FIGURES.flatMap(([set, column, unit, bar]) => {
    const row = (rows as Record<string, string | number>[]).find((row) => row["values"] === set);
    if (row === undefined) return [];
    const isCeiling = column !== "times faster";
    const name = { set: `values, ${set}`, row: column.replace(" %", ""), unit, bar, isCeiling };
    return [figureOf(name, [Number(row[column])])];
  });
}

const all: Figure[] = [];
for (const [name, figuresOf] of PARTS) {
  printProgress(`bench ${name}`);
  const figures = figuresOf();
  if (!options.json) {
    printFigures(figures, options);
    console.log();
  }
  all.push(...figures);
}
if (options.json) {
  console.log(JSON.stringify({ machine: describeMachine(), options, figures: all }, null, 2));
}
