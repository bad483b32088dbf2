/**
 * SeparatorFst: which page of a key index a key belongs to: the transducer over the separators of
 * the pages.
 *
 * A page's separator is the shortest byte string that sorts after the page before and not after the
 * page itself. The first page has none; of the others, the number of separators at or below a key is
 * the number of its page. The structure is a path-compressed trie whose nodes know how many
 * separators lie before each of their branches, so that a descent adds up the answer. (A minimal
 * transducer would share suffixes too; among separators there are none worth sharing.)
 *
 * Beside the page, a search finds how many bytes the key has in common with that page's separator:
 * the depth at which the count last grew. The search goes on in the page from there, and no byte is
 * compared twice.
 *
 * Nodes lie in pre-order behind one byte, the WIDTH of links (2 or 4): the first branch follows its
 * parent, and offsets only go forward. A node:
 *
 *        +------+---------------+-------+---------+-----------------+--------------
 *        | head | longer label  | label | choice  | links           | first branch
 *        +------+---------------+-------+---------+-----------------+--------------
 *        |                              | in inner nodes only
 *
 * head          u8      INNER=1: two or more separators; TERMINATED=2: the shortest of them ends
 *                       behind the label; TABLE=4; the upper five bits: length of the label, or 31
 * longer label  varint  length of the label - 31, where the head has 31
 * label                 inner: bytes that all separators below share; else: the rest of the separator
 * choice, list  u8      number of branches, at most LIST_BRANCHES; their bytes, ascending
 * choice, table u8      lowest byte of a branch; u8 highest - lowest; then for each byte from the
 *                       lowest to one above the highest: u8 number of branches below it, mod 256
 * links         for each branch after the first, and once more for the end:
 *                       WIDTH bytes LE  from the end of this node to the branch; 0 for the end
 *                       WIDTH bytes LE  separators of this node before the branch; for the end, all
 *
 * A branch's byte is not part of its node's label. An index of one page has an empty transducer.
 *
 * Example: the separators "ab", "abcx", "abd" are
 *
 *   inner, TERMINATED, label "ab", list "c" "d", links (2, 2) (0, 3)
 *     leaf "x"
 *     leaf ""
 */
import { readU16, readU32 } from "../bytes/fixed.ts";
import { varintSize, writeVarint } from "../bytes/varint.ts";
import { ByteWriter } from "../bytes/writer.ts";

// On disk: never change or reuse.
const INNER = 1;
const TERMINATED = 2;
const TABLE = 4;
const LABEL_SHIFT = 3;
const LABEL_ESCAPE = 31;

/** With more branches a table of all bytes is faster than a search through a list. */
const LIST_BRANCHES = 3;
/** The largest transducer whose links fit two bytes each. */
const MAX_NARROW_BYTES = 0xffff;

export class SeparatorFst {
  /** Bytes that the key of the last `floor` shares with the separator of the page returned. */
  matched: number;

  private readonly bytes: Uint8Array;
  private readonly start: number;
  private readonly separatorCount: number;

  /** A transducer that begins at bytes[start]; its bytes must have been checked. */
  constructor(bytes: Uint8Array, start: number, separatorCount: number) {
    this.matched = 0;
    this.bytes = bytes;
    this.start = start;
    this.separatorCount = separatorCount;
  }

