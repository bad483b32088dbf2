/**
 * Separators: how the radix tree changes when a bucket comes or goes.
 *
 * A bucket comes when another is split, under a separator that is not in the tree yet. The way down
 * along the separator ends in one of four ways, and each costs one node or two:
 *
 *   at a bucket       both are put below a new node, where their separators part   (joinBuckets)
 *   in a prefix       the node's prefix is cut there, and a new node comes above    (splitPrefix)
 *   at a node's end   the separator ends there: the bucket becomes its terminator
 *   at a node         which has no such label: a copy of it has one child more      (withChild)
 *
 * A bucket goes when it is merged with a neighbour or empty: the reverse, and a node that is left
 * with one way is replaced by that (collapse).
 *
 * Nodes are never changed but for a slot, which is one store: whatever else changes is a copy that
 * one store publishes. The single exception is a hint that becomes 0, which is always right.
 *
 * Source: Leis, Kemper, Neumann, "The Adaptive Radix Tree" (ICDE 2013), section III.E; copies in
 * place of locks, as one writer allows.
 */

import { assert } from "../assert.ts";
import { type Arena, HEADER_ROOT } from "./arena.ts";
import { separatorPos, tailLengthAt, tailPosAt } from "./bucket.ts";
import type { KeyBuffer } from "./key-buffer.ts";
import {
  bucketOf,
  bucketRef,
  childCountOf,
  childSlot,
  createNode,
  floorLabel,
  hintsPos,
  isBucket,
  labelsPos,
  prefixLengthOf,
  prefixPos,
  setChild,
  terminatorSlot,
  withChild,
  withoutChild,
  withPrefix,
} from "./node.ts";
import type { Publication } from "./publication.ts";

/** Puts a bucket into the radix tree under its separator, which is not in there. */
export function insertSeparator(
  publication: Publication,
  separator: Uint8Array,
  length: number,
  bucket: number,
): void {
  const { arena } = publication;
  const { bytes, words } = arena;
  let slot = HEADER_ROOT;
  let hint = 0;
  let pos = 0;
  for (;;) {
    const ref = words[slot];
    if (isBucket(ref)) {
      const node = joinBuckets(arena, bucketOf(ref), bucket, separator, pos, length);
      if (hint !== 0) bytes[hint] = 0;
      publication.publish(slot, node);
      return;
    }
    const prefixLength = prefixLengthOf(words, ref);
    const prefix = prefixPos(words, ref);
    let i = 0;
    while (i < prefixLength && pos + i < length && bytes[prefix + i] === separator[pos + i]) i++;
    if (i < prefixLength) {
      const node = splitPrefix(arena, ref, i, separator, pos, length, bucket);
      publication.publish(slot, node);
      publication.releaseNode(ref);
      return;
    }
    pos += prefixLength;
    if (pos === length) {
      assert(words[terminatorSlot(ref)] === 0, "separators differ");
      publication.publish(terminatorSlot(ref), bucketRef(bucket));
      return;
    }
    const label = separator[pos];
    const labels = labelsPos(words, ref);
    const index = floorLabel(bytes, labels, childCountOf(words, ref), label);
    if (index < 0 || bytes[labels + index] !== label) {
      const byte = pos + 1 < length ? separator[pos + 1] : 0;
      const node = withChild(arena, ref, index + 1, label, byte, bucketRef(bucket));
      publication.publish(slot, node);
      publication.releaseNode(ref);
      return;
    }
    slot = childSlot(ref, index);
    hint = hintsPos(words, ref) + index;
    pos++;
  }
}

/** A node over two buckets whose separators agree before `pos`. */
function joinBuckets(
  arena: Arena,
  other: number,
  bucket: number,
  separator: Uint8Array,
  pos: number,
  length: number,
): number {
  const { bytes, words } = arena;
  const otherStart = tailPosAt(bytes, separatorPos(other));
  const otherLength = tailLengthAt(bytes, separatorPos(other));
  let fork = pos;
  while (fork < length && fork < otherLength && separator[fork] === bytes[otherStart + fork]) {
    fork++;
  }
  const byteAt = (at: number) => (at < length ? separator[at] : 0);
  const otherByteAt = (at: number) => (at < otherLength ? bytes[otherStart + at] : 0);
  if (fork === length || fork === otherLength) {
    assert(length !== otherLength, "separators differ");
    const node = createNode(arena, 1, separator, pos, fork - pos);
    if (fork === length) {
      words[terminatorSlot(node)] = bucketRef(bucket);
      setChild(arena, node, 0, otherByteAt(fork), otherByteAt(fork + 1), bucketRef(other));
    } else {
      words[terminatorSlot(node)] = bucketRef(other);
      setChild(arena, node, 0, byteAt(fork), byteAt(fork + 1), bucketRef(bucket));
    }
    return node;
  }
  const node = createNode(arena, 2, separator, pos, fork - pos);
  const index = byteAt(fork) < otherByteAt(fork) ? 0 : 1;
  setChild(arena, node, index, byteAt(fork), byteAt(fork + 1), bucketRef(bucket));
  setChild(arena, node, 1 - index, otherByteAt(fork), otherByteAt(fork + 1), bucketRef(other));
  return node;
}

