/**
 * WriteGuard: whether the database takes writes, and why not.
 *
 * It does until a failure leaves it unknown what is durable, or until the directory may belong to
 * another process. Then it never does again, and whoever writes, syncs or follows logs hears of the
 * first such failure. It is remembered here alone; a log's writer knows no more than that a sync of
 * its own file failed.
 */
import { DatabaseError, LockedError } from "../errors.ts";
import type { DirectoryLock } from "../io/file-system.ts";

export class WriteGuard {
  private readonly lock: DirectoryLock;
  private reason: DatabaseError | undefined;

  constructor(lock: DirectoryLock) {
    this.lock = lock;
    this.reason = undefined;
  }

  /** What writes are refused with, once they are. */
  get refusal(): DatabaseError | undefined {
    return this.reason;
  }

  get isWritable(): boolean {
    return this.reason === undefined;
  }

  /** Throws what writes are refused with, if they are. */
  checkWritable(): void {
    if (this.reason !== undefined) throw this.reason;
  }

  /** Refuses every later write, with `cause` as the reason. The first cause stays. */
  poison(cause: unknown): DatabaseError {
    this.reason ??= new DatabaseError(
      "MEMKV_POISONED",
      "an earlier write or sync failed, so it is unknown what is durable: writes are refused until the database is reopened",
      { cause },
    );
    return this.reason;
  }

  /** Refuses every later write because the directory may belong to another process by now. */
  fence(cause?: unknown): DatabaseError {
    this.reason ??= new LockedError(
      "the lock on the database was lost: writes are refused until the database is reopened",
      { cause },
    );
    return this.reason;
  }

  /** Whether the directory is still ours for certain. */
  get isLockHeld(): boolean {
    return this.lock.isHeld();
  }

  /**
   * Resolves if the directory is still ours for certain. After a stall (a busy event loop, a sleeping
   * laptop) that takes a look at the lock; if it was lost, no write is taken from here on.
   */
  async confirmLock(): Promise<void> {
    this.checkWritable();
    if (this.isLockHeld) return;
    try {
      await this.lock.confirm();
    } catch (error) {
      throw this.fence(error);
    }
    this.checkWritable();
  }
}
