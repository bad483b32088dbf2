/**
 * Inner nodes: the byte layout of the radix tree above the buckets.
 *
 * The tree is over separators, one for each bucket. A node stands for the bytes on the path to it;
 * its prefix is what all separators below it have next, and its children are told apart by the one
 * byte after that. A separator that ends at the node is its *terminator*.
 *
 *   offset 0        4            8                8 + 4n     8 + 5n    8 + 6n
 *          +--------+------------+----------------+----------+---------+---------+
 *          | header | terminator | n references   | n labels | n hints | prefix  |
 *          +--------+------------+----------------+----------+---------+---------+
 *   header       one word: n in bits 0-8 (0 to 256), prefix length in bits 9-31
 *   terminator   reference of a bucket, or 0
 *   references   one word each, in the order of the labels
 *   labels       the byte of each child, ascending
 *   hints        for a bucket, the byte after its label in its separator; else 0
 *
 * A node is as large as it must be: there are no size classes (Node4, Node16, ...) as in the paper,
 * since buckets make nodes so few that copying one to add a child costs little, and their slack
 * would cost memory.
 *
 * A *reference* is the offset of a block, plus 1 where it is a bucket (blocks begin at multiples of
 * 16). 0 is none: the arena's header is there. A *slot* is the index of the word that holds a
 * reference: the root, a terminator or a child. Storing one slot is what publishes a change.
 *
 * The path to a bucket ends as soon as it is told from the others; the rest of its separator is only
 * in the bucket (lazy expansion). A key that follows the path may still sort before the separator,
 * and then belongs to the bucket before. The hint tells nearly all of these without touching the
 * bucket, which is mostly a cache miss. It is a filter and nothing more: 0 is always right.
 *
 * Invariants:
 *   1. A node has at least two of children and terminator together.
 *   2. Labels ascend strictly.
 *   3. A terminator is a bucket whose separator is exactly the node's path and prefix.
 *   4. A child bucket's separator begins with the node's path, prefix and label; a hint other than 0
 *      is the byte that follows.
 *
 * Source: Leis, Kemper, Neumann, "The Adaptive Radix Tree: ARTful Indexing for Main-Memory
 * Databases" (ICDE 2013): path compression and lazy expansion, section III.E.
 */
import { type Arena, copyBytes } from "./arena.ts";

/** The child before a node's first: its slot is just before theirs. */
export const TERMINATOR = -1;

const WORD_BYTES = 4;
const HEADER_WORDS = 2;
const BYTES_PER_CHILD = 6;

/** Up to this many labels are searched one by one; four nodes in five have no more than four. */
const LINEAR_MAX_LABELS = 12;

export function isBucket(ref: number): boolean {
  return (ref & 1) !== 0;
}

export function bucketRef(bucket: number): number {
  return bucket + 1;
}

export function bucketOf(ref: number): number {
  return ref - 1;
}

export function childCountOf(words: Int32Array, node: number): number {
  return words[node >> 2] & 0x1ff;
}

export function prefixLengthOf(words: Int32Array, node: number): number {
  return words[node >> 2] >>> 9;
}

export function prefixPos(words: Int32Array, node: number): number {
  return labelsPos(words, node) + 2 * childCountOf(words, node);
}

export function labelsPos(words: Int32Array, node: number): number {
  return node + (HEADER_WORDS + childCountOf(words, node)) * WORD_BYTES;
}

export function hintsPos(words: Int32Array, node: number): number {
  return labelsPos(words, node) + childCountOf(words, node);
}

export function terminatorSlot(node: number): number {
  return (node >> 2) + 1;
}

export function childSlot(node: number, index: number): number {
  return (node >> 2) + HEADER_WORDS + index;
}

export function nodeBytes(words: Int32Array, node: number): number {
  return sizeOf(childCountOf(words, node), prefixLengthOf(words, node));
}

/** Index of the last of `count` labels at `labels` that is at most `byte`; -1 if none is. */
export function floorLabel(bytes: Uint8Array, labels: number, count: number, byte: number): number {
  let lo = 0;
  let hi = count;
  while (hi - lo > LINEAR_MAX_LABELS) {
    const mid = (lo + hi) >>> 1;
    if (bytes[labels + mid] <= byte) lo = mid;
    else hi = mid;
  }
  while (lo < hi && bytes[labels + lo] <= byte) lo++;
  return lo - 1;
}

