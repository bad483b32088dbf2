/**
 * fuzzy: the keys within an edit distance of a text.
 *
 * The edit distance (Levenshtein's) is the least number of characters to insert, delete or replace
 * that turns one text into the other. After some characters of a key, all that matters is the row
 * of the usual table of distances: for each beginning of the text, how many edits turn it into
 * what was read. Of a row only the entries up to the allowed distance matter, and these lie within
 * 2 x distance + 1 places, of which the first is the row's offset.
 *
 * Written from its offset on, a row has one of a few shapes, whatever the text (6 for a distance of
 * 1, 35 for 2, 229 for 3); and the next shape, and how far the offset moves, depend on
 * the shape and on which of the next characters of the text equal the one that was read. So the
 * steps between shapes are tables made once for each distance, and the automaton of a text needs
 * nothing but, for each of its characters, the places where it occurs: no table for the text.
 *
 * ```
 *            d  o  g          row after "do": 2 1 0 1     offset 1 (the first entry <= 1), and
 *   text  0  1  2  3          for distance 1:   1 0 1     from there the shape 1 0 1
 * ```
 *
 * Bytes become characters by a table of their own (characters.ts), whose state is part of the
 * automaton's: state = 1 + offset and shape + (table's state) x (number of offsets and shapes).
 *
 * Source: K. Schulz and S. Mihov, "Fast String Correction with Levenshtein Automata" (2002),
 * sections 4 and 5, with rows in the place of sets of positions.
 */
import { InvalidArgumentError } from "../errors.ts";
import { type Automaton, DEAD } from "./automaton.ts";
import { CharacterTable, INVALID, OTHER } from "./characters.ts";

const MAX_DISTANCE = 3;

/** So that a state, with the bits below, is an integer below 2^31. */
const MAX_CHARACTERS = 256;

/** A state's bits, from the lowest: the shape, the offset, the state of the character table. */
const SHAPE_BITS = 8;
const OFFSET_BITS = 9;
const ROW_BITS: number = SHAPE_BITS + OFFSET_BITS;

/**
 * Matches the keys that at most `distance` insertions, deletions and replacements of code points
 * turn into `text`. A key that is not UTF-8 does not match.
 *
 * `distance` is 0 to 3. Each step more looks at many more keys: of 4.5 million names a search with
 * distance 1 takes less than a 300th of a scan over all keys, 2 a hundredth, 3 a twentieth (bench
 * fst).
 *
 * Throws InvalidArgumentError for another distance, and a text with half of a surrogate pair or of
 * more than 256 code points.
 */
export function fuzzy(text: string, distance: number): Automaton {
  if (!Number.isInteger(distance) || distance < 0 || distance > MAX_DISTANCE) {
    throw new InvalidArgumentError(
      `the distance is an integer from 0 to ${MAX_DISTANCE}, not ${distance}`,
    );
  }
  if (typeof text !== "string") {
    throw new InvalidArgumentError(`the text is a string, not ${typeof text}`);
  }
  const characters = Array.from(text);
  if (characters.length > MAX_CHARACTERS) {
    throw new InvalidArgumentError(
      `the text has at most ${MAX_CHARACTERS} code points, not ${characters.length}`,
    );
  }
  if (/\p{Surrogate}/u.test(text)) {
    throw new InvalidArgumentError("the text has half of a surrogate pair, which no key has");
  }
  return new Fuzzy(characters, shapesFor(distance));
}

class Fuzzy implements Automaton {
  readonly start: number;
  private readonly shapes: Shapes;
  private readonly characters: CharacterTable;
  private readonly length: number;
  /** By character, a bit for each place of the text where it is. */
  private readonly places: Int32Array;
  private readonly placeWords: number;

  constructor(text: readonly string[], shapes: Shapes) {
    const distinct = [...new Set(text)];
    this.start = FIRST_SHAPE;
    this.shapes = shapes;
    this.characters = new CharacterTable(distinct);
    this.length = text.length;
    // One word more than there are places, since a shape looks beyond the end of the text.
    this.placeWords = (text.length >>> 5) + 2;
    this.places = new Int32Array((distinct.length + 1) * this.placeWords);
    text.forEach((character, place) => {
      const number = distinct.indexOf(character) + 1;
      this.places[number * this.placeWords + (place >>> 5)] |= 1 << (place & 31);
    });
  }

