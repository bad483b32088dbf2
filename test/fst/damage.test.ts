import { describe, expect, test } from "vitest";
import { CorruptionError, UnsupportedVersionError } from "../../src/errors.ts";
import { HEADER_BYTES } from "../../src/fst/format.ts";
import { FrozenLayer, FrozenLayerBuilder } from "../../src/fst/index.ts";
import { startsWith } from "../../src/search/starts-with.ts";
import { utf8 } from "./shapes.ts";

const all = startsWith("");

const keys = Array.from({ length: 600 }, (_, i) => {
  const name = ((i * 2_654_435_761) % 2 ** 32).toString(36);
  return utf8(`https://example.com/${name}/\u00e9${name.slice(2)}${i % 7 === 0 ? "x" : ""}.git`);
}).sort(Buffer.compare);

function build(isPacked: boolean): Uint8Array {
  const builder = new FrozenLayerBuilder({ pack: isPacked });
  keys.forEach((key, i) => {
    builder.insert(key, i * 1000);
  });
  return builder.finish();
}

const LAYERS: [string, Uint8Array][] = [
  ["packed", build(true)],
  ["not packed", build(false)],
];

test("packing changes the bytes that are damaged here", () => {
  expect(LAYERS[0][1].length).toBeLessThan(LAYERS[1][1].length);
});

describe.each(LAYERS)("a layer that is %s", (_, whole) => {
  test.each([0x01, 0x80, 0xff])("shows each byte that is changed by %i", (mask) => {
    for (let at = 0; at < whole.length; at++) {
      const bytes = whole.slice();
      bytes[at] ^= mask;
      let error: unknown;
      try {
        new FrozenLayer(bytes, { file: "a/file" });
      } catch (thrown) {
        error = thrown;
      }
      const isNewer = at >= 8 && at < 12 && bytes[8] !== 0;
      expect(error).toBeInstanceOf(isNewer ? UnsupportedVersionError : CorruptionError);
      expect((error as CorruptionError).file).toBe("a/file");
    }
  });

  test("shows that its end is missing, or that there is more", () => {
    for (let length = 0; length < whole.length; length++) {
      expect(() => new FrozenLayer(whole.subarray(0, length))).toThrow(CorruptionError);
    }
    const longer = new Uint8Array(whole.length + 1);
    longer.set(whole);
    expect(() => new FrozenLayer(longer)).toThrow(CorruptionError);
  });

  test("that is damaged and was not verified returns or throws, and verify shows it", () => {
    for (let at = HEADER_BYTES; at < whole.length; at += 3) {
      const bytes = whole.slice();
      bytes[at] ^= 1 + ((at * 37) % 255);
      onlyCorruption(() => {
        const layer = new FrozenLayer(bytes, { verify: false });
        expect(() => layer.verify()).toThrow(CorruptionError);
        for (let i = 0; i < keys.length; i += 97) {
          onlyCorruption(() => layer.get(keys[i]));
          onlyCorruption(() => layer.keyAt(i));
          onlyCorruption(() => layer.floor(keys[i]));
          onlyCorruption(() => layer.ceiling(keys[i]));
        }
        onlyCorruption(() => [...layer.entries({ limit: 50 })].length);
        onlyCorruption(() => [...layer.entries({ limit: 50, reverse: true })].length);
        onlyCorruption(() => [...layer.search(startsWith("https"), { limit: 50 })].length);
        onlyCorruption(() => [...layer.search(all, { limit: 50, reverse: true })].length);
      });
    }
  });
});

/** Damage that is not seen is a wrong answer, which is what `verify: false` says; nothing else. */
function onlyCorruption(call: () => unknown): void {
  try {
    call();
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
  }
}

test("a version to come is named with the one that is known", () => {
  const bytes = build(false);
  bytes[8] = 9;
  expect(() => new FrozenLayer(bytes)).toThrow(/format version 9.*up to 1/);
  bytes[8] = 0;
  expect(() => new FrozenLayer(bytes)).toThrow(CorruptionError);
});
