/**
 * Walks a whole tree and throws at the first invariant that does not hold: those of arena.ts,
 * bucket.ts, node.ts and tree.ts, by the numbers that they have there. O(keys); for tests.
 */
import { assert } from "../assert.ts";
import { compareRanges } from "../bytes/compare.ts";
import { HEADER_BYTES, HEADER_ROOT } from "./arena.ts";
import {
  blockBytes,
  countOf,
  entryEnd,
  MAX_KEYS,
  MAX_PAYLOAD_BYTES,
  payloadBytes,
  separatorPos,
  sharedAt,
  tailLengthAt,
  tailPosAt,
  usedOf,
  valuesEnd,
} from "./bucket.ts";
import {
  bucketOf,
  childCountOf,
  childSlot,
  hintsPos,
  isBucket,
  labelsPos,
  nodeBytes,
  prefixLengthOf,
  prefixPos,
  terminatorSlot,
} from "./node.ts";
import type { Tree } from "./tree.ts";

interface Range {
  start: number;
  end: number;
}

export function verifyTree(tree: Tree): void {
  const { words } = tree.arena;
  const walk: Walk = { tree, blocks: [], previousKey: undefined, keyCount: 0, bucketCount: 0 };
  const root = words[HEADER_ROOT];
  if (root !== 0) {
    const pending: Child[] = [{ ref: root, path: new Uint8Array(0), hint: 0, isTerminator: false }];
    for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
      if (isBucket(item.ref)) verifyBucket(walk, bucketOf(item.ref), item);
      else pending.push(...verifyNode(walk, item.ref, item.path).reverse());
    }
  }
  assert(walk.keyCount === tree.size, "tree 3: size is the number of keys");
  verifyBlocks(tree, walk.blocks);
}

interface Walk {
  readonly tree: Tree;
  readonly blocks: Range[];
  previousKey: Uint8Array | undefined;
  keyCount: number;
  bucketCount: number;
}

interface Child {
  readonly ref: number;
  /** The bytes that led here. */
  readonly path: Uint8Array;
  readonly hint: number;
  readonly isTerminator: boolean;
}

function verifyNode(walk: Walk, node: number, path: Uint8Array): Child[] {
  const { bytes, words } = walk.tree.arena;
  const count = childCountOf(words, node);
  const prefix = prefixPos(words, node);
  const full = join(path, bytes.slice(prefix, prefix + prefixLengthOf(words, node)));
  const children: Child[] = [];
  const terminator = words[terminatorSlot(node)];
  if (terminator !== 0) {
    assert(isBucket(terminator), "node 3: a terminator is a bucket");
    children.push({ ref: terminator, path: full, hint: 0, isTerminator: true });
  }
  for (let i = 0; i < count; i++) {
    const label = bytes[labelsPos(words, node) + i];
    if (i > 0) assert(bytes[labelsPos(words, node) + i - 1] < label, "node 2: labels ascend");
    const ref = words[childSlot(node, i)];
    const hint = bytes[hintsPos(words, node) + i];
    assert(ref !== 0, "node 1: every child is there");
    assert(isBucket(ref) || hint === 0, "node 4: only a bucket has a hint");
    children.push({ ref, path: join(full, Uint8Array.of(label)), hint, isTerminator: false });
  }
  assert(children.length >= 2, "node 1: a node has two ways at least");
  walk.blocks.push({ start: node, end: node + ((nodeBytes(words, node) + 15) & ~15) });
  return children;
}

function verifyBucket(walk: Walk, bucket: number, from: Child): void {
  const { tree } = walk;
  const { bytes, words } = tree.arena;
  const count = countOf(words, bucket);
  assert(count >= 1 && count <= MAX_KEYS, "bucket 3: 1 to MAX_KEYS keys");
  let pos = separatorPos(bucket);
  let key = bytes.slice(tailPosAt(bytes, pos), entryEnd(bytes, pos));
  const separator = key;
  assert(sharedAt(bytes, pos) === 0, "bucket: the separator is coded whole");
  verifyEntryForm(bytes, pos);
  if (walk.previousKey === undefined) {
    assert(separator.length === 0, "tree 1: the first separator is empty");
  } else {
    assert(compare(walk.previousKey, separator) < 0, "tree 2: keys are before the next separator");
  }
  if (from.isTerminator) {
    assert(compare(separator, from.path) === 0, "node 3: a terminator's separator is the path");
  } else {
    const path = separator.subarray(0, from.path.length);
    assert(compare(path, from.path) === 0, "node 4: a separator begins with its path");
    if (from.hint !== 0) {
      assert(separator[from.path.length] === from.hint, "node 4: a hint is the separator's byte");
    }
  }
  pos = entryEnd(bytes, pos);
  let largest = 0;
  for (let i = 0; i < count; i++) {
    const shared = sharedAt(bytes, pos);
    const tail = tailPosAt(bytes, pos);
    assert(shared <= key.length, "bucket 2: shared is within the key before");
    const next = join(key.subarray(0, shared), bytes.slice(tail, entryEnd(bytes, pos)));
    const order = compare(key, next);
    assert(i === 0 ? order <= 0 : order < 0, "bucket 1: keys ascend");
    assert(key[shared] !== next[shared] || shared === key.length, "bucket 2: shared is exact");
    verifyEntryForm(bytes, pos);
    key = next;
    largest = Math.max(largest, entryEnd(bytes, pos) - pos);
    pos = entryEnd(bytes, pos);
  }
  assert(
    payloadBytes(bytes, words, bucket) - largest <= MAX_PAYLOAD_BYTES,
    "bucket: large only by one large key",
  );
  const valuesStart = valuesEnd(words, bucket, tree.valueBytes) * 4 - count * tree.valueBytes;
  assert(pos <= valuesStart, "bucket 5: entries end before the values begin");
  assert(pos === bucket + usedOf(words, bucket), "bucket: used is where the entries end");
  walk.previousKey = key;
  walk.keyCount += count;
  walk.bucketCount++;
  walk.blocks.push({ start: bucket, end: bucket + blockBytes(words, bucket, tree.valueBytes) });
}

function verifyEntryForm(bytes: Uint8Array, pos: number): void {
  const isNarrow = sharedAt(bytes, pos) < 255 && tailLengthAt(bytes, pos) <= 255;
  assert(isNarrow === (tailPosAt(bytes, pos) === pos + 2), "bucket 4: wide only where it must be");
}

function verifyBlocks(tree: Tree, live: Range[]): void {
  const { arena } = tree;
  const free = [...arena.nodes.freeRanges(), ...arena.buckets.freeRanges()];
  const freeBytes = free.reduce((sum, range) => sum + range.end - range.start, 0);
  assert(freeBytes === arena.freeBytes, "pool 2: free bytes are counted");
  const all = [...live, ...tree.retiredRanges(), ...free].sort((a, b) => a.start - b.start);
  let end = HEADER_BYTES;
  for (const range of all) {
    assert(range.start === end, "pool 1: every byte is in one live, retired or free block");
    end = range.end;
  }
  assert(end === arena.top, "arena 1: regions reach up to top");
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

function compare(a: Uint8Array, b: Uint8Array): number {
  return compareRanges(a, 0, a.length, b, 0, b.length);
}
