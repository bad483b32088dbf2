/** A thread that attaches the snapshots it is sent, reads each again and again, and says what it saw. */
import { parentPort } from "node:worker_threads";
import { attach, type SharedSnapshot } from "../../src/index.ts";
import { digest } from "./snapshot-digest.ts";

/** A snapshot, and a number that is shared: reading goes on while it is 0. */
export interface Reading {
  readonly shared: SharedSnapshot;
  readonly isOver: Int32Array;
}

/** Digests of all entries, as often as they were read: one, if all is well. */
export interface Read {
  readonly digests: ReadonlySet<string>;
  readonly passes: number;
}

parentPort?.on("message", async ({ shared, isOver }: Reading) => {
  using snapshot = await attach<string, string>(shared, {
    valueEncoding: "utf8",
    blockCacheBytes: 2 ** 16,
  });
  parentPort?.postMessage("attached");
  const digests = new Set<string>();
  let passes = 0;
  do {
    digests.add(digest(snapshot));
    passes++;
  } while (Atomics.load(isOver, 0) === 0);
  parentPort?.postMessage({ digests, passes } satisfies Read);
});
