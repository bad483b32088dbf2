import { describe, expect, test } from "vitest";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatShare,
  formatTable,
} from "../../src/cli/text.ts";

describe("numbers as people read them", () => {
  test.each([
    [0, "0 bytes"],
    [999, "999 bytes"],
    [1000, "1.00 kB"],
    [999_499, "999 kB"],
    [999_500, "1.00 MB"],
    [1_234_567, "1.23 MB"],
    [12_345_678_901_234, "12.3 TB"],
  ])("%d bytes are %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  test.each([
    [0.4, "0 s"],
    [59.4, "59 s"],
    [59.6, "1 min 0 s"],
    [75, "1 min 15 s"],
    [3725, "1 h 2 min"],
  ])("%d seconds are %s", (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });

  test("counts, shares and tables", () => {
    expect(formatCount(1_234_567)).toBe("1,234,567");
    expect(formatShare(1, 3)).toBe("33.3 %");
    expect(formatShare(0, 0)).toBe("-");
    expect(
      formatTable([
        ["a", "1"],
        ["long", "234", "x"],
      ]),
    ).toBe("a       1\nlong  234  x");
  });
});
