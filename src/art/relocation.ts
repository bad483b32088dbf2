/**
 * Relocation: a tree copied into another arena, packed.
 *
 * That is how a tree grows past its arena, and how it sheds free bytes in pieces that nothing fits
 * in. Blocks refer to each other by offset, so every reference is written anew; all else in a block
 * is copied as it is.
 */
import { type Arena, HEADER_ROOT } from "./arena.ts";
import { blockBytes, type ValueBytes } from "./bucket.ts";
import {
  bucketOf,
  bucketRef,
  childCountOf,
  childSlot,
  isBucket,
  nodeBytes,
  terminatorSlot,
} from "./node.ts";

/** Copies every block reachable in `source` into the empty arena `target`. */
export function copyTree(source: Arena, target: Arena, valueBytes: ValueBytes): void {
  // A stack of our own: the tree is as deep as its longest separator, deeper than calls may nest.
  const slots = [HEADER_ROOT, HEADER_ROOT];
  while (slots.length > 0) {
    const targetSlot = slots.pop() as number;
    const sourceSlot = slots.pop() as number;
    const ref = source.words[sourceSlot];
    if (ref === 0) continue;
    const block = isBucket(ref) ? bucketOf(ref) : ref;
    const size = isBucket(ref)
      ? blockBytes(source.words, block, valueBytes)
      : (nodeBytes(source.words, block) + 15) & ~15;
    const pool = isBucket(ref) ? target.buckets : target.nodes;
    const copy = pool.allocate(size);
    target.bytes.set(source.bytes.subarray(block, block + size), copy);
    target.words[targetSlot] = isBucket(ref) ? bucketRef(copy) : copy;
    if (isBucket(ref)) continue;
    slots.push(terminatorSlot(block), terminatorSlot(copy));
    for (let i = childCountOf(source.words, block) - 1; i >= 0; i--) {
      slots.push(childSlot(block, i), childSlot(copy, i));
    }
  }
}
