/**
 * The forms in which abstract-level hands over keys and values, and the views of a database that
 * take each of them.
 *
 * abstract-level encodes what its user gives into one of the formats that an implementation
 * declares: here `utf8`, a string, and `view`, a Uint8Array. The database itself stores bytes. For
 * each pair of formats there is one view of it, made when it is first asked for, whose encodings are
 * those formats, so that a string is encoded once, straight into the database's own buffer.
 */
import type { Database, Snapshot } from "../index.ts";

/** A key or value in one of the formats. */
export type Data = string | Uint8Array;

export type Format = "utf8" | "view";

/** What abstract-level adds to the options of each call. */
export interface Formats {
  readonly keyEncoding?: string | undefined;
  readonly valueEncoding?: string | undefined;
}

/** A database or a snapshot, whichever formats it is read in. */
export type View = Database<Data, Data>;
export type SnapshotView = Snapshot<Data, Data>;

const FORMATS: readonly Format[] = ["utf8", "view"];

/** The database's own encoding for each format. */
const ENCODINGS = { utf8: "utf8", view: "binary" } as const;

/** Views of the same thing by format of keys and values. */
export class Views<T> {
  private readonly create: (key: Format, value: Format) => T;
  /** By 2 * format of keys + format of values; undefined until it is asked for. */
  private readonly views: (T | undefined)[];

  constructor(create: (key: Format, value: Format) => T) {
    this.create = create;
    this.views = [undefined, undefined, undefined, undefined];
  }

  of(formats: Formats): T {
    const index = indexOf(formats);
    const existing = this.views[index];
    if (existing !== undefined) return existing;
    const created = this.create(FORMATS[index >> 1], FORMATS[index & 1]);
    this.views[index] = created;
    return created;
  }

  add(formats: Formats, view: T): void {
    this.views[indexOf(formats)] = view;
  }

  /** Those that were asked for so far. */
  get made(): readonly T[] {
    return this.views.filter((view) => view !== undefined);
  }
}

function indexOf({ keyEncoding, valueEncoding }: Formats): number {
  return (keyEncoding === "view" ? 2 : 0) + (valueEncoding === "view" ? 1 : 0);
}

export function viewsOf(database: Database<Uint8Array, Uint8Array>): Views<View> {
  return new Views((key, value) =>
    database.withEncodings({ keyEncoding: ENCODINGS[key], valueEncoding: ENCODINGS[value] }),
  );
}

/** One moment of a database, in whichever formats it is read. */
export class Moment {
  private readonly views: Views<SnapshotView>;

  /** Takes over a snapshot whose encodings are those of the formats. */
  constructor(snapshot: SnapshotView, formats: Formats) {
    this.views = new Views((key, value) =>
      snapshot.withEncodings({ keyEncoding: ENCODINGS[key], valueEncoding: ENCODINGS[value] }),
    );
    this.views.add(formats, snapshot);
  }

  of(formats: Formats): SnapshotView {
    return this.views.of(formats);
  }

  release(): void {
    for (const view of this.views.made) view.close();
  }
}

/** The bytes of data in either format. */
export function toBytes(data: Data): Uint8Array {
  return typeof data === "string" ? Buffer.from(data) : data;
}

/** Text of data in either format. */
export function toText(data: Data): string {
  return typeof data === "string" ? data : Buffer.from(data).toString();
}
