/**
 * Snapshot: the database as it was at one moment, for as long as it is kept open.
 *
 * It pins the memtables and the Version of its moment, a sequence number and the time: what expires
 * later is there for as long as the snapshot is. Writes, flushes and
 * compactions go on; what they replace stays readable, in memory and on disk, until the snapshot is
 * closed. So a snapshot costs nothing to take, and space while it is kept. Other threads may read the
 * same moment (shared-snapshot.ts).
 */

import type { KeyEncodingOption } from "../encoding/key-codec.ts";
import type { ValueEncodingOption } from "../encoding/value-codec.ts";
import { ClosedError } from "../errors.ts";
import { type Codecs, createCodecs, type Encodings, type KeyOf, type ValueOf } from "./codecs.ts";
import { withUserErrors } from "./io-error.ts";
import type { Pin } from "./iteration.ts";
import type { PinKind } from "./pins.ts";
import { type Moment, ReadView } from "./read-view.ts";
import type { RowCache } from "./row-cache.ts";
import type { SharedSnapshot } from "./shared-snapshot.ts";

/** Where a snapshot reads. */
export interface SnapshotSource {
  /** Pins the moment that the snapshot stands for, now and each time it is called. */
  pin(kind: PinKind): Pin;
  /** Describes the moment for another thread, while it is pinned. */
  share(): Promise<SharedSnapshot>;
  /** Values found lately; undefined where those are of a later moment. */
  readonly rows?: RowCache | undefined;
}

export class Snapshot<K = string, V = unknown> extends ReadView<K, V> {
  private readonly source: SnapshotSource;
  private readonly held: Pin;
  private readonly taken: Moment;
  private isClosed: boolean;

  /** Use `Database.snapshot`, or `attach`. */
  constructor(codecs: Codecs<K, V>, source: SnapshotSource) {
    super(codecs);
    this.source = source;
    this.held = source.pin("snapshot");
    this.held.watch(this);
    const { sources, seqno, time } = this.held;
    this.taken = { sources, visibleSeqno: seqno, time, rows: source.rows };
    this.isClosed = false;
  }

  /**
   * The same moment with keys and values in other encodings; see `Database.withEncodings`. It is a
   * snapshot of its own, to be closed by itself.
   */
  withEncodings<
    KE extends KeyEncodingOption<unknown> = "utf8",
    VE extends ValueEncodingOption<unknown> = "msgpack",
  >(encodings: Encodings<KE, VE>): Snapshot<KeyOf<KE>, ValueOf<VE>> {
    this.checkOpen();
    return new Snapshot(createCodecs(encodings), this.source);
  }

  /**
   * The snapshot for other threads of this process: plain data to send to them, which `attach` makes a
   * snapshot of there. Threads that read share one copy of the key index with this one.
   *
   * Keep this snapshot open until it was attached; then it may be closed, and the database too. To
   * show later writes take another snapshot and share that. One that was attached can be shared on, as
   * long as the database's own, which keeps the files, is open.
   *
   * Cost: what the memtables hold is copied, a tenth of a millisecond for each mebibyte (`flush` first,
   * and there is nothing to copy), and is in memory as long as somebody refers to what is returned here.
   * The first time after an open, what was not read yet of key indexes and filters is read whole.
   *
   * @throws InvalidArgumentError where other threads cannot read: of a database in memory, or with a
   *   `fileSystem` of its own.
   * @throws ClosedError (MEMKV_CLOSED) after close, and if the database is closed before it is done.
   * @throws CorruptionError (MEMKV_CORRUPTION) if a segment is damaged where it is read now.
   * @throws DatabaseError MEMKV_IO if it cannot be read.
   */
  async share(): Promise<SharedSnapshot> {
    this.checkOpen();
    // The snapshot may be closed meanwhile.
    const pin = this.source.pin("snapshot");
    try {
      return await withUserErrors("share", () => this.source.share());
    } catch (error) {
      // Of files that are closed under it this is what is told.
      pin.checkOpen();
      throw error;
    } finally {
      pin.release();
    }
  }

  /** Lets go of the moment. Idempotent. Iterations over the snapshot end with ClosedError. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.held.release();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  protected override moment(): Moment {
    this.checkOpen();
    return this.taken;
  }

  protected override pin(kind: PinKind): Pin {
    this.checkOpen();
    const pin = this.source.pin(kind);
    return { ...pin, checkOpen: (): void => this.checkOpen() };
  }

  private checkOpen(): void {
    if (this.isClosed) throw new ClosedError("the snapshot is closed");
    this.held.checkOpen();
  }
}
