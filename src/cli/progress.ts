/**
 * The progress bar of the commands that take long: how far, how fast, how long still. It goes to
 * standard error, and only where that is a terminal.
 */
import { SingleBar } from "cli-progress";
import type { Context } from "./context.ts";
import { formatBytes, formatCount, formatDuration } from "./text.ts";

export interface Progress {
  /** `position` of the total, whatever that counts, and `done` units so far. */
  update(position: number, done: number): void;
  stop(): void;
}

const SILENT: Progress = { update: () => undefined, stop: () => undefined };

/** How an amount of each unit is written. */
const UNITS: Record<"keys" | "bytes", (amount: number) => string> = {
  keys: (amount) => `${formatCount(Math.round(amount))} keys`,
  bytes: formatBytes,
};

/** A started progress bar; without a total there is no bar and no time left to show. */
export function startProgress(
  context: Context,
  total: number | undefined,
  unit: keyof typeof UNITS,
  isWanted: boolean,
): Progress {
  if (!isWanted || context.stderr.isTTY !== true) return SILENT;
  const isBounded = total !== undefined && total > 0;
  const format = UNITS[unit];
  const bar = new SingleBar({
    stream: context.stderr,
    format: isBounded
      ? "{bar} {percentage}% | {done} | {rate}/s | {left} left"
      : "{done} | {rate}/s | {passed}",
    barCompleteChar: "#",
    barIncompleteChar: "-",
    barsize: 30,
    hideCursor: true,
    gracefulExit: false,
  });
  const started = performance.now();
  bar.start(isBounded ? total : 1, 0, {
    done: format(0),
    rate: format(0),
    left: "?",
    passed: "0 s",
  });
  return {
    update(position, done) {
      const seconds = Math.max(performance.now() - started, 1) / 1000;
      // From the whole time and not from the last moments: flushes come and go.
      const left =
        isBounded && position > 0 ? (seconds * (total - position)) / position : undefined;
      bar.update(isBounded ? position : 0, {
        done: format(done),
        rate: format(done / seconds),
        left: left === undefined ? "?" : formatDuration(left),
        passed: formatDuration(seconds),
      });
    },
    stop: () => bar.stop(),
  };
}

/** Says, where a progress bar would be shown, what takes its time without telling how far it is. */
export function announce(context: Context, what: string, isWanted: boolean): void {
  if (isWanted && context.stderr.isTTY === true) context.stderr.write(`${what} ...\n`);
}
