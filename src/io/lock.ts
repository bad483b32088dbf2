/**
 * One writer per directory, by proper-lockfile; the only importer of it.
 *
 * The lock is a directory `LOCK` inside the locked one: making a directory is atomic everywhere. It
 * is a lease: its modification time is renewed every REFRESH_MS, and once that is older than STALE_MS
 * the lock is stale and anyone may take it over. So a holder that was stalled (a busy event loop, a
 * stopped process, a sleeping laptop) can lose its lock without noticing; that is why `isHeld` looks
 * at the clock, and why it is asked before a write and again before the write is acknowledged.
 *
 * What is added to proper-lockfile, through the file operations handed to it:
 * 1. A file `LOCK.owner` names the holder's process, so that the lock of a process that was killed
 *    is taken over at once rather than after STALE_MS. It is written after the lock was taken and
 *    removed before the lock is, so it never names anyone but the present holder.
 *    By a random name for the lease a holder knows its own lock, should it be stalled in the middle of
 *    a refresh and so not know whose lock it has just refreshed.
 * 2. Stale locks are removed under a second lock, `LOCK.takeover`, after looking again. Otherwise two
 *    processes that both saw a stale lock could each remove it, the second removing the fresh lock
 *    of the first, and both would own the directory.
 * 3. A refresh that is overdue also goes under it, since a lock may be being taken over just then.
 *
 * All holders must share one clock: directories on network drives, opened from several machines,
 * are not supported.
 */
import { randomUUID } from "node:crypto";
import fs, { promises as fsp } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import path from "node:path";
import { callbackify } from "node:util";
import lockfile from "proper-lockfile";
import { DatabaseError, LockedError } from "../errors.ts";
import { type DirectoryLock, LOCK_NAME } from "./file-system.ts";
import { systemErrorCode } from "./system-error.ts";

const OWNER_NAME = `${LOCK_NAME}.owner`;
const TAKEOVER_NAME = `${LOCK_NAME}.takeover`;

/** A lock that was not refreshed for so long may be taken over. */
const STALE_MS = 10_000;
/** A stall of STALE_MS - SAFETY_MS - REFRESH_MS is survived without refusing a write. */
const REFRESH_MS = 2_000;
/** The holder gives up so long before anyone else may take over: more than a file system's rounding. */
const SAFETY_MS = 1_500;

/** Directories locked by this thread: a stalled process must not take its own lock over. */
const lockedHere = new Set<string>();

/**
 * As `FileSystem.lock`. Rejects with LockedError, with MEMKV_NOT_A_DATABASE where another store's lock
 * is, or with the system's error (ENOENT, EACCES, ...).
 */
export async function lockDirectory(
  directory: string,
  onLost: (cause: Error) => void,
): Promise<DirectoryLock> {
  const realDirectory = fs.realpathSync.native(directory);
  if (lockedHere.has(realDirectory)) {
    throw new LockedError(
      `${directory} is open already in this process: close the other database first`,
    );
  }
  lockedHere.add(realDirectory);
  const lease = new Lease(realDirectory);
  let isReleased = false;
  let isLost = false;
  try {
    const release = await lockfile.lock(realDirectory, {
      fs: lease.operations(),
      realpath: false,
      lockfilePath: lease.lockPath,
      stale: STALE_MS,
      update: REFRESH_MS,
      onCompromised: (cause) => {
        isLost = true;
        lockedHere.delete(realDirectory);
        lease.settleWaiters(notHeld(directory, cause));
        onLost(cause);
      },
    });
    const isHeld = (): boolean => !isReleased && !isLost && lease.isCurrent();
    return {
      isHeld,
      confirm: async () => {
        if (isHeld()) return;
        if (isReleased || isLost) throw notHeld(directory);
        await lease.refreshed();
      },
      release: async () => {
        if (isReleased || isLost) return;
        isReleased = true;
        lease.settleWaiters(notHeld(directory));
        try {
          await release();
        } catch (error) {
          // Overdue, and another process is looking at it: it takes the lock over, or lets it expire.
          if (systemErrorCode(error) !== "ELOCKED") throw error;
        } finally {
          lockedHere.delete(realDirectory);
        }
      },
    };
  } catch (error) {
    lockedHere.delete(realDirectory);
    if (systemErrorCode(error) !== "ELOCKED") throw error;
    throw new LockedError(
      `${directory} is open in another process or thread: close the other database first, or open ` +
        `with readOnly: true. (The lock of a process that died expires within ${STALE_MS / 1000} s.)`,
      { cause: error },
    );
  }
}

