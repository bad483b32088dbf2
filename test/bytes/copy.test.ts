import { afterEach, describe, expect, it, vi } from "vitest";
import { copyRange } from "../../src/bytes/copy.ts";

const own = (bytes: number): Uint8Array => new Uint8Array(bytes);
const shared = (bytes: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(bytes));

const LENGTHS = [0, 1, 767, 768, 1000, 16_383, 16_384, 16_385, 40_000];

describe("copyRange", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  for (const [from, makeSource] of Object.entries({ own, shared })) {
    for (const [to, makeTarget] of Object.entries({ own, shared })) {
      it(`copies any length from ${from} memory to ${to}, wherever it lies`, () => {
        const source = makeSource(50_000).subarray(3);
        for (let i = 0; i < source.length; i++) source[i] = 1 + ((i * 7) % 251);
        for (const length of LENGTHS) {
          for (const [start, pos] of [
            [0, 0],
            [1, 4],
            [6, 1],
            [5, 5],
            [13, 7],
          ]) {
            const target = makeTarget(50_000).subarray(5);
            copyRange(target, pos, source, start, start + length);
            const expected = own(target.length);
            for (let i = 0; i < length; i++) expected[pos + i] = source[start + i];
            expect(Buffer.from(target).equals(expected)).toBe(true);
          }
        }
      });
    }
  }

  it("copies into and out of shared memory only what lies there as it does in the other", () => {
    const set = vi.spyOn(Uint8Array.prototype, "set");
    const cases = [
      [own(2000), 3, shared(2000), 8],
      [shared(2000), 16, own(2000), 1],
    ] as const;
    for (const [target, pos, source, start] of cases) {
      copyRange(target, pos, source, start, start + 1000);
    }
    const isShared = ({ buffer }: Uint8Array): boolean => buffer instanceof SharedArrayBuffer;
    let sharedCount = 0;
    for (let i = 0; i < set.mock.calls.length; i++) {
      const target = set.mock.contexts[i] as unknown as Uint8Array;
      const [source, offset = 0] = set.mock.calls[i] as [Uint8Array, number];
      if (!isShared(target) && !isShared(source)) continue;
      sharedCount++;
      expect((target.byteOffset + offset - source.byteOffset) & 7).toBe(0);
    }
    expect(sharedCount).toBe(2);
  });
});
