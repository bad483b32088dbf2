/**
 * SortedLoad: fills an empty tree with keys in ascending order, a bucket at a time.
 *
 * Each key is compared with the one before it, and no more: what they share is what front coding
 * needs, and one byte more is the separator where a new bucket begins. A bucket is written once, when
 * it is full, straight from the keys' own bytes; only its separator goes down the radix tree. Four
 * times as fast as keys in order that are inserted one by one, ten times as fast as keys in none.
 *
 * The tree is as a run of insertions would leave it (append-run.ts): every bucket but the last is
 * full.
 */
import { assert } from "../assert.ts";
import type { Arena } from "./arena.ts";
import {
  encodeHeader,
  HEADER_BYTES,
  headerBytes,
  MAX_KEYS,
  MAX_PAYLOAD_BYTES,
  packedBytes,
  type ValueBytes,
  valuesEnd,
  writeHeader,
  writeTail,
  writeValue,
} from "./bucket.ts";
import { NO_VALUE, type Tree } from "./tree.ts";

export class SortedLoad {
  private readonly tree: Tree;
  /** All keys lie in it, anywhere. */
  private readonly source: Uint8Array;
  /** The keys of the bucket in the making: their places, and what each shares with the one before. */
  private readonly starts: Uint32Array;
  private readonly ends: Uint32Array;
  private readonly shared: Uint32Array;
  private readonly values: Float64Array;
  private count: number;
  /** Bytes of their entries, and of the separator, which is the beginning of the first. */
  private payload: number;
  private separatorLength: number;

  /** `tree` is empty and read by this thread alone until `finish`; `source` stays as it is until then. */
  constructor(tree: Tree, source: Uint8Array) {
    assert(tree.size === 0, "only an empty tree is loaded");
    this.tree = tree;
    this.source = source;
    this.starts = new Uint32Array(MAX_KEYS);
    this.ends = new Uint32Array(MAX_KEYS);
    this.shared = new Uint32Array(MAX_KEYS);
    this.values = new Float64Array(MAX_KEYS);
    this.count = 0;
    this.payload = 0;
    this.separatorLength = 0;
  }

  /**
   * Adds the key source[start, end), which is not before the last one. If it is equal, the value takes
   * the place of the last one's, which is returned; else NO_VALUE.
   */
  add(start: number, end: number, value: number): number {
    const { source, starts, ends, count } = this;
    const keyLength = end - start;
    let shared = 0;
    if (count > 0) {
      const last = starts[count - 1];
      const lastLength = ends[count - 1] - last;
      const limit = Math.min(lastLength, keyLength);
      while (shared < limit && source[last + shared] === source[start + shared]) shared++;
      if (shared === keyLength) {
        assert(lastLength === keyLength, "keys ascend");
        const previous = this.values[count - 1];
        this.values[count - 1] = value;
        return previous;
      }
    }
    let entryBytes = headerBytes(shared, keyLength - shared) + keyLength - shared;
    if (count === MAX_KEYS || (count > 0 && this.payload + entryBytes > MAX_PAYLOAD_BYTES)) {
      this.writeBucket();
      shared++;
      this.separatorLength = shared;
      entryBytes = headerBytes(shared, keyLength - shared) + keyLength - shared;
    }
    const index = this.count++;
    starts[index] = start;
    ends[index] = end;
    this.shared[index] = shared;
    this.values[index] = value;
    this.payload += entryBytes;
    return NO_VALUE;
  }

  /** Writes what is left. */
  finish(): void {
    if (this.count > 0) this.writeBucket();
  }

  private writeBucket(): void {
    const { tree, source, starts, ends, shared, count, separatorLength } = this;
    let longestKey = 0;
    for (let i = 0; i < count; i++) longestKey = Math.max(longestKey, ends[i] - starts[i]);
    const arena = tree.prepareBucket(longestKey);
    const { bytes, words } = arena;
    const separatorBytes = headerBytes(0, separatorLength) + separatorLength;
    const used = HEADER_BYTES + separatorBytes + this.payload;
    const bucket = allocate(arena, count, used, tree.valueBytes);
    let pos = writeHeader(bytes, bucket + HEADER_BYTES, 0, separatorLength);
    pos = writeTail(bytes, pos, source, starts[0], separatorLength);
    for (let i = 0; i < count; i++) {
      const tail = starts[i] + shared[i];
      pos = writeHeader(bytes, pos, shared[i], ends[i] - tail);
      pos = writeTail(bytes, pos, source, tail, ends[i] - tail);
    }
    const end = valuesEnd(words, bucket, tree.valueBytes);
    for (let i = 0; i < count; i++) writeValue(words, end, i, tree.valueBytes, this.values[i]);
    tree.attachLast(bucket, count, source.subarray(starts[0]), separatorLength);
    this.count = 0;
    this.payload = 0;
  }
}

function allocate(arena: Arena, count: number, used: number, valueBytes: ValueBytes): number {
  const bucket = arena.buckets.allocate(packedBytes(count, used, valueBytes));
  arena.words[bucket >> 2] = encodeHeader(count, used, 0);
  return bucket;
}
