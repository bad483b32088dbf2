import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { memkv, output, temporaryDirectory } from "./harness.ts";

describe("search", () => {
  let store: string;
  beforeAll(async () => {
    store = join(temporaryDirectory(), "store");
    await output(
      ["build", "-", store, "--format", "tsv"],
      "abc\t1\nabcd\t2\nabd\t3\nbcd\t4\néa\t5\n",
    );
  });

  test.each([
    [["--regex", "ab.*d"], "abcd\t2\nabd\t3\n"],
    [["--glob", "a?c*"], "abc\t1\nabcd\t2\n"],
    [["--fuzzy", "abcd"], "abc\t1\nabcd\t2\nabd\t3\nbcd\t4\n"],
    [["--fuzzy", "ea", "--distance", "0"], ""],
    [["--fuzzy", "ea"], "éa\t5\n"],
    [["--starts-with", "ab", "--reverse", "--limit", "1"], "abd\t3\n"],
    [["--regex", ".*", "--gt", "abd", "--keys"], "bcd\néa\n"],
    [["--glob", "b*", "--json"], '{"key":"bcd","value":"4"}\n'],
  ])("%j", async (args, expected) => {
    expect(await output(["search", store, ...args])).toBe(expected);
  });

  test.each([
    [[], "one of --regex"],
    [["--regex", "a", "--glob", "b"], "one of --regex"],
    [["--regex", "("], "("],
    [["--fuzzy", "a", "--distance", "9"], "distance"],
  ])("refuses %j", async (args, message) => {
    const result = await memkv(["search", store, ...args]);
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain(message);
    expect(result.stdout).toBe("");
  });
});
