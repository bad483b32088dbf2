import { describe, expect, test } from "vitest";
import { WriteGuard } from "../../src/engine/write-guard.ts";
import { LockedError } from "../../src/errors.ts";
import type { DirectoryLock } from "../../src/io/file-system.ts";

/** A lock that is held for certain once it was confirmed, with what `confirm` does. */
function createGuard(confirm: () => Promise<void>): WriteGuard {
  let isCertain = false;
  const lock: DirectoryLock = {
    isHeld: () => isCertain,
    async confirm() {
      await confirm();
      isCertain = true;
    },
    release: () => Promise.resolve(),
  };
  return new WriteGuard(lock);
}

const first = new Error("first");
const second = new Error("second");

describe("a guard of writes", () => {
  test("lets them through until something fails", () => {
    const guard = createGuard(() => Promise.resolve());
    guard.checkWritable();
    expect([guard.isWritable, guard.refusal]).toEqual([true, undefined]);
  });

  test.each([
    ["poisoned, then fenced", ["poison", "fence"], "MEMKV_POISONED"],
    ["fenced, then poisoned", ["fence", "poison"], "MEMKV_LOCKED"],
    ["poisoned twice", ["poison", "poison"], "MEMKV_POISONED"],
    ["fenced twice", ["fence", "fence"], "MEMKV_LOCKED"],
  ] as const)("that was %s says the first", (_, [one, other], code) => {
    const guard = createGuard(() => Promise.resolve());
    const refusal = guard[one](first);
    expect(refusal).toMatchObject({ code, cause: first });
    expect(guard[other](second)).toBe(refusal);
    expect([guard.isWritable, guard.refusal]).toEqual([false, refusal]);
    expect(() => guard.checkWritable()).toThrow(refusal);
  });

  test("asks a lock that is in doubt, and only then", async () => {
    let count = 0;
    const guard = createGuard(async () => {
      count++;
    });
    expect(guard.isLockHeld).toBe(false);
    await guard.confirmLock();
    await guard.confirmLock();
    expect([guard.isLockHeld, count]).toEqual([true, 1]);
  });

  test("refuses writes once the lock turns out to be lost", async () => {
    const guard = createGuard(() => Promise.reject(first));
    await expect(guard.confirmLock()).rejects.toThrow(LockedError);
    expect(guard.refusal).toMatchObject({ code: "MEMKV_LOCKED", cause: first });
  });

  test("that refuses writes confirms no lock", async () => {
    const guard = createGuard(() => Promise.resolve());
    const refusal = guard.poison(first);
    await expect(guard.confirmLock()).rejects.toBe(refusal);
  });

  test("notices a failure while the lock is being confirmed", async () => {
    const guard = createGuard(async () => {
      guard.poison(first);
    });
    await expect(guard.confirmLock()).rejects.toMatchObject({ cause: first });
  });
});
