/**
 * The whole table of the transducer, the key index and the values of a segment, with the bar of each.
 *
 *   npm run bench -- fst [--data DIR] [--rounds N] [--quick] [--json]
 *
 * It runs the benches that measure them (key-index, frozen-layer, values), one after the other, each
 * in a process of its own: what the compiler learns in one must not weigh on the next. Their headers
 * say how each figure is taken. With all keys (--data DIR) it takes some ten minutes, with --quick one;
 * the bars are for all keys.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describeMachine, type Figure, figureOf, printFigures, readOptions } from "./harness.ts";

/** The columns of the values' bench that belong here, by set of values. */
const VALUE_FIGURES: readonly [set: string, column: string, unit: string, bar: number][] = [
  ["texts", "size %", "% of values", 25],
  ["texts", "store %", "% of keys and values", 28],
  ["texts", "times faster", "x deflated 16 KiB", 5],
  ["documents", "size %", "% of values", 37],
];

const options = readOptions();

function run(name: string, ...args: string[]): Record<string, unknown> {
  const file = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  const output = execFileSync(
    process.execPath,
    [...process.execArgv, file, ...process.argv.slice(2), "--json", ...args],
    { encoding: "utf8", maxBuffer: 1 << 24 },
  );
  return JSON.parse(output);
}

function valueFigures(rows: readonly Record<string, string | number>[]): Figure[] {
  return VALUE_FIGURES.flatMap(([set, column, unit, bar]) => {
    const row = rows.find((row) => row["values"] === set && row["compression"] === "auto");
    if (row === undefined) return [];
    const isCeiling = column !== "times faster";
    const name = { set: `values, ${set}`, row: column.replace(" %", ""), unit, bar, isCeiling };
    return [figureOf(name, [Number(row[column])])];
  });
}

function keyFigures(name: string, what: string): Figure[] {
  const figures = run(name)["figures"] as Figure[];
  return figures.map((figure) => ({ ...figure, set: `${what}, ${figure.set}` }));
}

const figures = [
  ...keyFigures("key-index", "key index"),
  ...keyFigures("frozen-layer", "fst"),
  ...valueFigures(run("values", "auto")["rows"] as Record<string, string | number>[]),
];
if (options.json) {
  console.log(JSON.stringify({ machine: describeMachine(), options, figures }, null, 2));
} else {
  printFigures(figures, options);
}