/** A node with the first `shared` bytes of `node`'s prefix, above `node` and the bucket. */
function splitPrefix(
  arena: Arena,
  node: number,
  shared: number,
  separator: Uint8Array,
  pos: number,
  length: number,
  bucket: number,
): number {
  const { bytes, words } = arena;
  const prefix = prefixPos(words, node);
  const restLength = prefixLengthOf(words, node) - shared - 1;
  const lower = withPrefix(arena, node, bytes, prefix + shared + 1, restLength);
  const fork = pos + shared;
  const label = bytes[prefix + shared];
  if (fork === length) {
    const upper = createNode(arena, 1, separator, pos, shared);
    words[terminatorSlot(upper)] = bucketRef(bucket);
    setChild(arena, upper, 0, label, 0, lower);
    return upper;
  }
  const upper = createNode(arena, 2, separator, pos, shared);
  const index = separator[fork] < label ? 0 : 1;
  const hint = fork + 1 < length ? separator[fork + 1] : 0;
  setChild(arena, upper, index, separator[fork], hint, bucketRef(bucket));
  setChild(arena, upper, 1 - index, label, 0, lower);
  return upper;
}

/**
 * Takes the separator of `bucket` out of the radix tree, and the bucket with it. `scratch` is for the
 * prefixes of nodes that become one.
 */
export function removeSeparator(
  publication: Publication,
  bucket: number,
  scratch: KeyBuffer,
): void {
  const { arena } = publication;
  const { bytes, words } = arena;
  const pos = separatorPos(bucket);
  const end = tailPosAt(bytes, pos) + tailLengthAt(bytes, pos);
  let at = tailPosAt(bytes, pos);
  let nodeSlot = HEADER_ROOT;
  if (words[nodeSlot] === bucketRef(bucket)) {
    publication.publish(nodeSlot, 0);
    return;
  }
  for (;;) {
    const node = words[nodeSlot];
    const count = childCountOf(words, node);
    const terminator = words[terminatorSlot(node)];
    at += prefixLengthOf(words, node);
    if (at === end) {
      assert(terminator === bucketRef(bucket), "a separator leads to its bucket");
      if (count === 1) collapse(publication, nodeSlot, 0, scratch);
      else publication.publish(terminatorSlot(node), 0);
      return;
    }
    const index = floorLabel(bytes, labelsPos(words, node), count, bytes[at]);
    const slot = childSlot(node, index);
    if (words[slot] !== bucketRef(bucket)) {
      nodeSlot = slot;
      at++;
      continue;
    }
    if (count === 1) {
      publication.publish(nodeSlot, terminator);
      publication.releaseNode(node);
    } else if (count === 2 && terminator === 0) {
      collapse(publication, nodeSlot, 1 - index, scratch);
    } else {
      publication.publish(nodeSlot, withoutChild(arena, node, index));
      publication.releaseNode(node);
    }
    return;
  }
}

/** Replaces the node at `nodeSlot` by its child `index`, the only thing left below it. */
function collapse(
  publication: Publication,
  nodeSlot: number,
  index: number,
  scratch: KeyBuffer,
): void {
  const { arena } = publication;
  const { bytes, words } = arena;
  const node = words[nodeSlot];
  const child = words[childSlot(node, index)];
  if (isBucket(child)) {
    publication.publish(nodeSlot, child);
  } else {
    const label = labelsPos(words, node) + index;
    const joined = scratch;
    const nodePrefixLength = prefixLengthOf(words, node);
    joined.splice(0, bytes, prefixPos(words, node), nodePrefixLength);
    joined.splice(nodePrefixLength, bytes, label, 1);
    joined.splice(
      nodePrefixLength + 1,
      bytes,
      prefixPos(words, child),
      prefixLengthOf(words, child),
    );
    publication.publish(nodeSlot, withPrefix(arena, child, joined.bytes, 0, joined.length));
    publication.releaseNode(child);
  }
  publication.releaseNode(node);
}
