/**
 * `memkv repair`: a new store out of what is whole in a damaged one.
 *
 * That something was lost is bad news, but no failure: it is printed, and the exit code is 1. A signal
 * ends it with the target empty again: half of a store would open as a whole one.
 */
import type { Command } from "commander";
import { type RepairLoss, type RepairReport, repair } from "../index.ts";
import { type Context, EXIT_DATA, type Outcome } from "./context.ts";
import { interruptible } from "./interrupt.ts";
import { startProgress } from "./progress.ts";
import { addExamples, addStoreCommand, type EncodingOptions } from "./store.ts";
import { formatBytes, formatCount } from "./text.ts";

interface RepairCommandOptions extends EncodingOptions {
  readonly json?: true;
  readonly quiet?: true;
}

export function addRepair(program: Command, context: Context, outcome: Outcome): void {
  const command = addStoreCommand(
    program,
    "repair <directory> <target>",
    "make a new store of what is whole in a damaged one, which is not changed; exit code 1 if anything is lost",
  )
    .option("--json", "print the report as JSON; keys are in hexadecimal")
    .option("--quiet", "no progress bar")
    .action(async (directory: string, target: string, options: RepairCommandOptions) => {
      const isJson = options.json === true;
      const report = await run(directory, target, options, context);
      if (report.lost.length + report.missing.length > 0) outcome.exitCode = EXIT_DATA;
      context.stdout.write(isJson ? `${JSON.stringify(report, keysInHex)}\n` : words(report));
    });
  addExamples(command, [
    ["memkv repair my-store repaired", "save what can be saved"],
    ["memkv repair my-store repaired --json | jq .lost", "what could not, for another program"],
  ]);
}

async function run(
  directory: string,
  target: string,
  { keyEncoding, valueEncoding, json, quiet }: RepairCommandOptions,
  context: Context,
): Promise<RepairReport> {
  const { background } = context;
  let progress: ReturnType<typeof startProgress> | undefined;
  try {
    return await interruptible((check) =>
      repair(directory, target, {
        keyEncoding,
        valueEncoding,
        background,
        onProgress: ({ bytesDone, bytes }) => {
          progress ??= startProgress(context, bytes, "bytes", quiet !== true && json !== true);
          progress.update(bytesDone, bytesDone);
          check();
        },
      }),
    );
  } finally {
    progress?.stop();
  }
}

function keysInHex(_name: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
}

function words(report: RepairReport): string {
  const { keys, segments, logs, manifest, lost, missing, ignored } = report;
  const lines = [
    `${formatCount(keys)} keys, out of ${formatCount(segments)} segments and ${formatCount(logs)} logs`,
  ];
  if (manifest !== "used")
    lines.push(`the manifest is ${manifest}: files were put in order without it`);
  for (const loss of lost) lines.push(`lost: ${describeLoss(loss)}`);
  for (const { firstSeqno, lastSeqno } of missing) {
    lines.push(`lost: writes ${formatCount(firstSeqno)} to ${formatCount(lastSeqno)}`);
  }
  for (const { file, reason } of ignored) lines.push(`left aside: ${file}: ${reason}`);
  if (lost.length + missing.length === 0) lines.push("nothing is lost");
  return `${lines.join("\n")}\n`;
}

function describeLoss({
  file,
  offset,
  entries,
  bytes,
  firstKey,
  lastKey,
  mayShowOlder,
  reason,
}: RepairLoss): string {
  const amount =
    entries !== undefined
      ? `${formatCount(entries)} entries`
      : bytes !== undefined
        ? formatBytes(bytes)
        : "what was there";
  const range =
    firstKey === undefined || lastKey === undefined
      ? ""
      : `, keys ${text(firstKey)} to ${text(lastKey)}`;
  const older = mayShowOlder ? "; older values may show" : "";
  return `${amount} at offset ${offset} of ${file}${range}${older} (${reason})`;
}

/** A key for people: text if it is that. */
function text(key: Uint8Array): string {
  try {
    return JSON.stringify(new TextDecoder("utf-8", { fatal: true }).decode(key));
  } catch {
    return `0x${Buffer.from(key).toString("hex")}`;
  }
}