/** One attempt to take the lock, and its life if the attempt succeeds. */
class Lease {
  readonly lockPath: string;
  readonly #ownerPath: string;
  readonly #takeoverPath: string;
  /** What LOCK.owner says while the lock is ours; no other lease writes the same. */
  readonly #ownerText: string;
  /** Modification time that we gave the lock; 0 until it is ours. */
  #refreshedAt: number;
  /** Whether proper-lockfile has looked how exact modification times are, which ends taking the lock. */
  #isProbed: boolean;
  /** Whether the lock is being given back, or was: no refresh may begin any more. */
  #isReleased: boolean;
  /** Settles when what this lease last did under the takeover lock is done: it must not refuse itself. */
  #lastTakeover: Promise<void>;
  /** Who waits for the next refresh, which is under way or comes with the next timer. */
  #waiters: { resolve: () => void; reject: (reason: Error) => void }[];

  constructor(directory: string) {
    this.lockPath = path.join(directory, LOCK_NAME);
    this.#ownerPath = path.join(directory, OWNER_NAME);
    this.#takeoverPath = path.join(directory, TAKEOVER_NAME);
    this.#ownerText = JSON.stringify({ ...thisOwner(), lease: randomUUID() });
    this.#refreshedAt = 0;
    this.#isProbed = false;
    this.#isReleased = false;
    this.#lastTakeover = Promise.resolve();
    this.#waiters = [];
  }

