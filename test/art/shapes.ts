/**
 * Key shapes that have broken ordered structures before, each as a function from a count to that
 * many distinct keys in the order in which they are to be inserted.
 */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** An integer in [0, bound): mulberry32. */
  below(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000) * bound);
  }

  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function bigEndian(value: number): Uint8Array {
  const key = new Uint8Array(8);
  new DataView(key.buffer).setBigUint64(0, BigInt(value));
  return key;
}

function distinct(count: number, make: (i: number) => Uint8Array): Uint8Array[] {
  const seen = new Map<string, Uint8Array>();
  for (let i = 0; seen.size < count && i < 20 * count; i++) {
    const key = make(i);
    seen.set(Buffer.from(key).toString("latin1"), key);
  }
  return [...seen.values()];
}

function randomBytes(random: Random, length: number, alphabet = 256): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(alphabet));
}

function reverseBits(value: number, bits: number): number {
  let reversed = 0;
  for (let i = 0; i < bits; i++) if ((value >>> i) & 1) reversed += 2 ** (bits - 1 - i);
  return reversed;
}

export const SHAPES: Record<string, (count: number, random: Random) => Uint8Array[]> = {
  "sequential integers": (count) => Array.from({ length: count }, (_, i) => bigEndian(i)),
  "descending integers": (count) => Array.from({ length: count }, (_, i) => bigEndian(count - i)),
  "shuffled dense integers": (count, random) =>
    random.shuffle(Array.from({ length: count }, (_, i) => bigEndian(i))),
  "bit-reversed integers": (count) =>
    Array.from({ length: 2 ** Math.floor(Math.log2(count)) }, (_, i) =>
      bigEndian(reverseBits(i, Math.floor(Math.log2(count)))),
    ),
  "integers inside out": (count) =>
    Array.from({ length: count }, (_, i) => bigEndian(1e6 + (i % 2 === 0 ? i / 2 : -(i + 1) / 2))),
  timestamps: (count, random) =>
    distinct(count, (i) => text(new Date(1.6e12 + i * 1000 + random.below(3000)).toISOString())),
  "binary UUIDs": (count, random) => distinct(count, () => randomBytes(random, 16)),
  "textual UUIDs": (count, random) =>
    distinct(count, () => text(Buffer.from(randomBytes(random, 16)).toString("hex"))),
  "one common prefix of 200 bytes": (count, random) =>
    distinct(count, () => text("p".repeat(200) + random.below(1e9).toString(36))),
  "one common prefix of 300 bytes": (count, random) =>
    distinct(count, () => text("p".repeat(300) + random.below(1e9).toString(36))),
  "keys that are prefixes of each other": (count, random) =>
    random.shuffle(Array.from({ length: count }, (_, i) => new Uint8Array(i).fill(97))),
  "prefixes of each other, ascending": (count) =>
    Array.from({ length: count }, (_, i) => new Uint8Array(i)),
  "single bytes": (_, random) =>
    random.shuffle(Array.from({ length: 256 }, (_, i) => Uint8Array.of(i))),
  "all 256 bytes at every level": (count, random) =>
    distinct(count, () => randomBytes(random, random.below(4))),
  "two letters": (count, random) => distinct(count, () => randomBytes(random, random.below(40), 2)),
  "random lengths": (count, random) =>
    distinct(count, () => randomBytes(random, random.below(600), 1 + random.below(256))),
  paths: (count, random) =>
    distinct(count, () =>
      text(
        Array.from({ length: 1 + random.below(6) }, () =>
          ["usr", "share", "lib", "doc", "a", "node_modules", "index.js"].at(random.below(7)),
        ).join("/") + random.below(count),
      ),
    ),
  "keys of 64 KiB": (count, random) =>
    distinct(Math.min(count, 40), () => {
      const key = new Uint8Array(65_536 - random.below(3)).fill(120);
      key[[0, 300, 40_000, 65_000].at(random.below(4)) ?? 0] = random.below(256);
      return key;
    }),
};
