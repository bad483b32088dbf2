/**
 * The range tombstones of a memtable: which of its entries, and of all older sources, are deleted by
 * range, as each reader may see it.
 *
 * Two sets of spans are kept. *Pieces* say for each key which is the newest tombstone that covers it:
 * they are disjoint, and a new tombstone cuts what it covers out of the older ones. An entry of the
 * memtable is deleted if the piece around its key has a higher sequence number. *Stretches* are the
 * same without the numbers, joined where they touch: they are what hides older sources, for which
 * numbers do not matter since each of their entries is older than every tombstone here.
 *
 * Both are treaps (Seidel, Aragon, "Randomized Search Trees", Algorithmica 16, 1996) that are never
 * changed: adding makes new nodes on the way to what it changes, about 2 log n, and shares the rest.
 * So each tombstone leaves a view of its own behind, and a reader at a sequence number takes the
 * newest view at or below it: no list of numbers in any node, and nothing to do for snapshots. The
 * tombstones of one record, which readers see at once, leave one view behind.
 *
 * One mark does change in place: whether an entry was added under a span after it was deleted. A span
 * without such is skipped whole, so that a cursor passes the deleted head of a queue by one seek. The
 * mark only ever goes on, and concerns entries newer than the reader of any view that lacks it.
 */
import { compareBytes, compareRanges } from "../bytes/compare.ts";
import { endsAfter, type Span, type Spans } from "../cursor/spans.ts";
import { type Bounds, overlaps } from "../encoding/range.ts";

const NO_BYTES = new Uint8Array(0);

interface Node extends Span {
  /** Of the newest tombstone over the span. */
  readonly seqno: number;
  readonly priority: number;
  readonly left: Tree;
  readonly right: Tree;
  /** Whether an entry in the span may be newer than the tombstone over it. */
  hasNewer: boolean;
}

type Tree = Node | undefined;

/** A stretch of keys over which one tombstone, or none, is the newest. Undefined ends are open. */
export interface Piece {
  readonly start: Uint8Array | undefined;
  readonly end: Uint8Array | undefined;
  /** 0 where there is no tombstone. */
  readonly seqno: number;
}

/** What a memtable's range tombstones are at one moment, as it is handed to another thread. */
export interface SharedRangeTombstones {
  readonly pieces: Tree;
  readonly stretches: Tree;
}

/**
 * What a tombstone takes in memory for each level of the trees, beside its bytes, at most: among ten
 * thousand it was 1.1 to 2.9 KB for each, be they apart, in a row, nested or in any order.
 */
const LEVEL_BYTES = 200;
/** The levels that one counts for whose way no older view keeps: three pieces and a stretch are new. */
const NEW_LEVELS = 4;

export class RangeTombstones {
  /** Oldest first: the view after each tombstone. */
  private readonly views: RangeTombstoneView[];
  private addedCount: number;
  private bytes: number;

  constructor(shared?: SharedRangeTombstones) {
    this.views = [];
    this.addedCount = 0;
    this.bytes = 0;
    if (shared?.pieces !== undefined) {
      this.views.push(new RangeTombstoneView(0, shared.pieces, shared.stretches));
    }
  }

  get isEmpty(): boolean {
    return this.views.length === 0;
  }

  /** Tombstones that were added. */
  get count(): number {
    return this.addedCount;
  }

  /** Bytes of memory, about. */
  get byteLength(): number {
    return this.bytes;
  }

  /** What a reader at `seqno` sees, for another thread. */
  share(seqno: number): SharedRangeTombstones {
    const view = this.at(seqno);
    return { pieces: view?.pieces, stretches: view?.stretches };
  }

  /**
   * Adds one that covers [start, end). `seqno` is above all before it; the arrays are kept. No reader
   * is between `firstSeqno` and `seqno`: views from there on are not kept.
   */
  add(
    start: Uint8Array,
    end: Uint8Array | undefined,
    seqno: number,
    firstSeqno: number = seqno,
  ): void {
    const { views } = this;
    const newest = views.at(-1);
    const number = this.addedCount;
    const pieces = cutOut(newest?.pieces, { start, end }, seqno, number);
    const stretches = joinIn(newest?.stretches, { start, end }, seqno, number);
    if (newest !== undefined && newest.seqno >= firstSeqno) views.pop();
    const isPathShared = views.length > 0;
    views.push(new RangeTombstoneView(seqno, pieces, stretches));
    this.addedCount++;
    // Where an older view keeps the nodes on the way, the new ones come on top.
    const levels = isPathShared ? 2 + Math.log2(this.addedCount) : NEW_LEVELS;
    this.bytes += LEVEL_BYTES * levels + start.length + (end?.length ?? 0);
  }

