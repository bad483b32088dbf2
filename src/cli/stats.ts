/**
 * `memkv stats`: what a store holds, and where its bytes are.
 */
import type { Command } from "commander";
import type { DatabaseStats } from "../index.ts";
import type { Context } from "./context.ts";
import { addExamples, addStoreCommand, type EncodingOptions, withStore } from "./store.ts";
import { formatCount, formatShare, formatTable } from "./text.ts";

export function addStats(program: Command, context: Context): void {
  const command = addStoreCommand(
    program,
    "stats <directory>",
    "print what the store holds, and where its bytes are, on disk and in memory",
  )
    .option("--json", "print it as JSON")
    .action(async (directory: string, options: EncodingOptions & { json?: true }) => {
      const [stats, keyCount] = await withStore(
        directory,
        options,
        "read",
        context,
        (store) => [store.stats(), store.count()] as const,
      );
      context.stdout.write(
        options.json === true
          ? `${JSON.stringify({ keyCount, ...stats })}\n`
          : `${words(stats, keyCount)}\n`,
      );
    });
  addExamples(command, [
    ["memkv stats my-store", "for people"],
    ["memkv stats my-store --json | jq .disk.total", "for another program"],
  ]);
}

function words(stats: DatabaseStats, keyCount: number): string {
  const { disk, memory, runs } = stats;
  const { transducer, symbols, headers, codes } = disk.keyIndexParts;
  return [
    `${formatCount(keyCount)} keys, of ${formatCount(stats.lastSeqno)} writes`,
    "",
    partsTable("on disk", disk.total, [
      ["key index", disk.keyIndex],
      ["  transducer", transducer],
      ["  symbols", symbols],
      ["  headers", headers],
      ["  codes", codes],
      ["filter", disk.filter],
      ["values", disk.values],
      ["value logs", disk.valueLogs],
      ["log", disk.log],
      ["other", disk.other],
    ]),
    "",
    partsTable("in memory", memory.total, [
      ["memtables", memory.memtables],
      ["key index", memory.keyIndex],
      ["filter", memory.filter],
      ["value index", memory.valueIndex],
      ["block cache", memory.blockCache],
    ]),
    "",
    formatTable([
      ["runs, newest first", "segments", "entries", "deleted", "bytes"],
      ...runs.map((run, i) => [
        `  ${i + 1}`,
        formatCount(run.segmentCount),
        formatCount(run.keyCount),
        formatCount(run.tombstoneCount),
        formatCount(run.fileBytes),
      ]),
    ]),
  ].join("\n");
}

function partsTable(
  title: string,
  total: number,
  parts: readonly (readonly [string, number])[],
): string {
  return formatTable([
    [title, "bytes", "share"],
    ...parts.map(([name, bytes]) => [`  ${name}`, formatCount(bytes), formatShare(bytes, total)]),
    ["  total", formatCount(total), ""],
  ]);
}