  /** Resolves after the next refresh, which proves that the lock is ours; rejects if it is lost. */
  refreshed(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
    });
  }

  /** Lets the waiters go on, or fails them. */
  settleWaiters(failure?: Error): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { resolve, reject } of waiters) {
      if (failure === undefined) resolve();
      else reject(failure);
    }
  }

  /** Whether nobody can have taken the lock over since the last refresh. */
  isCurrent(): boolean {
    return Date.now() < this.#refreshedAt + STALE_MS - SAFETY_MS;
  }

  /** The file operations that proper-lockfile is to use. */
  operations(): object {
    return {
      mkdir: callbackify(() => this.#create()),
      stat: callbackify(() => this.#stat()),
      utimes: callbackify((_: string, __: Date, time: Date) =>
        this.#isProbed ? this.#refresh(time) : this.#probe(time),
      ),
      rmdir: callbackify(() => (this.#refreshedAt === 0 ? this.#takeOver() : this.#release())),
      rmdirSync: () => this.#releaseAtExit(),
    };
  }

  async #create(): Promise<void> {
    try {
      fs.mkdirSync(this.lockPath);
    } catch (error) {
      const found = fs.statSync(this.lockPath, { throwIfNoEntry: false });
      if (found?.isFile()) throw notOurs(this.lockPath);
      throw error;
    }
    this.#refreshedAt = Date.now();
    try {
      fs.writeFileSync(this.#ownerPath, this.#ownerText);
    } catch {
      // Then the lock merely takes longer to expire if we are killed.
    }
  }

  /** While it is not ours, a lock whose holder is dead shows as infinitely old. */
  async #stat(): Promise<{ mtime: Date }> {
    const { mtime } = fs.statSync(this.lockPath);
    const isAbandoned = this.#refreshedAt === 0 && this.#isOwnerDead();
    return { mtime: isAbandoned ? new Date(0) : mtime };
  }

  /** A refresh of the lock that was made just now: blocking, as making it. */
  async #probe(time: Date): Promise<void> {
    fs.utimesSync(this.lockPath, time, time);
    if (!this.isCurrent()) throw lost();
    this.#noteRefresh(time, fs.statSync(this.lockPath).mtime);
    this.#isProbed = true;
  }

  async #refresh(time: Date): Promise<void> {
    if (this.#isReleased) throw lost();
    if (this.isCurrent()) {
      await fsp.utimes(this.lockPath, time, time);
      const { mtime } = await fsp.stat(this.lockPath);
      // We were stalled in the middle: the lock just refreshed may have been another's by then. If it
      // was ours it is overdue, which is for the next refresh.
      if (!this.isCurrent()) await this.#underTakeoverLock(() => this.#requireOwner());
      this.#noteRefresh(time, mtime);
    } else {
      await this.#underTakeoverLock(async () => {
        await this.#requireOurs();
        await fsp.utimes(this.lockPath, time, time);
        this.#noteRefresh(time, (await fsp.stat(this.lockPath)).mtime);
      });
    }
    if (this.isCurrent()) this.settleWaiters();
  }

  #noteRefresh(time: Date, mtime: Date): void {
    // Some file systems round down. A later time would be that of someone who took over.
    this.#refreshedAt = Math.min(time.getTime(), mtime.getTime());
  }

  async #takeOver(): Promise<void> {
    await this.#underTakeoverLock(async () => {
      const { mtime } = await fsp.stat(this.lockPath);
      const isStale = mtime.getTime() < Date.now() - STALE_MS;
      if (!isStale && !this.#isOwnerDead()) throw taken();
      await this.#remove();
    });
  }

  #underTakeoverLock(action: () => Promise<void>): Promise<void> {
    const task = this.#lastTakeover.then(() => this.#holdingTakeoverLock(action));
    this.#lastTakeover = task.catch(() => {});
    return task;
  }

  async #holdingTakeoverLock(action: () => Promise<void>): Promise<void> {
    try {
      await fsp.mkdir(this.#takeoverPath);
    } catch (error) {
      if (systemErrorCode(error) !== "EEXIST") throw error;
      // Held for some file operations, so one that is stale was left by a process that died here.
      // The next attempt will find it gone.
      const { mtime } = await fsp.stat(this.#takeoverPath);
      if (mtime.getTime() < Date.now() - STALE_MS) await fsp.rmdir(this.#takeoverPath);
      throw taken();
    }
    try {
      await action();
    } finally {
      await fsp.rmdir(this.#takeoverPath);
    }
  }

  async #release(): Promise<void> {
    this.#isReleased = true;
    if (this.isCurrent()) {
      await this.#remove();
    } else {
      await this.#underTakeoverLock(async () => {
        await this.#requireOurs();
        await this.#remove();
      });
    }
  }

  /** Certain only while no one else can take the lock over. */
  async #requireOurs(): Promise<void> {
    const { mtime } = await fsp.stat(this.lockPath);
    if (mtime.getTime() !== this.#refreshedAt) throw lost();
  }

  /** As certain, whatever the modification time: who takes the lock over removes LOCK.owner first. */
  async #requireOwner(): Promise<void> {
    const text = await fsp.readFile(this.#ownerPath, "utf8");
    if (text !== this.#ownerText) throw lost();
  }

  async #remove(): Promise<void> {
    await fsp.rm(this.#ownerPath, { force: true });
    await fsp.rmdir(this.lockPath);
  }

  #releaseAtExit(): void {
    if (!this.isCurrent()) return;
    fs.rmSync(this.#ownerPath, { force: true });
    fs.rmdirSync(this.lockPath);
  }

  /** Only where it is certain; otherwise the lock's age decides. */
  #isOwnerDead(): boolean {
    try {
      const owner: unknown = JSON.parse(fs.readFileSync(this.#ownerPath, "utf8"));
      const { pid, host } = thisOwner();
      if (!isOwner(owner) || owner.host !== host || owner.pid === pid) return false;
      process.kill(owner.pid, 0);
      return false;
    } catch (error) {
      return systemErrorCode(error) === "ESRCH";
    }
  }
}

/** A process, and the place in which its number means it. */
interface Owner {
  readonly pid: number;
  readonly host: string;
}

function isOwner(value: unknown): value is Owner {
  return (
    typeof value === "object" &&
    value !== null &&
    "host" in value &&
    "pid" in value &&
    Number.isInteger(value.pid) &&
    (value.pid as number) > 0
  );
}

function thisOwner(): Owner {
  return { pid: process.pid, host: processSpace() };
}

/**
 * Names the set of processes among which ours can be found by number. On Linux this is a process
 * namespace (a container has its own) of one boot of one kernel. Elsewhere a machine stands for it.
 * Two spaces must not share a name; one space may change its name, which only delays a takeover.
 *
 * Blocking, as all that takes the lock: none of it waits for a disk, and each call would take ten times
 * as long by way of the thread pool.
 */
function processSpace(): string {
  if (process.platform === "linux") {
    const boot = fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8");
    return `${boot.trim()} ${fs.readlinkSync("/proc/self/ns/pid")}`;
  }
  const addresses = Object.values(networkInterfaces()).flatMap((list = []) =>
    list.filter(({ internal }) => !internal).map(({ mac }) => mac),
  );
  return [hostname(), ...new Set(addresses)].join(" ");
}

/** LevelDB and RocksDB have a file of the same name: theirs is no lock that expires, nor ours to remove. */
function notOurs(lockPath: string): DatabaseError {
  return new DatabaseError(
    "MEMKV_NOT_A_DATABASE",
    `${path.dirname(lockPath)} is not a memkv database: its ${LOCK_NAME} is a file, as of LevelDB; open an empty or a new directory (memkv import fills it from LevelDB)`,
  );
}

function notHeld(directory: string, cause?: Error): LockedError {
  return new LockedError(`the lock on ${directory} is no longer held`, { cause });
}

/** Makes proper-lockfile refuse the attempt. */
function taken(): Error {
  return Object.assign(new Error("the lock is being held"), { code: "ELOCKED" });
}

/** Makes proper-lockfile report the lock as lost. */
function lost(): Error {
  return Object.assign(new Error("the lock was not refreshed in time"), { code: "ENOENT" });
}