  /** Notes that an entry was added for key[start, end). */
  noteEntry(key: Uint8Array, start: number, end: number): void {
    this.views.at(-1)?.noteEntry(key.subarray(start, end));
  }

  /** What a reader at `seqno` sees; undefined where there is none to see. */
  at(seqno: number): RangeTombstoneView | undefined {
    const { views } = this;
    let lo = 0;
    let hi = views.length;
    // Most readers are at the newest.
    if (hi > 0 && views[hi - 1].seqno <= seqno) return views[hi - 1];
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if (views[mid].seqno <= seqno) lo = mid + 1;
      else hi = mid;
    }
    return lo === 0 ? undefined : views[lo - 1];
  }
}

/** The range tombstones up to one of them. As `Spans`: its stretches, which hide older sources. */
export class RangeTombstoneView implements Spans {
  readonly seqno: number;
  readonly pieces: Tree;
  readonly stretches: Tree;

  constructor(seqno: number, pieces: Tree, stretches: Tree) {
    this.seqno = seqno;
    this.pieces = pieces;
    this.stretches = stretches;
  }

  floor(key: Uint8Array, length: number): Span | undefined {
    return floorOf(this.stretches, key, length);
  }

  after(key: Uint8Array, length: number): Span | undefined {
    return afterOf(this.stretches, key, length);
  }

  /** Sequence number of the newest tombstone over key[0, length), or 0. */
  seqnoOver(key: Uint8Array, length: number): number {
    const piece = floorOf(this.pieces, key, length);
    return piece !== undefined && endsAfter(piece, key, length) ? piece.seqno : 0;
  }

  /** The piece or the gap around key[0, length). */
  pieceAt(key: Uint8Array, length: number): Piece {
    const piece = floorOf(this.pieces, key, length);
    if (piece !== undefined && endsAfter(piece, key, length)) return piece;
    return { start: piece?.end, end: afterOf(this.pieces, key, length)?.start, seqno: 0 };
  }

  /** A span around key[0, length) in which every entry is deleted; undefined where none is known. */
  hiddenAround(key: Uint8Array, length: number): Span | undefined {
    const stretch = floorOf(this.stretches, key, length);
    if (stretch === undefined || !endsAfter(stretch, key, length)) return undefined;
    if (!stretch.hasNewer) return stretch;
    const piece = floorOf(this.pieces, key, length);
    return piece === undefined || piece.hasNewer ? undefined : piece;
  }

  /** Whether a tombstone above `seqno` overlaps the bounds. */
  isWrittenSince(seqno: number, bounds: Bounds): boolean {
    const first = bounds.lower?.key ?? NO_BYTES;
    let piece =
      floorOf(this.pieces, first, first.length) ?? afterOf(this.pieces, first, first.length);
    for (; piece !== undefined; piece = afterOf(this.pieces, piece.start, piece.start.length)) {
      if (piece.seqno > seqno && overlaps(bounds, piece)) return true;
      const { upper } = bounds;
      if (upper !== undefined && compareBytes(piece.start, upper.key) > 0) return false;
    }
    return false;
  }

  noteEntry(key: Uint8Array): void {
    for (const tree of [this.stretches, this.pieces]) {
      const node = floorOf(tree, key, key.length);
      if (node !== undefined && endsAfter(node, key, key.length)) node.hasNewer = true;
    }
  }
}

/** Nodes that one tombstone may make beside copies: each has a priority of its own. */
const NODES_PER_TOMBSTONE = 3;

