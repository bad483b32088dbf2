/**
 * SymbolTrie: which symbols begin at a position of a text, found byte by byte.
 *
 * A double array (Aoe, "An Efficient Digital Search Algorithm by Using a Double-Array Structure",
 * IEEE TSE 1989): the child of a node by `byte` is the cell base + byte, if that cell's label is
 * `byte`. No two nodes have the same base, so the label alone tells a child from a stranger. Half a
 * megabyte holds 16,320 symbols, and a step touches one cache line; a hash table of edges was 2 MB
 * and half as fast.
 *
 * Every single byte is a symbol; cell b, for b below 256, is the node of byte b, where walks begin.
 * A node without children has a base behind which no cell is used, so that a walk ends in one way
 * only: the processor guesses one branch a byte, and wrongly once a walk. For the same reason a node
 * where no symbol ends has one all the same, of a cost that no parse chooses.
 *
 * `cells` is public because the loops that walk it (training and encoding) are too hot for a
 * call per step. A walk is:
 *
 *   let cell = source[pos++] << 1;
 *   while (pos < end) {
 *     const byte = source[pos];
 *     cell = ((cells[cell] >> BASE_SHIFT) + byte) << 1;
 *     if ((cells[cell] & LABEL_MASK) !== (byte | LABEL_USED)) break;
 *     pos++;
 *     // cells[cell + 1] >> CODE_SHIFT is the symbol that ends here, and its low bits are the bytes
 *     // of its code; or these are NO_SYMBOL
 *   }
 */

import { ONE_BYTE_CODES, type SymbolList } from "./codes.ts";

/** Cells of byte 0 to 255 begin the array; children lie behind them, so no base is 0. */
const ROOTS = 256;
/** A used cell's label is byte | LABEL_USED; an unused cell is 0 and matches no byte. */
export const LABEL_USED = 0x100;
export const LABEL_MASK = 0x1ff;
export const BASE_SHIFT = 9;
export const CODE_SHIFT = 16;
export const COST_MASK = 0xffff;
/** The cost of a node where no symbol ends: above that of any window of an encoder. */
export const NO_SYMBOL = 0x7fff;

/** A search for siblings that looked at more cells moves the start of the next one forward. */
const SIBLING_SEARCH_CELLS = 16;

export class SymbolTrie {
  /** Pairs: base << BASE_SHIFT | label; symbol << CODE_SHIFT | bytes of its code. */
  readonly cells: Int32Array;

  constructor(symbols: SymbolList) {
    this.cells = placeNodes(new LinkedTrie(symbols));
  }
}

/** The same trie with children in linked lists: easy to insert into, slow to walk. */
class LinkedTrie {
  nodeCount: number;
  readonly labels: Uint8Array;
  /** Symbol + 1, or 0. */
  readonly symbols: Uint16Array;
  /** Node, or 0: a root is no child. */
  readonly firstChild: Int32Array;
  readonly nextSibling: Int32Array;

  constructor(list: SymbolList) {
    let capacity = ROOTS;
    for (let s = 0; s < list.count; s++) capacity += list.lengths[s] - 1;
    this.nodeCount = ROOTS;
    this.labels = new Uint8Array(capacity);
    this.symbols = new Uint16Array(capacity);
    this.firstChild = new Int32Array(capacity);
    this.nextSibling = new Int32Array(capacity);
    for (let byte = 0; byte < ROOTS; byte++) this.labels[byte] = byte;
    for (let s = 0; s < list.count; s++) {
      let pos = s * 16;
      const end = pos + list.lengths[s];
      let node = list.bytes[pos++];
      while (pos < end) node = this.childOf(node, list.bytes[pos++]);
      this.symbols[node] = s + 1;
    }
  }

  private childOf(node: number, byte: number): number {
    let child = this.firstChild[node];
    while (child !== 0 && this.labels[child] !== byte) child = this.nextSibling[child];
    if (child !== 0) return child;
    child = this.nodeCount++;
    this.labels[child] = byte;
    this.nextSibling[child] = this.firstChild[node];
    this.firstChild[node] = child;
    return child;
  }
}

