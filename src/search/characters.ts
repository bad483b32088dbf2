/**
 * CharacterTable: tells from the bytes of UTF-8, one at a time, which character of a text it is.
 *
 * The characters of the text have the numbers from 1; any other character is OTHER. A state is a
 * beginning of a character that is not whole yet: one of the eight kinds that tell which bytes may
 * follow, or a beginning of a character of the text, which is one of these kinds but for the byte
 * that leads on to that character.
 */

/** What `next` returns for bytes that are no UTF-8. */
export const INVALID = 0;

/** The number of a character that is not in the text. */
export const OTHER = 0;

/** States: between characters, and after the first byte of a character by what may follow. */
const BETWEEN = 0;
const ONE_LEFT = 1;
const TWO_LEFT = 2;
const THREE_LEFT = 3;
const AFTER_E0 = 4;
const AFTER_ED = 5;
const AFTER_F0 = 6;
const AFTER_F4 = 7;
const KINDS = 8;

/** From state, first byte, last byte, to state; a character of one byte, or the last byte, to BETWEEN. */
const STEPS: readonly (readonly [number, number, number, number])[] = [
  [BETWEEN, 0x00, 0x7f, BETWEEN],
  [BETWEEN, 0xc2, 0xdf, ONE_LEFT],
  [BETWEEN, 0xe0, 0xe0, AFTER_E0],
  [BETWEEN, 0xe1, 0xec, TWO_LEFT],
  [BETWEEN, 0xed, 0xed, AFTER_ED],
  [BETWEEN, 0xee, 0xef, TWO_LEFT],
  [BETWEEN, 0xf0, 0xf0, AFTER_F0],
  [BETWEEN, 0xf1, 0xf3, THREE_LEFT],
  [BETWEEN, 0xf4, 0xf4, AFTER_F4],
  [ONE_LEFT, 0x80, 0xbf, BETWEEN],
  [TWO_LEFT, 0x80, 0xbf, ONE_LEFT],
  [THREE_LEFT, 0x80, 0xbf, TWO_LEFT],
  [AFTER_E0, 0xa0, 0xbf, ONE_LEFT],
  [AFTER_ED, 0x80, 0x9f, ONE_LEFT],
  [AFTER_F0, 0x90, 0xbf, TWO_LEFT],
  [AFTER_F4, 0x80, 0x8f, TWO_LEFT],
];

export class CharacterTable {
  readonly stateCount: number;
  /** By state and byte: INVALID, a state, or -1 minus the number of the character it completes. */
  private readonly table: Int16Array;

  /** The number of a character is one more than its index in `characters`, which are distinct. */
  constructor(characters: readonly string[]) {
    const encoded = characters.map((character) => new TextEncoder().encode(character));
    // A character of n bytes has at most n - 1 beginnings of its own.
    const beginnings = encoded.reduce((sum, bytes) => sum + bytes.length - 1, 0);
    const table = new Int16Array((KINDS + beginnings) * 256);
    for (const [from, first, last, to] of STEPS) {
      table.fill(to === BETWEEN ? -1 - OTHER : to, from * 256 + first, from * 256 + last + 1);
    }
    let count = KINDS;
    encoded.forEach((bytes, index) => {
      let state = BETWEEN;
      for (const byte of bytes.subarray(0, -1)) {
        const place = state * 256 + byte;
        if (table[place] < KINDS) {
          table.copyWithin(count * 256, table[place] * 256, (table[place] + 1) * 256);
          table[place] = count++;
        }
        state = table[place];
      }
      table[state * 256 + bytes[bytes.length - 1]] = -1 - (index + 1);
    });
    this.table = table;
    this.stateCount = count;
  }

  /**
   * After `byte` in `state` (0 before the first byte): INVALID, the next state if the character is
   * not whole yet, or -1 minus its number.
   */
  next(state: number, byte: number): number {
    return this.table[state * 256 + byte];
  }
}
