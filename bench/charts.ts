/**
 * Draws a comparison's results for the README, and writes them out as docs/comparison.md:
 * `npm run bench -- charts [results.json] [directory]`.
 *
 * Each chart has a group of bars for each row, a bar for each store; a bar's length is the median as a
 * part of the row's longest. Drawn twice, for light and for dark pages, as SVG with no scripts, styles
 * or fonts of its own, which is what GitHub shows.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  formatNumber,
  formatTable,
  type RowResult,
  readResults,
  type SavedResults,
  standing,
} from "./compare/results.ts";
import { STORE_NAMES, type StoreName } from "./compare/store.ts";

interface Theme {
  readonly name: string;
  readonly text: string;
  readonly faint: string;
  readonly bars: Record<StoreName, string>;
}

const THEMES: readonly Theme[] = [
  {
    name: "light",
    text: "#1f2328",
    faint: "#59636e",
    bars: {
      memkv: "#0969da",
      lmdb: "#8c959f",
      "classic-level": "#a9b1ba",
      rocksdb: "#c0c7ce",
      "better-sqlite3": "#d8dee4",
    },
  },
  {
    name: "dark",
    text: "#f0f6fc",
    faint: "#9198a1",
    bars: {
      memkv: "#4493f8",
      lmdb: "#8b949e",
      "classic-level": "#6e7681",
      rocksdb: "#545d68",
      "better-sqlite3": "#3d444d",
    },
  },
];

/** A chart's rows, by the beginnings of their names. */
const CHARTS: readonly {
  readonly name: string;
  readonly title: string;
  readonly rows: string[];
}[] = [
  {
    name: "writes",
    title: "Writes a second",
    rows: ["fillrandom", "fillseq", "overwrite", "deleterandom", "put,", "fsync each"],
  },
  {
    name: "reads",
    title: "Reads a second, each store reopened",
    rows: [
      "readrandom",
      "readmissing",
      "multireadrandom",
      "readseq",
      "readreverse",
      "seekrandom",
      "prefix scan",
    ],
  },
  { name: "ycsb", title: "YCSB, operations a second", rows: ["YCSB"] },
  { name: "disk", title: "Megabytes on disk", rows: ["disk"] },
];

const WIDTH = 760;
const LABEL_WIDTH = 190;
const NUMBER_WIDTH = 60;
const BAR_HEIGHT = 9;
const BAR_PITCH = 11;
const GROUP_GAP = 12;
const HEAD_HEIGHT = 58;
const FONT = "font-family='-apple-system,Segoe UI,Helvetica,Arial,sans-serif'";

const root = fileURLToPath(new URL("..", import.meta.url));
const [
  file = join(root, "bench/compare/results/results.json"),
  directory = join(root, "docs/charts"),
] = process.argv.slice(2);
const results = readResults(file);
if (results === undefined) throw new Error(`no ${file}: run npm run bench -- compare first`);
mkdirSync(directory, { recursive: true });
for (const { name, title, rows } of CHARTS) {
  const shown = results.rows.filter((row) => rows.some((start) => row.name.startsWith(start)));
  if (shown.length === 0) continue;
  const subtitle = `${results.pairs.toLocaleString("en")} pairs (${results.data}), Node ${results.machine.node}, ${results.machine.cpu}`;
  for (const theme of THEMES) {
    const path = join(directory, `${name}-${theme.name}.svg`);
    writeFileSync(path, drawChart(title, subtitle, shown, theme));
    console.log(path);
  }
}

const page = join(directory, "../comparison.md");
writeFileSync(page, comparisonPage(results));
console.log(page);

function comparisonPage({ machine, pairs, data, rows }: SavedResults): string {
  const { node, cpu, cpus } = machine;
  const counts = rows.map(({ numbers }) => numbers.memkv?.length ?? 0);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const rounds = least === most ? `${most}` : `${least} to ${most}`;
  return `# Comparison

memkv and other stores for Node, by \`npm run bench -- compare\`: [how it measures, and what each row does](../bench/compare/README.md). This page and the [charts](charts) are written by \`npm run bench -- charts\`.

${pairs.toLocaleString("en")} pairs (${data}), Node ${node}, ${cpus} x ${cpu}. Medians of ${rounds} ${most === 1 ? "round" : "rounds"}; the ratio is memkv's to the best other store, above 1 where memkv is better; the bar is what memkv aims at; the spread is of memkv's rounds.

${formatTable(rows)}
`;
}

function drawChart(
  title: string,
  subtitle: string,
  rows: readonly RowResult[],
  theme: Theme,
): string {
  const stores = STORE_NAMES.filter((store) => rows.some((row) => row.numbers[store]));
  const parts: string[] = [];
  const text = (x: number, y: number, size: number, fill: string, words: string, rest = "") => {
    const escaped = words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    parts.push(
      `<text x='${x}' y='${y}' font-size='${size}' fill='${fill}' ${FONT} ${rest}>${escaped}</text>`,
    );
  };
  text(0, 15, 15, theme.text, title, "font-weight='600'");
  text(0, 31, 10, theme.faint, subtitle);
  let x = LABEL_WIDTH;
  for (const store of stores) {
    parts.push(`<rect x='${x}' y='40' width='9' height='9' rx='2' fill='${theme.bars[store]}'/>`);
    text(x + 13, 48, 10, theme.text, store);
    x += 32 + store.length * 6;
  }
  let y = HEAD_HEIGHT;
  for (const row of rows) {
    const { medians } = standing(row);
    const longest = Math.max(...Object.values(medians));
    const height = stores.length * BAR_PITCH;
    text(LABEL_WIDTH - 10, y + height / 2 + 3, 11, theme.text, row.name, "text-anchor='end'");
    for (const store of stores) {
      const value = medians[store] ?? 0;
      const room = WIDTH - LABEL_WIDTH - NUMBER_WIDTH;
      const width = Math.max(1, Math.round((value / longest) * room));
      const isOwn = store === "memkv";
      parts.push(
        `<rect x='${LABEL_WIDTH}' y='${y}' width='${width}' height='${BAR_HEIGHT}' rx='2' fill='${theme.bars[store]}'/>`,
      );
      const words = medians[store] === undefined ? "none" : formatNumber(value);
      const weight = isOwn ? "font-weight='600'" : "";
      text(LABEL_WIDTH + width + 5, y + 8, 9, isOwn ? theme.text : theme.faint, words, weight);
      y += BAR_PITCH;
    }
    y += GROUP_GAP;
  }
  return `<svg xmlns='http://www.w3.org/2000/svg' width='${WIDTH}' height='${y}' viewBox='0 0 ${WIDTH} ${y}' role='img' aria-label='${title}'>\n${parts.join("\n")}\n</svg>\n`;
}
