import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { promises } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { LockedError } from "../../src/errors.ts";
import { LOCK_NAME } from "../../src/io/file-system.ts";
import { lockDirectory } from "../../src/io/lock.ts";

let directory: string;
let children: ChildProcess[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "memkv-lock-"));
  children = [];
});

afterEach(async () => {
  vi.useRealTimers();
  for (const child of children) child.kill("SIGKILL");
  await rm(directory, { recursive: true });
});

/** Starts another process that locks the directory; resolves to it and to what it says. */
async function holder(): Promise<{ child: ChildProcess; says: string }> {
  const script = join(import.meta.dirname, "lock-holder.ts");
  const child = spawn(process.execPath, ["--import", "tsx", script, directory], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.push(child);
  const [output] = await once(child.stdout, "data");
  return { child, says: String(output).trim() };
}

const unexpected = (cause: Error): void => {
  throw cause;
};

const names = async (): Promise<string[]> => await readdir(directory);

/** Makes the lock look as if nobody had refreshed it for `ms`. */
async function age(ms: number): Promise<void> {
  const time = new Date(Date.now() - ms);
  await utimes(join(directory, LOCK_NAME), time, time);
}

describe("between processes", () => {
  test("a lock held by one is refused to another, and free once it is released", async () => {
    const { child, says } = await holder();
    expect(says).toBe("held");
    await expect(lockDirectory(directory, unexpected)).rejects.toThrow(LockedError);
    await expect(lockDirectory(directory, unexpected)).rejects.toThrow(/another process.*readOnly/);
    child.stdin?.end();
    await once(child, "exit");
    const lock = await lockDirectory(directory, unexpected);
    expect((await holder()).says).toBe("LockedError");
    expect(lock.isHeld()).toBe(true);
    await lock.release();
    expect(await names()).toEqual([]);
  });

  test("the lock of a process killed with SIGKILL is taken over at once", async () => {
    const { child, says } = await holder();
    expect(says).toBe("held");
    child.kill("SIGKILL");
    await once(child, "exit");
    const lock = await lockDirectory(directory, unexpected);
    expect(lock.isHeld()).toBe(true);
    await lock.release();
    expect(await names()).toEqual([]);
  });

  test("of many that find the lock of a killed process, one gets it", async () => {
    const { child } = await holder();
    child.kill("SIGKILL");
    await once(child, "exit");
    const answers = await Promise.all([holder(), holder(), holder()]);
    expect(answers.filter(({ says }) => says === "held").length).toBe(1);
    expect(answers.filter(({ says }) => says === "LockedError").length).toBe(2);
  });
});

describe("a lock whose holder is unknown", () => {
  test("is respected while it is fresh and taken over once it is stale", async () => {
    await mkdir(join(directory, LOCK_NAME));
    await age(9_000);
    await expect(lockDirectory(directory, unexpected)).rejects.toThrow(LockedError);
    await age(11_000);
    const lock = await lockDirectory(directory, unexpected);
    await lock.release();
    expect(await names()).toEqual([]);
  });

  test.each([
    "",
    "{",
    "null",
    '{"pid":0,"host":"x"}',
    '{"pid":"1","host":"x"}',
    '{"pid":999999999,"host":"another machine"}',
  ])("is respected while it is fresh if its owner file says %j", async (text) => {
    await mkdir(join(directory, LOCK_NAME));
    await writeFile(join(directory, `${LOCK_NAME}.owner`), text);
    await expect(lockDirectory(directory, unexpected)).rejects.toThrow(LockedError);
  });

  test("is not taken over while another process is taking it over", async () => {
    await mkdir(join(directory, LOCK_NAME));
    await age(11_000);
    const takeover = join(directory, `${LOCK_NAME}.takeover`);
    await mkdir(takeover);
    await expect(lockDirectory(directory, unexpected)).rejects.toThrow(LockedError);
    // A takeover that died in the middle is cleared away by the next attempt.
    await utimes(takeover, new Date(0), new Date(0));
    await expect(lockDirectory(directory, unexpected)).rejects.toThrow(LockedError);
    const lock = await lockDirectory(directory, unexpected);
    await lock.release();
    expect(await names()).toEqual([]);
  });
});

describe("a holder that was stalled or robbed", () => {
  const STALL_MS = 20_000;

  /**
   * Holds the lock in this process with the clock and timers in the test's hand. The clock begins in
   * the past, so that after `stall` it agrees with the clock of other processes.
   */
  async function hold(): Promise<{
    lock: Awaited<ReturnType<typeof lockDirectory>>;
    lost: Promise<Error>;
  }> {
    vi.useFakeTimers({
      toFake: ["setTimeout", "clearTimeout", "Date"],
      now: Date.now() - STALL_MS,
    });
    let report = unexpected;
    const lost = new Promise<Error>((resolve) => {
      report = resolve;
    });
    return { lock: await lockDirectory(directory, report), lost };
  }

  /** Lets the clock, but no timer, move on: the event loop did not turn. */
  function stall(): void {
    vi.setSystemTime(Date.now() + STALL_MS);
  }

  test("knows at once, before any timer has run", async () => {
    const { lock } = await hold();
    expect(lock.isHeld()).toBe(true);
    stall();
    expect(lock.isHeld()).toBe(false);
    await lock.release();
    expect(await names()).toEqual([]);
  });

  test("holds the lock again after its next refresh if nobody took it", async () => {
    const { lock } = await hold();
    stall();
    const before = (await stat(join(directory, LOCK_NAME))).mtimeMs;
    await vi.advanceTimersByTimeAsync(2_000);
    await vi.waitUntil(() => lock.isHeld());
    expect((await stat(join(directory, LOCK_NAME))).mtimeMs).toBeGreaterThan(before);
    await lock.release();
  });

  test("holds the lock again though the stall was in the middle of a refresh", async () => {
    const { lock } = await hold();
    const utimes = vi.spyOn(promises, "utimes");
    onTestFinished(() => utimes.mockRestore());
    utimes.mockImplementationOnce(async (path, atime, mtime) => {
      await promises.utimes(path, atime, mtime);
      stall();
    });
    await vi.advanceTimersByTimeAsync(2_000);
    await vi.waitUntil(() => !lock.isHeld());
    const confirmed = lock.confirm();
    // Each look moves the clock on, up to the next refresh.
    await vi.waitUntil(() => lock.isHeld(), { interval: 200, timeout: 60_000 });
    await confirmed;
    expect(lock.isHeld()).toBe(true);
    await lock.release();
    expect(await names()).toEqual([]);
  });

  test("loses a lock that another took in the middle of a refresh", async () => {
    const { lock, lost } = await hold();
    const utimes = vi.spyOn(promises, "utimes");
    onTestFinished(() => utimes.mockRestore());
    utimes.mockImplementationOnce(async (path, atime, mtime) => {
      await writeFile(join(directory, `${LOCK_NAME}.owner`), '{"pid":1,"host":"another"}');
      stall();
      await promises.utimes(path, atime, mtime);
    });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await lost).toBeInstanceOf(Error);
    expect(lock.isHeld()).toBe(false);
  });

  test("is told that the lock was lost, and does not release another's", async () => {
    const { lock, lost } = await hold();
    await rm(join(directory, `${LOCK_NAME}.owner`));
    expect((await holder()).says).toBe("held");
    stall();
    expect(lock.isHeld()).toBe(false);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await lost).toBeInstanceOf(Error);
    expect(lock.isHeld()).toBe(false);
    await lock.release();
    expect(await names()).toContain(LOCK_NAME);
  });

  test("loses the lock rather than refresh it while it is being taken over", async () => {
    const { lock, lost } = await hold();
    await mkdir(join(directory, `${LOCK_NAME}.takeover`));
    stall();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await lost).toBeInstanceOf(Error);
    expect(lock.isHeld()).toBe(false);
  });

  test("gives the lock back while its own overdue refresh is under way", async () => {
    const { lock } = await hold();
    stall();
    vi.advanceTimersByTime(2_000);
    await lock.release();
    expect(await names()).toEqual([]);
  });

  test("gives nothing back, and does not fail, while another looks at an overdue lock", async () => {
    const { lock } = await hold();
    await mkdir(join(directory, `${LOCK_NAME}.takeover`));
    stall();
    await lock.release();
    expect(await names()).toContain(LOCK_NAME);
  });

  test("loses a lock that was removed from outside", async () => {
    const { lock, lost } = await hold();
    await rm(join(directory, LOCK_NAME), { recursive: true });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await lost).toBeInstanceOf(Error);
    expect(lock.isHeld()).toBe(false);
  });
});
