/**
 * MemtableLoad: fills a new memtable with many writes at once, as recovery does from the logs.
 *
 * Each write goes into the version heap at once, as `Memtable.add` puts it there; its key is kept
 * aside. In the end the keys are sorted (bytes/key-sort.ts), the versions of each are linked in the
 * order in which they were written, and the tree is made from the keys in order (art/sorted-load.ts).
 * That takes about a third of the time of as many insertions, all of it in small steps.
 *
 * Until `finish` has resolved the memtable must not be read. Memory beside it: the keys, and 16
 * bytes each.
 */
import type { SortedLoad } from "../art/sorted-load.ts";
import { NO_VALUE } from "../art/tree.ts";
import { KeySort } from "../bytes/key-sort.ts";
import { type EntryKind, NEVER } from "../entry.ts";
import type { OperationTarget } from "./batch.ts";
import type { Memtable } from "./memtable.ts";

const FIRST_KEY_BYTES: number = 2 ** 16;
const FIRST_COUNT: number = 2 ** 12;

/** More go into another memtable: an arena holds the tree of so many, whatever they are. */
const MAX_KEY_BYTES = 2 ** 30;

/**
 * A tree takes at least about half the bytes of its keys. Counting no more makes one memtable of what
 * was one; where it takes more, the memtable is somewhat larger than its capacity.
 */
const LEAST_TREE_PART = 1 / 2;
/** How often `Memtable.canHold` counts a key's bytes. */
const COUNTED_TWICE = 2;

/** Keys put into the tree between two pauses: some milliseconds. */
const STEP_KEYS: number = 2 ** 14;

export class MemtableLoad implements OperationTarget {
  readonly memtable: Memtable;
  /** The keys, one after the other: key i ends at ends[i]. */
  private keys: Uint8Array;
  private ends: Uint32Array;
  /** Where in the version heap its entry is. */
  private refs: Uint32Array;
  private keyBytes: number;
  private count: number;

  /** `memtable` is new. */
  constructor(memtable: Memtable) {
    this.memtable = memtable;
    this.keys = new Uint8Array(FIRST_KEY_BYTES);
    this.ends = new Uint32Array(FIRST_COUNT);
    this.refs = new Uint32Array(FIRST_COUNT);
    this.keyBytes = 0;
    this.count = 0;
  }

  /** As `Memtable.canHold`, of what is there already and that many more entries. */
  canHold(operationCount: number, keyBytes: number, valueBytes: number): boolean {
    if (this.count > 0 && this.keyBytes + keyBytes > MAX_KEY_BYTES) return false;
    const treeBytes = Math.ceil((this.keyBytes * LEAST_TREE_PART) / COUNTED_TWICE);
    return this.memtable.canHold(operationCount, keyBytes + treeBytes, valueBytes);
  }

  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    seqno: number,
    kind: EntryKind,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiry: number = NEVER,
  ): void {
    const { memtable, count } = this;
    const end = this.keyBytes + keyEnd - keyStart;
    if (end > this.keys.length) this.keys = grown(new Uint8Array(2 * end), this.keys);
    if (count === this.ends.length) {
      this.ends = grown(new Uint32Array(2 * count), this.ends);
      this.refs = grown(new Uint32Array(2 * count), this.refs);
    }
    const { keys } = this;
    for (let from = keyStart, to = this.keyBytes; from < keyEnd; from++, to++) keys[to] = key[from];
    this.keyBytes = end;
    this.ends[count] = end;
    this.refs[count] = memtable.appendEntry(seqno, kind, value, valueStart, valueEnd, expiry);
    this.count = count + 1;
    if (memtable.rangeTombstoneCount > 0) memtable.noteEntry(key, keyStart, keyEnd);
  }

  deleteRange(
    start: Uint8Array,
    end: Uint8Array | undefined,
    seqno: number,
    firstSeqno: number,
  ): void {
    this.memtable.deleteRange(start, end, seqno, firstSeqno);
  }

  /** Makes the memtable readable and lets go of all else. `pause` lets other work run. */
  async finish(pause: () => Promise<void>): Promise<void> {
    const { keys, ends, count } = this;
    const order = new KeySort(keys, ends, count);
    while (order.step()) await pause();
    const tree = this.memtable.startLoad(keys);
    for (let i = 0; i < count; i += STEP_KEYS) {
      if (i > 0) await pause();
      this.linkKeys(order, i, Math.min(i + STEP_KEYS, count), tree);
    }
    tree.finish();
    this.keys = new Uint8Array(0);
    this.ends = new Uint32Array(0);
    this.refs = new Uint32Array(0);
  }

  /** Puts the keys of rank [from, to) into the tree. */
  private linkKeys(order: KeySort, from: number, to: number, tree: SortedLoad): void {
    const { memtable, ends, refs } = this;
    for (let i = from; i < to; i++) {
      const index = order.at(i);
      const ref = refs[index];
      const previous = tree.add(index === 0 ? 0 : ends[index - 1], ends[index], ref);
      if (previous !== NO_VALUE) memtable.link(ref, previous);
    }
  }
}

function grown<T extends Uint8Array | Uint32Array>(larger: T, array: T): T {
  larger.set(array);
  return larger;
}