/** A node with its prefix and without a terminator; the caller sets every child. */
export function createNode(
  arena: Arena,
  childCount: number,
  prefix: Uint8Array,
  start: number,
  prefixLength: number,
): number {
  const node = arena.nodes.allocate(sizeOf(childCount, prefixLength));
  const { bytes, words } = arena;
  words[node >> 2] = childCount | (prefixLength << 9);
  words[terminatorSlot(node)] = 0;
  const target = prefixPos(words, node);
  for (let i = 0; i < prefixLength; i++) bytes[target + i] = prefix[start + i];
  return node;
}

/** Fills in child `index` of a node that is not published yet. */
export function setChild(
  arena: Arena,
  node: number,
  index: number,
  label: number,
  hint: number,
  ref: number,
): void {
  const { bytes, words } = arena;
  words[childSlot(node, index)] = ref;
  bytes[labelsPos(words, node) + index] = label;
  bytes[hintsPos(words, node) + index] = hint;
}

/** A copy of `node` with one more child, at `index`. */
export function withChild(
  arena: Arena,
  node: number,
  index: number,
  label: number,
  hint: number,
  ref: number,
): number {
  const { view, words } = arena;
  const count = childCountOf(words, node);
  const copy = copyFrame(arena, node, count + 1);
  copyChildren(arena, copy, 0, node, 0, index);
  copyChildren(arena, copy, index + 1, node, index, count - index);
  setChild(arena, copy, index, label, hint, ref);
  copyBytes(view, prefixPos(words, copy), prefixPos(words, node), prefixLengthOf(words, node));
  return copy;
}

/** A copy of `node` without its child `index`. */
export function withoutChild(arena: Arena, node: number, index: number): number {
  const { view, words } = arena;
  const count = childCountOf(words, node);
  const copy = copyFrame(arena, node, count - 1);
  copyChildren(arena, copy, 0, node, 0, index);
  copyChildren(arena, copy, index, node, index + 1, count - index - 1);
  copyBytes(view, prefixPos(words, copy), prefixPos(words, node), prefixLengthOf(words, node));
  return copy;
}

/** A copy of `node` whose prefix is prefix[0, prefixLength). */
export function withPrefix(
  arena: Arena,
  node: number,
  prefix: Uint8Array,
  start: number,
  prefixLength: number,
): number {
  const count = childCountOf(arena.words, node);
  const copy = createNode(arena, count, prefix, start, prefixLength);
  arena.words[terminatorSlot(copy)] = arena.words[terminatorSlot(node)];
  copyChildren(arena, copy, 0, node, 0, count);
  return copy;
}

function sizeOf(childCount: number, prefixLength: number): number {
  return HEADER_WORDS * WORD_BYTES + BYTES_PER_CHILD * childCount + prefixLength;
}

/** A block for `node` with another number of children: header and terminator are copied. */
function copyFrame(arena: Arena, node: number, childCount: number): number {
  const prefixLength = prefixLengthOf(arena.words, node);
  const copy = arena.nodes.allocate(sizeOf(childCount, prefixLength));
  arena.words[copy >> 2] = childCount | (prefixLength << 9);
  arena.words[terminatorSlot(copy)] = arena.words[terminatorSlot(node)];
  return copy;
}

/** Copies `count` children of `source` from index `from` to `target`'s from index `to`. */
function copyChildren(
  arena: Arena,
  target: number,
  to: number,
  source: number,
  from: number,
  count: number,
): void {
  const { view, words } = arena;
  const targetSlot = childSlot(target, to);
  const sourceSlot = childSlot(source, from);
  for (let i = 0; i < count; i++) words[targetSlot + i] = words[sourceSlot + i];
  copyBytes(view, labelsPos(words, target) + to, labelsPos(words, source) + from, count);
  copyBytes(view, hintsPos(words, target) + to, hintsPos(words, source) + from, count);
}
