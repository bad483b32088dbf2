import fc from "fast-check";
import { beforeAll, describe, expect, test, vi } from "vitest";
import xxhash from "xxhash-wasm";
import { checksum, loadChecksum, PIECE_BYTES } from "../../src/bytes/checksum.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Of which the types of Node know nothing. */
const wasmMemory = (
  globalThis as unknown as {
    WebAssembly: { Memory: { prototype: { grow(pages: number): number } } };
  }
).WebAssembly.Memory.prototype;

/** Published values of XXH32 with seed 0. */
const KNOWN: [string, number][] = [
  ["", 0x02cc5d05],
  ["a", 0x550d7456],
  ["abc", 0x32d153ff],
  ["Nobody inspects the spammish repetition", 0xe2293b2f],
];

describe("checksum", () => {
  test.each(KNOWN)("of %j is the published XXH32", (text, expected) => {
    expect(checksum(bytes(text))).toBe(expected);
  });

  describe("once WebAssembly is loaded", () => {
    beforeAll(loadChecksum);

    test("is the same function of what is hashed piece by piece", async () => {
      const reference = await xxhash();
      const data = Uint8Array.from({ length: 200_000 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24);
      const shared = new Uint8Array(new SharedArrayBuffer(data.length));
      shared.set(data);
      const pieces = [1, 2, 3].flatMap((count) => [-1, 0, 1].map((i) => count * PIECE_BYTES + i));
      for (const length of [...pieces, 65_535, 65_536, 65_537, 131_072, 199_000]) {
        const expected = reference.h32Raw(data.subarray(7, 7 + length)) >>> 0;
        expect(checksum(data, 7, 7 + length)).toBe(expected);
        expect(checksum(shared, 7, 7 + length)).toBe(expected);
      }
    });

    test("detaches no buffer, which would slow down every access to any", async () => {
      // Of a module that has hashed nothing yet: what has grown once has room.
      vi.resetModules();
      const fresh = await import("../../src/bytes/checksum.ts");
      await fresh.loadChecksum();
      const grow = vi.spyOn(wasmMemory, "grow");
      const data = new Uint8Array(4 * 65_536);
      for (let length = 65_536 - 100; length <= 65_536 + 100; length++) {
        fresh.checksum(data, 0, length);
      }
      for (let length = 1; length <= data.length; length *= 2) fresh.checksum(data, 0, length);
      expect(grow).not.toHaveBeenCalled();
      grow.mockRestore();
    });

    test("is the same function at every length, offset and kind of buffer", async () => {
      const reference = await xxhash();
      fc.assert(
        fc.property(
          fc.uint8Array({ maxLength: 600 }),
          fc.nat(40),
          fc.boolean(),
          (data, start, isShared) => {
            const buffer = isShared
              ? new Uint8Array(new SharedArrayBuffer(data.length + start))
              : new Uint8Array(data.length + start);
            buffer.set(data, start);
            expect(checksum(buffer, start)).toBe(reference.h32Raw(data) >>> 0);
          },
        ),
      );
    });
  });
});
