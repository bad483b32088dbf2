/**
 * Set algebra: the union, intersection and difference of several frozen layers, as streams.
 *
 * Each layer is gone through by a cursor; nothing is gathered, so that memory stays at a path a
 * layer, whatever their size. Where the next key of interest may lie far ahead a cursor takes a few
 * steps and then seeks: so the intersection of a small layer with a large one costs what the small
 * one does.
 */
import { compareRanges } from "../bytes/compare.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { FrozenCursor } from "./cursor.ts";
import { FrozenLayer, type FrozenRange } from "./frozen-layer.ts";

/** A range without an order or limit of its own. */
export type AlgebraRange = Omit<FrozenRange, "reverse" | "limit">;

/** A seek costs about as much as this many steps (bench fst: scan and keyAt). */
const STEPS_BEFORE_SEEK = 16;

/**
 * The keys of any of the layers, in order, each once, with its value in each layer: undefined where
 * it has none. The cost of a key grows with the number of layers.
 */
export function* union(
  layers: readonly FrozenLayer[],
  range: AlgebraRange = {},
): IterableIterator<[key: Uint8Array, values: (number | undefined)[]]> {
  const positions = open(layers, range);
  for (;;) {
    let least: Position | undefined;
    for (const position of positions) {
      if (position.isValid && (least === undefined || position.compare(least) < 0)) {
        least = position;
      }
    }
    if (least === undefined) return;
    const key = least.copyKey();
    yield [key, positions.map((position) => position.takeIf(key))];
  }
}

/** The keys of all of the layers, in order, with the values in each. */
export function* intersection(
  layers: readonly FrozenLayer[],
  range: AlgebraRange = {},
): IterableIterator<[key: Uint8Array, values: number[]]> {
  const positions = open(layers, range);
  if (positions.length === 0) return;
  // All follow the greatest key that any of them is at, until all are at the same.
  let greatest = positions[0];
  for (;;) {
    let count = 0;
    for (const position of positions) {
      if (position !== greatest) position.advanceTo(greatest);
      if (!position.isValid) return;
      if (position.compare(greatest) > 0) {
        greatest = position;
        break;
      }
      count++;
    }
    if (count < positions.length) continue;
    yield [greatest.copyKey(), positions.map((position) => position.value())];
    greatest.next();
    if (!greatest.isValid) return;
  }
}

/** The entries of the first layer whose keys none of the others has, in order. */
export function* difference(
  layer: FrozenLayer,
  others: readonly FrozenLayer[],
  range: AlgebraRange = {},
): IterableIterator<[key: Uint8Array, value: number]> {
  const [first] = open([layer], range);
  const rest = open(others, range);
  for (; first.isValid; first.next()) {
    let isElsewhere = false;
    for (const position of rest) {
      position.advanceTo(first);
      isElsewhere ||= position.isValid && position.compare(first) === 0;
    }
    if (!isElsewhere) yield [first.copyKey(), first.value()];
  }
}

function open(layers: readonly FrozenLayer[], range: AlgebraRange): Position[] {
  if (!Array.isArray(layers) || !layers.every((layer) => layer instanceof FrozenLayer)) {
    throw new InvalidArgumentError("set algebra takes layers, several of them as an array");
  }
  if (typeof range === "object" && range !== null && ("reverse" in range || "limit" in range)) {
    throw new InvalidArgumentError("set algebra goes forward and over all: no reverse, no limit");
  }
  return layers.map((layer) => new Position(layer, range));
}

/** A place in the range of one layer. */
class Position {
  private readonly layer: FrozenLayer;
  private readonly cursor: FrozenCursor;
  private readonly end: number;

  constructor(layer: FrozenLayer, range: AlgebraRange) {
    const { start, end } = layer.ordinals(range);
    this.layer = layer;
    this.cursor = layer.cursor();
    this.end = end;
    this.cursor.seekToOrdinal(start);
  }

  get isValid(): boolean {
    return this.cursor.isValid && this.cursor.ordinal < this.end;
  }

  next(): void {
    this.cursor.next();
  }

  /** Both must be at a key. */
  compare(other: Position): number {
    const { key, keyLength } = other.cursor;
    return compareRanges(this.cursor.key, 0, this.cursor.keyLength, key, 0, keyLength);
  }

  /** Moves to the first key at or after the other's. */
  advanceTo(other: Position): void {
    for (let step = 0; step < STEPS_BEFORE_SEEK; step++) {
      if (!this.isValid || this.compare(other) >= 0) return;
      this.cursor.next();
    }
    if (this.isValid && this.compare(other) < 0) {
      this.cursor.seek(other.cursor.key, other.cursor.keyLength);
    }
  }

  /** The value if the current key is `key`, which it then moves on from. */
  takeIf(key: Uint8Array): number | undefined {
    const { cursor } = this;
    if (!this.isValid) return undefined;
    if (compareRanges(cursor.key, 0, cursor.keyLength, key, 0, key.length) !== 0) return undefined;
    const value = this.value();
    cursor.next();
    return value;
  }

  value(): number {
    return this.layer.valueAt(this.cursor.ordinal);
  }

  copyKey(): Uint8Array {
    return this.cursor.key.slice(0, this.cursor.keyLength);
  }
}