/** The pieces with a new one, tombstone `number`, and without what it covers of the others. */
function cutOut(pieces: Tree, { start, end }: Span, seqno: number, number: number): Tree {
  const priorities = number * NODES_PER_TOMBSTONE;
  const [before, rest] = split(pieces, start, false);
  const [covered, behind] = end === undefined ? [rest, undefined] : split(rest, end, false);
  let left = before;
  let right = behind;
  const lastBefore = lastOf(before);
  // The last piece that starts before the end is the only one that can lie beyond it.
  const last = lastOf(covered) ?? lastBefore;
  if (end !== undefined && last !== undefined && endsAfter(last, end, end.length)) {
    right = merge(leaf({ ...last, start: end, priority: scatter(priorities + 1) }), behind);
  }
  if (lastBefore !== undefined && endsAfter(lastBefore, start, start.length)) {
    const [others] = split(before, lastBefore.start, false);
    left = merge(others, leaf({ ...lastBefore, end: start, priority: scatter(priorities + 2) }));
  }
  const node = leaf({ start, end, seqno, priority: scatter(priorities), hasNewer: false });
  return merge(merge(left, node), right);
}

/** The stretches with a new one, joined with those that it overlaps or touches. */
function joinIn(stretches: Tree, span: Span, seqno: number, number: number): Tree {
  let { start, end } = span;
  // Entries outside of the new span stay as they are, and so does the mark of a stretch with such.
  let hasNewer = false;
  let [left, rest] = split(stretches, start, false);
  const before = lastOf(left);
  if (before !== undefined && reaches(before, start)) {
    [left] = split(left, before.start, false);
    start = before.start;
    if (end !== undefined && endsAfter(before, end, end.length)) end = before.end;
    hasNewer = before.hasNewer;
  }
  if (end === undefined) {
    rest = undefined;
  } else {
    const [covered, behind] = split(rest, end, true);
    const last = lastOf(covered);
    if (last !== undefined && endsAfter(last, end, end.length)) {
      end = last.end;
      hasNewer ||= last.hasNewer;
    }
    rest = behind;
  }
  const priority = scatter(number * NODES_PER_TOMBSTONE);
  return merge(merge(left, leaf({ start, end, seqno, priority, hasNewer })), rest);
}

/** Whether a span that starts before `key` ends at it or after it. */
function reaches({ end }: Span, key: Uint8Array): boolean {
  return end === undefined || compareBytes(end, key) >= 0;
}

function leaf(node: Omit<Node, "left" | "right">): Node {
  return { ...node, left: undefined, right: undefined };
}

/** The spans that start before `key` (or at it, if `isInclusive`), and the others. */
function split(tree: Tree, key: Uint8Array, isInclusive: boolean): [Tree, Tree] {
  if (tree === undefined) return [undefined, undefined];
  const order = compareBytes(tree.start, key);
  if (order < 0 || (order === 0 && isInclusive)) {
    const [middle, right] = split(tree.right, key, isInclusive);
    return [{ ...tree, right: middle }, right];
  }
  const [left, middle] = split(tree.left, key, isInclusive);
  return [left, { ...tree, left: middle }];
}

/** All spans of both; those of `left` sort before those of `right`. */
function merge(left: Tree, right: Tree): Tree {
  if (left === undefined) return right;
  if (right === undefined) return left;
  if (left.priority >= right.priority) return { ...left, right: merge(left.right, right) };
  return { ...right, left: merge(left, right.left) };
}

function lastOf(tree: Tree): Tree {
  let last = tree;
  while (last?.right !== undefined) last = last.right;
  return last;
}

function floorOf(tree: Tree, key: Uint8Array, length: number): Tree {
  let found: Tree;
  let node = tree;
  while (node !== undefined) {
    if (compareRanges(node.start, 0, node.start.length, key, 0, length) <= 0) {
      found = node;
      node = node.right;
    } else {
      node = node.left;
    }
  }
  return found;
}

function afterOf(tree: Tree, key: Uint8Array, length: number): Tree {
  let found: Tree;
  let node = tree;
  while (node !== undefined) {
    if (compareRanges(node.start, 0, node.start.length, key, 0, length) > 0) {
      found = node;
      node = node.left;
    } else {
      node = node.right;
    }
  }
  return found;
}

/** A priority: the same for each run, and without a pattern (the finalizer of MurmurHash3). */
function scatter(count: number): number {
  let hash = count + 1;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