  step(state: number, byte: number): number {
    if (state === DEAD) return DEAD;
    const next = this.characters.next(state >>> ROW_BITS, byte);
    if (next >= 0) {
      if (next === INVALID) return DEAD;
      return (next << ROW_BITS) | (state & ((1 << ROW_BITS) - 1));
    }
    const shape = state & ((1 << SHAPE_BITS) - 1);
    const offset = (state >>> SHAPE_BITS) & ((1 << OFFSET_BITS) - 1);
    const { vectorBits, nextShapes, shifts } = this.shapes;
    const number = -1 - next;
    const vector = number === OTHER ? 0 : this.placesFrom(number, offset) & ((1 << vectorBits) - 1);
    const step = (shape << vectorBits) | vector;
    const nextOffset = offset + shifts[step];
    if (nextShapes[step] === NO_SHAPE || nextOffset > this.length) return DEAD;
    return (nextOffset << SHAPE_BITS) | nextShapes[step];
  }

  isMatch(state: number): boolean {
    if (state === DEAD || state >>> ROW_BITS !== 0) return false;
    const shape = state & ((1 << SHAPE_BITS) - 1);
    return this.shapes.isWithin(shape, this.length - (state >>> SHAPE_BITS));
  }

  /** Bits for the places of a character from `offset` on. */
  private placesFrom(number: number, offset: number): number {
    const word = number * this.placeWords + (offset >>> 5);
    const shift = offset & 31;
    const low = this.places[word] >>> shift;
    // A shift by 32 is one by 0 in JavaScript.
    return shift === 0 ? low : low | (this.places[word + 1] << (32 - shift));
  }
}

/** Shape 0 is none, so that no state of an automaton is DEAD. */
const NO_SHAPE = 0;
const FIRST_SHAPE = 1;

/** The shapes of rows for one distance, and the steps between them. */
class Shapes {
  /** A vector says of the next so many characters of the text which equal the one read. */
  readonly vectorBits: number;
  /** By shape and vector: the next shape, and how far the offset moves. */
  readonly nextShapes: Uint16Array;
  readonly shifts: Uint8Array;
  private readonly distance: number;
  private readonly rows: readonly (readonly number[])[];

  constructor(distance: number) {
    const width = 2 * distance + 1;
    const vectors = 2 ** width;
    const first = Array.from({ length: width }, (_, i) => Math.min(i, distance + 1));
    const rows: number[][] = [[], first];
    const numbers = new Map<string, number>([[first.join(), FIRST_SHAPE]]);
    const steps: { shape: number; shift: number }[] = [];
    for (let shape = FIRST_SHAPE; shape < rows.length; shape++) {
      for (let vector = 0; vector < vectors; vector++) {
        const next = nextRow(rows[shape], vector, distance);
        const shift = next.findIndex((edits) => edits <= distance);
        const row = next.slice(shift, shift + width);
        while (row.length < width) row.push(distance + 1);
        const name = row.join();
        let number = shift === -1 ? NO_SHAPE : numbers.get(name);
        if (number === undefined) {
          number = rows.length;
          numbers.set(name, number);
          rows.push(row);
        }
        steps[shape * vectors + vector] = { shape: number, shift: Math.max(0, shift) };
      }
    }
    this.vectorBits = width;
    this.distance = distance;
    this.rows = rows;
    this.nextShapes = Uint16Array.from({ length: steps.length }, (_, i) => steps[i]?.shape ?? 0);
    this.shifts = Uint8Array.from({ length: steps.length }, (_, i) => steps[i]?.shift ?? 0);
  }

  /** Whether the entry at `place`, from the row's offset, is within the distance. */
  isWithin(shape: number, place: number): boolean {
    const row = this.rows[shape];
    return place < row.length && row[place] <= this.distance;
  }
}

/** The row after a character that equals those characters of the text that have a bit in `vector`. */
function nextRow(row: readonly number[], vector: number, distance: number): number[] {
  const over = distance + 1;
  const next: number[] = [];
  for (let i = 0; i <= row.length; i++) {
    const isEqual = i > 0 && ((vector >>> (i - 1)) & 1) === 1;
    const inserted = (row[i] ?? over) + 1;
    const replaced = (row[i - 1] ?? over) + (isEqual ? 0 : 1);
    const deleted = (next[i - 1] ?? over) + 1;
    next.push(Math.min(inserted, replaced, deleted, over));
  }
  return next;
}

/** The shapes of each distance, made when first asked for. */
const shapesByDistance: (Shapes | undefined)[] = [];

function shapesFor(distance: number): Shapes {
  let shapes = shapesByDistance[distance];
  if (shapes === undefined) {
    shapes = new Shapes(distance);
    shapesByDistance[distance] = shapes;
  }
  return shapes;
}
