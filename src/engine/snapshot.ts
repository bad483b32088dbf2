/**
 * Snapshot: the database as it was at one moment, for as long as it is kept open.
 *
 * It pins the memtables and the Version of its moment, a sequence number and the time: what expires
 * later is there for as long as the snapshot is. Writes, flushes and
 * compactions go on; what they replace stays readable, in memory and on disk, until the snapshot is
 * closed. So a snapshot costs nothing to take, and space while it is kept.
 */
import { ClosedError } from "../errors.ts";
import { type Codecs, createCodecs, type Encodings, type KeyOf, type ValueOf } from "./codecs.ts";
import type { Pin } from "./iteration.ts";
import type { KeyEncodingOption } from "./key-codec.ts";
import type { PinKind } from "./pins.ts";
import { type Moment, ReadView } from "./read-view.ts";
import type { ValueEncodingOption } from "./value-codec.ts";

export class Snapshot<K = string, V = unknown> extends ReadView<K, V> {
  private readonly takePin: (kind: PinKind) => Pin;
  private readonly held: Pin;
  private readonly taken: Moment;
  private isClosed: boolean;

  /** `takePin` pins the moment that the snapshot stands for, now and each time it is called. */
  constructor(codecs: Codecs<K, V>, takePin: (kind: PinKind) => Pin) {
    super(codecs);
    this.takePin = takePin;
    this.held = takePin("snapshot");
    this.held.watch(this);
    const { sources, seqno, time } = this.held;
    this.taken = { sources, visibleSeqno: seqno, time };
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
    return new Snapshot(createCodecs(encodings), this.takePin);
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
    const pin = this.takePin(kind);
    return { ...pin, checkOpen: (): void => this.checkOpen() };
  }

  private checkOpen(): void {
    if (this.isClosed) throw new ClosedError("the snapshot is closed");
    this.held.checkOpen();
  }
}