/** Gives each node's children a base: nodes with many first, single children fill the holes. */
function placeNodes(trie: LinkedTrie): Int32Array {
  const { nodeCount, labels, firstChild, nextSibling } = trie;
  const bases = new Int32Array(nodeCount);
  const space = new CellSpace(nodeCount);
  for (const wantsSiblings of [true, false]) {
    for (let node = 0; node < nodeCount; node++) {
      const child = firstChild[node];
      if (child === 0 || (nextSibling[child] !== 0) !== wantsSiblings) continue;
      bases[node] = space.place(child, labels, nextSibling);
    }
  }
  // A child has a higher number than its parent, so its cell is known before its own children's.
  const cells = new Int32Array((space.end + ROOTS) * 2);
  const cellOf = new Int32Array(nodeCount);
  for (let node = 0; node < nodeCount; node++) {
    const cell = node < ROOTS ? node : cellOf[node];
    const base = firstChild[node] === 0 ? space.end : bases[node];
    const symbol = trie.symbols[node] - 1;
    const cost = symbol < 0 ? NO_SYMBOL : symbol < ONE_BYTE_CODES ? 1 : 2;
    cells[cell * 2] = (base << BASE_SHIFT) | LABEL_USED | labels[node];
    cells[cell * 2 + 1] = (Math.max(symbol, 0) << CODE_SHIFT) | cost;
    for (let child = firstChild[node]; child !== 0; child = nextSibling[child]) {
      cellOf[child] = bases[node] + labels[child];
    }
  }
  return cells;
}

/** Which cells and bases are taken, and where to look for free ones. */
class CellSpace {
  /** One more than the highest cell taken. Cells from `end` on, and bases, are free. */
  end: number;
  private isTaken: Uint8Array;
  private isBaseTaken: Uint8Array;
  /** For a child without siblings, by its label: no cell before this one fits. */
  private readonly singleStarts: Int32Array;
  /** Where the search for siblings begins: what lies before is too full to be worth a look. */
  private siblingStart: number;

  constructor(nodeCount: number) {
    this.end = ROOTS;
    this.isTaken = new Uint8Array(nodeCount * 2 + 1024).fill(1, 0, ROOTS);
    this.isBaseTaken = new Uint8Array(nodeCount * 2 + 1024);
    this.singleStarts = new Int32Array(256).fill(ROOTS);
    this.siblingStart = ROOTS;
  }

  /** Takes the first base at which all siblings of `child` find free cells. */
  place(child: number, labels: Uint8Array, nextSibling: Int32Array): number {
    // A search ends at the latest where all is free: within 256 cells and bases of the end.
    if (this.end + 1024 > this.isTaken.length) this.grow();
    const { isTaken, isBaseTaken, singleStarts } = this;
    const label = labels[child];
    const hasSiblings = nextSibling[child] !== 0;
    const start = hasSiblings ? this.siblingStart : singleStarts[label];
    let cell = start;
    while (!this.fits(cell - label, child, labels, nextSibling)) cell++;
    if (!hasSiblings) singleStarts[label] = cell + 1;
    else if (cell - start > SIBLING_SEARCH_CELLS) this.siblingStart += (cell - start) >> 1;
    const base = cell - label;
    isBaseTaken[base] = 1;
    for (let node = child; node !== 0; node = nextSibling[node]) {
      isTaken[base + labels[node]] = 1;
      this.end = Math.max(this.end, base + labels[node] + 1);
    }
    return base;
  }

  private fits(base: number, child: number, labels: Uint8Array, nextSibling: Int32Array): boolean {
    // Cells below ROOTS are taken, and a label is at most 255: a base that fits is above 0.
    if (this.isTaken[base + labels[child]] === 1 || this.isBaseTaken[base] === 1) return false;
    for (let node = nextSibling[child]; node !== 0; node = nextSibling[node]) {
      if (this.isTaken[base + labels[node]] === 1) return false;
    }
    return true;
  }

  private grow(): void {
    const isTaken = new Uint8Array(this.isTaken.length * 2);
    const isBaseTaken = new Uint8Array(isTaken.length);
    isTaken.set(this.isTaken);
    isBaseTaken.set(this.isBaseTaken);
    this.isTaken = isTaken;
    this.isBaseTaken = isBaseTaken;
  }
}
