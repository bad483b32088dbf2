/**
 * Results of a comparison: every round's numbers by row and store, kept as JSON and shown as a table.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeMachine, median } from "../harness.ts";
import { STORE_NAMES, type StoreName } from "./store.ts";
import { type Bar, type Row, WORKLOADS } from "./workloads.ts";

/** A row's numbers: of each store, one for each round. */
export interface RowResult extends Row {
  readonly numbers: Partial<Record<StoreName, number[]>>;
}

export interface SavedResults {
  readonly machine: ReturnType<typeof describeMachine>;
  readonly pairs: number;
  readonly data: string;
  readonly rows: readonly RowResult[];
}

export class Results {
  private readonly file: string;
  private readonly table: string;
  private readonly pairs: number;
  private readonly data: string;
  private readonly byName: Map<string, RowResult>;
  /** Rows that this run has begun anew. */
  private readonly fresh = new Set<string>();

  /** Rows of an earlier run with as many pairs of the same kind are kept until they are run again. */
  constructor(directory: string, pairs: number, data: string) {
    this.file = join(directory, "results.json");
    this.table = join(directory, "results.md");
    this.pairs = pairs;
    this.data = data;
    const saved = readResults(this.file);
    const isSame = saved?.pairs === pairs && saved.data === data;
    this.byName = new Map(isSame ? saved.rows.map((row) => [row.name, row]) : []);
  }

  add(row: Row, store: StoreName, round: number, value: number): void {
    let result = this.byName.get(row.name);
    if (result === undefined || !this.fresh.has(row.name)) {
      result = { ...row, numbers: {} };
      this.byName.set(row.name, result);
      this.fresh.add(row.name);
    }
    const numbers = result.numbers[store] ?? [];
    result.numbers[store] = numbers;
    numbers[round] = value;
  }

  /** In the order of the workloads. */
  get rows(): RowResult[] {
    return WORKLOADS.flatMap(({ rows }) => rows.flatMap(({ name }) => this.byName.get(name) ?? []));
  }

  save(): void {
    const machine = describeMachine();
    const { pairs, data, rows } = this;
    writeFileSync(this.file, `${JSON.stringify({ machine, pairs, data, rows }, undefined, 1)}\n`);
    const head = `Node ${machine.node}, ${machine.cpus} x ${machine.cpu}, ${pairs} pairs, ${data}.`;
    writeFileSync(this.table, `${head}\n\n${formatTable(rows)}\n`);
  }
}

export function readResults(file: string): SavedResults | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as SavedResults) : undefined;
}

/** How a row came out. */
export interface Standing {
  readonly medians: Partial<Record<StoreName, number>>;
  /** How many times better than the best other store memkv is; undefined if one of them is not there. */
  readonly ratio: number | undefined;
  /** Of memkv's rounds: (max - min) / median. */
  readonly spread: number;
  readonly isMet: boolean;
}

export function standing(row: RowResult): Standing {
  const medians: Partial<Record<StoreName, number>> = {};
  for (const store of STORE_NAMES) {
    const numbers = row.numbers[store]?.filter((value) => value !== null);
    if (numbers !== undefined && numbers.length > 0) medians[store] = median(numbers);
  }
  const { memkv, ...others } = medians;
  const isMore = row.unit === "op/s";
  const peers = Object.values(others);
  const best = isMore ? Math.max(...peers) : Math.min(...peers);
  const isComparable = memkv !== undefined && peers.length > 0;
  const ratio = isComparable ? (isMore ? memkv / best : best / memkv) : undefined;
  const own = row.numbers.memkv ?? [];
  const spread = memkv === undefined ? 0 : (Math.max(...own) - Math.min(...own)) / memkv;
  return { medians, ratio, spread, isMet: isMet(row.bar, memkv, ratio) };
}

function isMet(bar: Bar, value: number | undefined, ratio: number | undefined): boolean {
  if ("atMost" in bar) return value !== undefined && value <= bar.atMost;
  return ratio !== undefined && ratio >= bar.ratio;
}

/** A Markdown table: medians, memkv's ratio to the best other store, the bar, memkv's spread. */
export function formatTable(rows: readonly RowResult[]): string {
  const stores = STORE_NAMES.filter((store) => rows.some((row) => row.numbers[store]));
  const head = ["row", "unit", ...stores, "ratio", "bar", "spread", "met"];
  const lines = rows.map((row) => {
    const { medians, ratio, spread, isMet } = standing(row);
    const bar =
      "atMost" in row.bar ? `<= ${row.bar.atMost} ${row.unit}` : `>= ${row.bar.ratio.toFixed(2)}x`;
    const cells = stores.map((store) => {
      const value = medians[store];
      return value === undefined ? "-" : formatNumber(value);
    });
    return [
      row.name,
      row.unit,
      ...cells,
      ratio === undefined ? "-" : `${ratio.toFixed(2)}x`,
      bar,
      `${(spread * 100).toFixed(0)}%`,
      isMet ? "yes" : "NO",
    ];
  });
  const all = [head, head.map(() => "---"), ...lines];
  return all.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

export function formatNumber(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(0)}k`;
  if (value >= 100) return value.toFixed(0);
  return value.toPrecision(3);
}
