/**
 * The figures of the transducer, the key index and the values of a segment, each with its bar, in one
 * table.
 *
 *   npm run bench -- fst [--data DIR] [--rounds N] [--quick] [--json]
 *
 * It runs the benches that measure them (key-index, frozen-layer, values), one after the other, each
 * in a process of its own: what the compiler learns in one must not weigh on the next. Their headers
 * say how each figure is taken; they print more of them, and so does --json. On the standard error
 * stream is what it is at. With all keys (--data DIR) it takes six minutes of CPU time, with --quick
 * one; the bars are for all keys.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import {
  barOf,
  describeMachine,
  type Figure,
  figureOf,
  isMet,
  printProgress,
  printTable,
  readOptions,
  threeDigits,
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

/** A line of the table: figures of one unit, by set and row. */
interface Line {
  readonly name: string;
  readonly unit: string;
  readonly figures: readonly (readonly [set: string, row: string | RegExp])[];
}

const SETS = ["urls", "names", "paths"];

const LINES: readonly Line[] = [
  {
    name: "segment key index: URLs / names / paths",
    unit: "% of keys",
    figures: SETS.map((set) => [`key index, ${set}`, "size"]),
  },
  {
    name: "pure FST, default registry: URLs / names / paths",
    unit: "% of keys",
    figures: SETS.map((set) => [`fst, ${set}`, "size"]),
  },
  {
    name: "pure FST, large registry: URLs / names / paths",
    unit: "% of keys",
    figures: SETS.map((set) => [`fst, ${set}`, "size, large registry"]),
  },
  ...["", ", with filter"].map((way) => ({
    name: `random hit / miss over all URLs, segment index${way}`,
    unit: "x Map.get",
    figures: ["hit", "miss"].map((row) => ["key index, urls", `${row}${way}`] as const),
  })),
  {
    name: "forward scan of keys",
    unit: "M/s",
    figures: [["key index, urls", "scan forward"]],
  },
  {
    name: "backward scan",
    unit: "x forward",
    figures: [["key index, urls", "scan backward"]],
  },
  {
    name: "forward / backward scan",
    unit: "x string[]",
    figures: ["forward", "backward"].map((way) => ["key index, urls", `scan ${way}`]),
  },
  {
    name: "build, training included: URLs / paths",
    unit: "M keys/s",
    figures: ["urls", "paths"].map((set) => [`key index, ${set}`, "build"]),
  },
  {
    name: "build of the pure FST: URLs / names / paths",
    unit: "M keys/s",
    figures: SETS.map((set) => [`fst, ${set}`, "build"]),
  },
  { name: "keyAt, random", unit: "M/s", figures: [["key index, urls", "keyAt"]] },
  {
    name: "values of name -> URL pairs / documents of 1 KB",
    unit: "% of values",
    figures: [
      ["values, texts", "size"],
      ["values, documents", "size"],
    ],
  },
  {
    name: "get of such a URL, its block not cached",
    unit: "x deflated 16 KiB",
    figures: [["values, texts", "times faster"]],
  },
  {
    name: "whole store of the pairs, compacted",
    unit: "% of keys and values",
    figures: [["values, texts", "store"]],
  },
  {
    name: "opening a segment of all paths",
    unit: "ms past reading",
    figures: [["key index, paths", /^open/]],
  },
  {
    name: "names: fuzzy distance 1 / 2",
    unit: "of a scan",
    figures: [1, 2].map((distance) => ["fst, names", `fuzzy distance ${distance}`]),
  },
  {
    name: "names: regex, prefix of 4 bytes / .*abc.*",
    unit: "of a scan",
    figures: [", prefix of 4 bytes", " .*abc.*"].map((kind) => ["fst, names", `regex${kind}`]),
  },
  {
    name: "URLs: fuzzy distance 1 / 2 / regex, prefix of 23 bytes / .*abc.*",
    unit: "of a scan",
    figures: [
      ["fst, urls", "fuzzy distance 1"],
      ["fst, urls", "fuzzy distance 2"],
      ["fst, urls", "regex, prefix of 23 bytes"],
      ["fst, urls", "regex .*abc.*"],
    ],
  },
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

/** The line's figures as far as they were measured, with the bars that there are. */
function cellsOf({ name, unit, figures }: Line): Record<string, string> | undefined {
  const found = figures.flatMap(([set, row]) =>
    all.filter(
      (figure) =>
        figure.set === set &&
        figure.unit === unit &&
        (typeof row === "string" ? row === figure.row : row.test(figure.row)),
    ),
  );
  if (found.length === 0) return undefined;
  const met = found.map(isMet).filter((isMet) => isMet !== undefined);
  return {
    figure: name,
    unit,
    bar: found.map(barOf).filter(Boolean).join(" / "),
    median: found.map(({ median }) => threeDigits(median)).join(" / "),
    met: met.map((isMet) => (isMet ? "met" : "missed")).join(" / "),
  };
}

const all: Figure[] = [];
for (const [name, figuresOf] of PARTS) {
  printProgress(`bench ${name}`);
  all.push(...figuresOf());
}
const machine = describeMachine();
if (options.json) {
  console.log(JSON.stringify({ machine, options, figures: all }, null, 2));
} else {
  const { node, cpu, cpus } = machine;
  console.log(`Node ${node}, ${cpus} x ${cpu}; medians of ${options.rounds} rounds\n`);
  printTable(LINES.map(cellsOf).filter((cells) => cells !== undefined));
}
