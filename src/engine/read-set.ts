/**
 * ReadSet: the keys and ranges that a transaction has read, to find out whether any was written
 * since.
 *
 * An iteration counts as read as far as it went: from its start to the entry that it stands at, or
 * all of its range once it found the end. A range that was read includes the keys that were not
 * there, so that a key which appears in it is a conflict too (no phantoms).
 */

import type { Bounds } from "../encoding/range.ts";
import type { Memtable } from "../memtable/memtable.ts";
import { fromMapKey, type GroupWrites, toMapKey } from "./group-writes.ts";

/** What was read of a range so far; undefined for nothing. */
export type Observation = () => Bounds | undefined;

export class ReadSet {
  private readonly keys = new Set<string>();
  private readonly ranges: Observation[] = [];

  /** key[0, length) was read. */
  addKey(key: Uint8Array, length: number): void {
    this.keys.add(toMapKey(key, 0, length));
  }

  addRange(bounds: Bounds): void {
    this.ranges.push(() => bounds);
  }

  /** A range is being read; `observation` is asked at the end. */
  addObservation(observation: Observation): void {
    this.ranges.push(observation);
  }

  /** Whether anything that was read is written in the memtables after `seqno`, or in the group. */
  isWritten(seqno: number, memtables: readonly Memtable[], group: GroupWrites): boolean {
    for (const mapKey of this.keys) {
      if (group.has(mapKey)) return true;
      if (memtables.length === 0) continue;
      const key = fromMapKey(mapKey);
      if (memtables.some((memtable) => memtable.isWrittenSince(seqno, key))) return true;
    }
    for (const observation of this.ranges) {
      const bounds = observation();
      if (bounds === undefined) continue;
      if (group.hasWithin(bounds)) return true;
      if (memtables.some((memtable) => memtable.isRangeWrittenSince(seqno, bounds))) return true;
    }
    return false;
  }
}
