/**
 * StateMarks: which elements of the states being written are targets, which a GOTO or a branch leads
 * to, and which others are more than a byte of a key. Between two marks lie bytes of keys alone: what
 * packing may code as symbols (packer.ts).
 *
 * A bit for each address, the distance from the end of the states, which does not change while they
 * grow at their front: states are written from the end on (state-writer.ts). Addresses begin at 1.
 */
const INITIAL_WORDS = 1 << 12;

export class StateMarks {
  private others: Int32Array;
  /** For 32 addresses each: a bit for each target, and the number of targets below. */
  private targets: Int32Array;

  constructor() {
    this.others = new Int32Array(INITIAL_WORDS);
    this.targets = new Int32Array(2 * INITIAL_WORDS);
  }

  /** Marks an element that is more than a byte of a key. It lies above all before it. */
  addOther(address: number): void {
    const word = address >>> 5;
    if (word >= this.others.length) this.grow(word);
    this.others[word] |= 1 << (address & 31);
  }

  /** Marks an element that an element above it leads to. */
  addTarget(address: number): void {
    const word = address >>> 5;
    if (word >= this.others.length) this.grow(word);
    this.targets[word << 1] |= 1 << (address & 31);
  }

  has(address: number): boolean {
    const word = address >>> 5;
    return (((this.others[word] | this.targets[word << 1]) >>> (address & 31)) & 1) === 1;
  }

  isTarget(address: number): boolean {
    return ((this.targets[(address >>> 5) << 1] >>> (address & 31)) & 1) === 1;
  }

  /** The first mark above `address`, or -1. */
  next(address: number): number {
    const { others, targets } = this;
    let word = (address + 1) >>> 5;
    if (word >= others.length) return -1;
    let bits = (others[word] | targets[word << 1]) & (-1 << ((address + 1) & 31));
    while (bits === 0) {
      if (++word === others.length) return -1;
      bits = others[word] | targets[word << 1];
    }
    return (word << 5) + 31 - Math.clz32(bits & -bits);
  }

  /** Makes `targetsBelow` ready, and returns room for a number for each target. */
  countTargets(): Int32Array {
    const { targets } = this;
    let count = 0;
    for (let word = 0; word < targets.length; word += 2) {
      targets[word + 1] = count;
      count += bitCount(targets[word]);
    }
    return new Int32Array(count);
  }

  /** The number of targets with lower addresses. */
  targetsBelow(address: number): number {
    const word = (address >>> 5) << 1;
    return this.targets[word + 1] + bitCount(this.targets[word] & ((1 << (address & 31)) - 1));
  }

  private grow(word: number): void {
    const count = Math.max(word + 1, this.others.length * 2);
    const others = new Int32Array(count);
    const targets = new Int32Array(2 * count);
    others.set(this.others);
    targets.set(this.targets);
    this.others = others;
    this.targets = targets;
  }
}

/** Ones in 32 bits: sums of neighbours, in twos, fours and eights, then all by a product. */
function bitCount(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
