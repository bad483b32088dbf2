import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { WordCopy } from "../../src/bytes/word-copy.ts";

const own = (bytes: number): Uint8Array => new Uint8Array(bytes);
const shared = (bytes: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(bytes));

/** Above what is copied by words. */
const MAX_LENGTH = 140;
const ROOM = 400;

/** `count` arrays that do not begin where their memory does, with bytes that tell their places. */
function arrays(make: (bytes: number) => Uint8Array, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, k) => {
    const array = make(ROOM + 9).subarray(k + 1, k + 1 + ROOM);
    for (let i = 0; i < ROOM; i++) array[i] = (i * 7 + k * 101) % 251;
    return array;
  });
}

describe("WordCopy", () => {
  for (const [from, makeSource] of Object.entries({ own, shared })) {
    for (const [to, makeTarget] of Object.entries({ own, shared })) {
      it(`copies a piece of any length from ${from} memory to ${to}, and nothing beside it`, () => {
        const [source] = arrays(makeSource, 1);
        const wordCopy = new WordCopy();
        for (let length = 0; length <= MAX_LENGTH; length++) {
          for (const [start, pos] of [
            [0, 0],
            [3, 1],
            [ROOM - length, 2],
            [1, ROOM - length],
          ]) {
            const [target] = arrays(makeTarget, 1);
            const expected = target.slice();
            for (let i = 0; i < length; i++) expected[pos + i] = source[start + i];
            wordCopy.copy(target, pos, source, start, start + length);
            expect(Buffer.from(target).equals(expected)).toBe(true);
          }
        }
      });
    }
  }

  it("keeps no source that is larger than was said", () => {
    const [source] = arrays(own, 1);
    const [target] = arrays(shared, 1);
    for (const [maxSourceBytes, isKept] of [
      [ROOM - 1, false],
      [ROOM, true],
    ] as const) {
      const wordCopy = new WordCopy(maxSourceBytes);
      for (const length of [3, 60]) {
        wordCopy.copy(target, 5, source, 1, 1 + length);
        expect(target.slice(5, 5 + length)).toEqual(source.slice(1, 1 + length));
      }
      expect(Reflect.get(wordCopy, "source") === source).toBe(isKept);
    }
  });

  it("follows when pieces come from other arrays, or go to others", () => {
    const copies = fc.array(
      fc.record({
        source: fc.nat(2),
        target: fc.nat(2),
        start: fc.nat(ROOM - MAX_LENGTH),
        pos: fc.nat(ROOM - MAX_LENGTH),
        length: fc.nat(MAX_LENGTH),
      }),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(copies, (pieces) => {
        const sources = arrays(own, 3);
        const targets = arrays(shared, 3);
        const expected = targets.map((target) => target.slice());
        const wordCopy = new WordCopy();
        for (const { source, target, start, pos, length } of pieces) {
          wordCopy.copy(targets[target], pos, sources[source], start, start + length);
          expected[target].set(sources[source].subarray(start, start + length), pos);
        }
        expect(targets.map((target) => target.slice())).toEqual(expected);
      }),
    );
  });
});
