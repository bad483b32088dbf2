/**
 * A fault at the n-th operation on the file system, for all n, in every way in which it may fail.
 */
import { describe, expect, test } from "vitest";
import type { Effect, OperationKind } from "../../src/testing/fault-file-system.ts";
import { diskFullRun, faultRun } from "./fault-run.ts";

const fail = (code: "EIO" | "ENOSPC" | "EMFILE" | "EACCES"): Effect => ({ kind: "fail", code });

/** Every kind but taking the lock: a lock that is said to be refused is not held. */
const DONE: readonly OperationKind[] = [
  "open",
  "create",
  "rename",
  "remove",
  "syncDirectory",
  "read",
  "write",
  "sync",
  "truncate",
  "close",
];

const CASES: [string, readonly OperationKind[] | undefined, Effect][] = [
  ["fails with EIO", undefined, fail("EIO")],
  ["finds the disk full", ["write", "create", "truncate", "rename"], fail("ENOSPC")],
  ["finds too many open files", ["open", "create", "list", "syncDirectory"], fail("EMFILE")],
  ["is not permitted", ["open", "create", "rename", "remove"], fail("EACCES")],
  ["writes one byte", ["write"], { kind: "shorten", code: "ENOSPC", bytes: 1 }],
  ["writes 40 bytes", ["write"], { kind: "shorten", code: "EIO", bytes: 40 }],
  ["is done, but said to have failed", DONE, { kind: "failAfter", code: "EIO" }],
];

describe("an operation that", () => {
  test.each(CASES)("%s loses nothing, whichever it is", async (_, kinds, effect) => {
    const violations: string[] = [];
    let hasStruck = true;
    let nth = 0;
    while (hasStruck) {
      nth++;
      try {
        hasStruck = await faultRun({ nth, effect, ...(kinds === undefined ? {} : { kinds }) });
      } catch (error) {
        violations.push(`operation ${nth}: ${String(error)}`);
      }
    }
    expect(violations).toEqual([]);
    expect(nth).toBeGreaterThan(20);
  });
});

test("a disk that is full after any number of bytes is used again when there is room", async () => {
  const total = await diskFullRun(2 ** 30);
  const violations: string[] = [];
  for (let freeBytes = 0; freeBytes < total; freeBytes += 1 + (freeBytes >> 4)) {
    try {
      await diskFullRun(freeBytes);
    } catch (error) {
      violations.push(`${freeBytes} bytes: ${String(error)}`);
    }
  }
  expect(violations).toEqual([]);
  expect(total).toBeGreaterThan(20_000);
});
