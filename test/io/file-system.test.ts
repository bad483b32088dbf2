import { describe, expect, test } from "vitest";
import { directoryOf, joinPath } from "../../src/io/file-system.ts";

describe("paths", () => {
  test.each([
    ["000013.seg", "."],
    ["/000013.seg", "/"],
    ["data/store/000013.seg", "data/store/"],
    ["C:\\data\\store\\000013.seg", "C:\\data\\store\\"],
    ["C:\\data/store/000013.seg", "C:\\data/store/"],
    ["C:/data\\store\\000013.seg", "C:/data\\store\\"],
  ])("the directory of %s is %s", (path, directory) => {
    expect(directoryOf(path)).toBe(directory);
  });

  test("a name is joined with one slash", () => {
    expect(joinPath("data", "MANIFEST")).toBe("data/MANIFEST");
    expect(joinPath("data/", "MANIFEST")).toBe("data/MANIFEST");
    expect(joinPath(directoryOf("000013.seg"), "000014.vlog")).toBe("./000014.vlog");
  });
});
