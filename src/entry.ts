/**
 * The words every layer shares: what an entry is, and how large its parts may be.
 *
 * An entry is a user key, a sequence number, a kind and, for a put, a value. A put may expire: from a
 * moment on it is a tombstone to all who read.
 */

/**
 * What an entry says of its key. On disk: never change or reuse a number.
 * 0 is never written, so that zeroed space is not an entry.
 */
export const EntryKind = { put: 1, tombstone: 2 } as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

/**
 * The writes from the first to the last, both included. A sequence number is the position of a write in
 * the total order of writes; 0 is before the first.
 */
export interface SeqnoRange {
  readonly firstSeqno: number;
  readonly lastSeqno: number;
}

/** The largest sequence number: numbers stay exact integers (u53). */
export const MAX_SEQNO: number = Number.MAX_SAFE_INTEGER;

/** Of what is written before it is numbered, as by an ingest: no write has this number. */
export const UNNUMBERED: SeqnoRange = { firstSeqno: MAX_SEQNO, lastSeqno: MAX_SEQNO };

/**
 * When an entry expires that never does. Expiries are whole milliseconds since 1970, u53 and at least
 * 1; an entry is there before its expiry, and gone at it and after.
 */
export const NEVER: number = Number.MAX_SAFE_INTEGER;

/** A moment before every expiry: who reads at it sees every put, expired or not. */
export const BEFORE_EXPIRY = 0;

/** The moments from one on up to, but not including, another, in milliseconds since 1970. */
export interface Period {
  readonly from: number;
  readonly until: number;
}

export const ALWAYS: Period = { from: Number.NEGATIVE_INFINITY, until: Number.POSITIVE_INFINITY };

/** Keys are 0 to 65,536 bytes long, both included. (65,536 itself does not fit a u16.) */
export const MAX_KEY_BYTES = 65_536;

/** Values are 0 to 2^30 bytes long, both included. */
export const MAX_VALUE_BYTES: number = 2 ** 30;

/** Where a value lies that is kept outside of its segment, in a value log. */
export interface ValuePlace {
  readonly fileNumber: number;
  /** Of its first stored byte in the file. */
  readonly offset: number;
  /** Bytes of the value. */
  readonly length: number;
  /** Bytes that it takes in the file. */
  readonly storedLength: number;
}

/** What the entries of a segment refer to in one value log. */
export interface ValueLogUse {
  readonly fileNumber: number;
  /** Stored bytes of the values that are referred to. */
  readonly bytes: number;
}

/** Who a file is. Its header carries this, so that a swapped or copied-in file is an error. */
export interface FileIdentity {
  /** 16 random bytes, drawn when the database was created. */
  readonly databaseId: Uint8Array;
  /** Never used twice in one database. */
  readonly fileNumber: number;
}
