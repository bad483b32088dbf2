/**
 * The command line as a function: arguments and streams in, exit code out.
 *
 * Exit codes: 0 done, 1 the data or the system is not as needed, 2 the command line makes no sense.
 * An error is one line on standard error; a stack trace means a bug, and says so.
 */
import { Command, CommanderError } from "commander";
import { DatabaseError } from "../index.ts";
import { addBench } from "./bench.ts";
import { addBuild } from "./build.ts";
import { addCheckpoint } from "./checkpoint.ts";
import { addCompact } from "./compact.ts";
import {
  type Context,
  DataError,
  EXIT_DATA,
  EXIT_OK,
  EXIT_USAGE,
  type Outcome,
  UsageError,
} from "./context.ts";
import { addCount } from "./count.ts";
import { addDel } from "./del.ts";
import { addExport } from "./export.ts";
import { addFst } from "./fst.ts";
import { addGet } from "./get.ts";
import { addImport } from "./import.ts";
import { addIngest } from "./ingest.ts";
import { Interrupted } from "./interrupt.ts";
import { addPut } from "./put.ts";
import { addRepair } from "./repair.ts";
import { addScan } from "./scan.ts";
import { addSearch } from "./search.ts";
import { addStats } from "./stats.ts";
import { addVerify } from "./verify.ts";

/** Runs `memkv` with the arguments after its name. `version` is what --version prints. */
export async function run(
  args: readonly string[],
  context: Context,
  version: string,
): Promise<number> {
  const outcome: Outcome = { exitCode: EXIT_OK };
  const program = createProgram(context, version, outcome);
  try {
    await program.parseAsync(args, { from: "user" });
    return outcome.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    context.stderr.write(`memkv: ${describe(error)}\n`);
    if (error instanceof Interrupted) return error.exitCode;
    return error instanceof UsageError ? EXIT_USAGE : EXIT_DATA;
  }
}

function createProgram(context: Context, version: string, outcome: Outcome): Command {
  const program = new Command("memkv")
    .description("An embedded, persistent, ordered key-value database.")
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, "memkv: ")),
    })
    .showHelpAfterError("(--help says more)")
    .addHelpText("after", "\nmemkv <command> --help shows a command's options, and examples.");
  addBuild(program, context, outcome);
  addImport(program, context);
  addGet(program, context, outcome);
  addPut(program, context);
  addDel(program, context);
  addScan(program, context);
  addSearch(program, context);
  addCount(program, context);
  addStats(program, context);
  addVerify(program, context, outcome);
  addRepair(program, context, outcome);
  addCompact(program, context);
  addCheckpoint(program, context);
  addIngest(program, context);
  addExport(program, context);
  addBench(program, context);
  addFst(program, context, outcome);
  return program;
}

/** One line for what was foreseen; all that is known for what was not. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!isForeseen(error)) return `a bug in memkv: ${error.stack ?? error.message}`;
  const { cause, message } = error;
  if (error instanceof DataError || !(cause instanceof Error && isSystems(cause))) return message;
  // What the system refused says more than that it did: a full disk, for one.
  return message.includes(cause.message) ? message : `${message}: ${cause.message}`;
}

function isForeseen(error: Error): boolean {
  if (error instanceof DatabaseError) return error.code !== "MEMKV_ASSERTION";
  if (error instanceof DataError || error instanceof UsageError) return true;
  return error instanceof Interrupted || isSystems(error);
}

/** Whether the operating system gave the error. */
function isSystems(error: Error): boolean {
  return typeof (error as NodeJS.ErrnoException).syscall === "string";
}