  /** The number of separators at or below key[0, length); sets `matched`. */
  floor(key: Uint8Array, length: number): number {
    const { bytes } = this;
    this.matched = 0;
    if (this.separatorCount === 0) return 0;
    let pos = this.start;
    const isWide = bytes[pos++] > 2;
    const linkBytes = isWide ? 8 : 4;
    // The separators below this node are those from `lo` up to `hi`.
    let lo = 0;
    let hi = this.separatorCount;
    let depth = 0;
    for (;;) {
      const head = bytes[pos++];
      let labelEnd = head >> LABEL_SHIFT;
      if (labelEnd === LABEL_ESCAPE) {
        let scale = 1;
        let byte: number;
        do {
          byte = bytes[pos++];
          labelEnd += (byte & 127) * scale;
          scale *= 128;
        } while (byte > 127);
      }
      labelEnd += pos;
      while (pos < labelEnd && depth < length && bytes[pos] === key[depth]) {
        pos++;
        depth++;
      }
      if (pos < labelEnd) {
        // All separators below this node compare with the key as the label does.
        if (depth === length || key[depth] < bytes[pos]) return lo;
        this.matched = depth;
        return hi;
      }
      if ((head & INNER) === 0) {
        this.matched = depth;
        return hi;
      }
      const first = (head & TERMINATED) >> 1;
      if (first > 0) this.matched = depth;
      if (depth === length) return lo + first;
      const byte = key[depth];
      let below = 0;
      let isEqual = false;
      let links: number;
      let branchCount: number;
      if ((head & TABLE) === 0) {
        branchCount = bytes[pos++];
        links = pos + branchCount;
        while (below < branchCount && bytes[pos + below] < byte) below++;
        isEqual = below < branchCount && bytes[pos + below] === byte;
      } else {
        const lowest = bytes[pos];
        const span = bytes[pos + 1];
        const table = pos + 2;
        links = table + span + 2;
        branchCount = bytes[links - 1];
        if (branchCount === 0) branchCount = 256;
        if (byte > lowest + span) {
          below = branchCount;
        } else if (byte >= lowest) {
          below = bytes[table + byte - lowest];
          isEqual = ((bytes[table + byte - lowest + 1] - below) & 255) === 1;
        }
      }
      let before = first;
      let offset = 0;
      let link = links + (below - 1) * linkBytes;
      if (below > 0) {
        this.matched = depth;
        offset = isWide ? readU32(bytes, link) : readU16(bytes, link);
        before = isWide ? readU32(bytes, link + 4) : readU16(bytes, link + 2);
      }
      if (!isEqual) return lo + before;
      link += linkBytes;
      hi = lo + (isWide ? readU32(bytes, link + 4) : readU16(bytes, link + 2));
      lo += before;
      pos = links + branchCount * linkBytes + offset;
      depth++;
    }
  }
}

/** Separators in ascending order, gathered until all are there. */
export class SeparatorList {
  count: number;
  private readonly bytes: ByteWriter;
  private ends: Uint32Array;

  constructor() {
    this.count = 0;
    this.bytes = new ByteWriter(4096);
    this.ends = new Uint32Array(256);
  }

  /** Bytes held so far: about what the transducer will take. */
  get byteLength(): number {
    return this.bytes.length;
  }

  /** Adds bytes[0, length), which must sort after all before it. */
  add(bytes: Uint8Array, length: number): void {
    if (this.count === this.ends.length) {
      const grown = new Uint32Array(this.count * 2);
      grown.set(this.ends);
      this.ends = grown;
    }
    this.bytes.append(bytes, 0, length);
    this.ends[this.count++] = this.bytes.length;
  }

  /** The transducer over the separators. */
  build(): Uint8Array {
    if (this.count === 0) return new Uint8Array(0);
    const narrow = this.write(2);
    return narrow.length <= MAX_NARROW_BYTES ? narrow : this.write(4);
  }

  private write(width: number): Uint8Array {
    const writer = new BackwardWriter(this.bytes.length + this.count * 8 + 64);
    this.writeNodes(writer, width);
    writer.prependNumber(width, 1);
    return writer.take();
  }

  /** Writes the trie from its last node to its first, so that a node knows where its branches are. */
  private writeNodes(writer: BackwardWriter, width: number): void {
    const stack = [this.openNode(0, this.count, 0)];
    for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
      if (node.pending > 0) {
        const i = --node.pending;
        const end = i + 1 < node.starts.length ? node.starts[i + 1] : node.end;
        stack.push(this.openNode(node.starts[i], end, node.depth + node.labelLength + 1));
        continue;
      }
      if (node.starts.length === 0) this.writeLabel(writer, node, 0);
      else this.writeInner(writer, node, width);
      stack.pop();
      stack.at(-1)?.distances.push(writer.length);
    }
  }

  private openNode(start: number, end: number, depth: number): OpenNode {
    const bytes = this.bytes.buffer;
    const first = this.startOf(start);
    const firstLength = this.ends[start] - first;
    const starts: number[] = [];
    let labelLength = firstLength - depth;
    if (end - start > 1) {
      // What the first and the last share, all between them share.
      const last = this.startOf(end - 1);
      const limit = Math.min(firstLength, this.ends[end - 1] - last);
      let shared = depth;
      while (shared < limit && bytes[first + shared] === bytes[last + shared]) shared++;
      labelLength = shared - depth;
      let previous = -1;
      for (let i = start + (firstLength === shared ? 1 : 0); i < end; i++) {
        const byte = bytes[this.startOf(i) + shared];
        if (byte !== previous) starts.push(i);
        previous = byte;
      }
    }
    return {
      start,
      end,
      depth,
      labelLength,
      starts,
      pending: starts.length,
      distances: [],
    };
  }

  private writeLabel(writer: BackwardWriter, node: OpenNode, flags: number): void {
    const { labelLength } = node;
    const from = this.startOf(node.start) + node.depth;
    writer.prepend(this.bytes.buffer, from, from + labelLength);
    if (labelLength >= LABEL_ESCAPE) writer.prependVarint(labelLength - LABEL_ESCAPE);
    writer.prependNumber((Math.min(labelLength, LABEL_ESCAPE) << LABEL_SHIFT) | flags, 1);
  }

  private writeInner(writer: BackwardWriter, node: OpenNode, width: number): void {
    const bytes = this.bytes.buffer;
    const { start, end, depth, labelLength, starts, distances } = node;
    const branchCount = starts.length;
    // The branches were written last to first; the first one's distance is the end of this node.
    const nodeEnd = distances[branchCount - 1];
    writer.prependNumber(end - start, width);
    writer.prependNumber(0, width);
    for (let i = branchCount - 1; i > 0; i--) {
      writer.prependNumber(starts[i] - start, width);
      writer.prependNumber(nodeEnd - distances[branchCount - 1 - i], width);
    }
    const branchBytes = starts.map((i) => bytes[this.startOf(i) + depth + labelLength]);
    const isTable = branchCount > LIST_BRANCHES;
    if (isTable) {
      const lowest = branchBytes[0];
      const highest = branchBytes[branchCount - 1];
      let below = branchCount;
      for (let byte = highest + 1; byte >= lowest; byte--) {
        if (below > 0 && branchBytes[below - 1] >= byte) below--;
        writer.prependNumber(below & 255, 1);
      }
      writer.prependNumber(highest - lowest, 1);
      writer.prependNumber(lowest, 1);
    } else {
      for (let i = branchCount - 1; i >= 0; i--) writer.prependNumber(branchBytes[i], 1);
      writer.prependNumber(branchCount, 1);
    }
    const isTerminated = starts[0] > start;
    this.writeLabel(writer, node, INNER | (isTerminated ? TERMINATED : 0) | (isTable ? TABLE : 0));
  }

  private startOf(i: number): number {
    return i === 0 ? 0 : this.ends[i - 1];
  }
}

/** A node whose branches are being written. */
interface OpenNode {
  /** Separators start up to end share their first `depth` bytes, and `labelLength` more. */
  readonly start: number;
  readonly end: number;
  readonly depth: number;
  readonly labelLength: number;
  /** The first separator of each branch. */
  readonly starts: readonly number[];
  /** Branches not written yet: the last ones are written first. */
  pending: number;
  /** For each branch written: bytes from its start to the end of the transducer. */
  readonly distances: number[];
}

/** Bytes written from the last to the first. */
class BackwardWriter {
  /** Bytes written so far. */
  length: number;
  private buffer: Uint8Array;

  constructor(initialBytes: number) {
    this.length = 0;
    this.buffer = new Uint8Array(initialBytes);
  }

  prepend(bytes: Uint8Array, start: number, end: number): void {
    const pos = this.reserve(end - start);
    this.buffer.set(bytes.subarray(start, end), pos);
  }

  prependNumber(value: number, width: number): void {
    const pos = this.reserve(width);
    for (let i = 0; i < width; i++) this.buffer[pos + i] = value >>> (8 * i);
  }

  prependVarint(value: number): void {
    const pos = this.reserve(varintSize(value));
    writeVarint(this.buffer, pos, value);
  }

  take(): Uint8Array {
    return this.buffer.slice(this.buffer.length - this.length);
  }

  /** Position of `count` more bytes. Replaces `buffer` when it is full, so ask before reading it. */
  private reserve(count: number): number {
    this.length += count;
    if (this.length > this.buffer.length) {
      const grown = new Uint8Array(this.length * 2);
      const used = this.length - count;
      grown.set(this.buffer.subarray(this.buffer.length - used), grown.length - used);
      this.buffer = grown;
    }
    return this.buffer.length - this.length;
  }
}
