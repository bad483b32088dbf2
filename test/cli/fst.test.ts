import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { memkv, output, temporaryDirectory } from "./harness.ts";

describe("fst", () => {
  let set: string;
  let map: string;
  beforeAll(async () => {
    set = join(temporaryDirectory(), "words.fst");
    map = join(temporaryDirectory(), "ids.fst");
    await output(["fst", "build", "-", set], "apple\nbanana\npear\npeas\n");
    await output(["fst", "build", "--map", "--sort", "-", map], "b\t20\na\t10\né\t30\nb\t21\n");
  });

  test("a set gives ranks, a map gives values", async () => {
    expect(await output(["fst", "get", set, "pear"])).toBe("2\n");
    expect(await output(["fst", "get", map, "b"])).toBe("21\n");
    expect(await output(["fst", "get", map, "b", "--json"])).toBe(
      '{"found":true,"key":"b","value":21}\n',
    );
  });

  test("a key that is not there has exit code 1", async () => {
    const result = await memkv(["fst", "get", set, "fig"]);
    expect(result).toMatchObject({ exitCode: 1, stdout: "" });
    expect(result.stderr).toContain('no key "fig"');
  });

  test.each([
    [["range"], "apple\t0\nbanana\t1\npear\t2\npeas\t3\n"],
    [["range", "--prefix", "pea", "--keys"], "pear\npeas\n"],
    [["range", "--gte", "b", "--reverse", "--limit", "2"], "peas\t3\npear\t2\n"],
    [["search", "--fuzzy", "pea"], "pear\t2\npeas\t3\n"],
    [["search", "--regex", ".*an.*", "--json"], '{"key":"banana","value":1}\n'],
  ])("%j", async (args, expected) => {
    const [verb = "", ...options] = args;
    expect(await output(["fst", verb, set, ...options])).toBe(expected);
  });

  test("build replaces a file, which whoever reads it has to its end", async () => {
    const file = join(temporaryDirectory(), "words.fst");
    await output(["fst", "build", "-", file], "old\n");
    const before = readFileSync(file);
    const reader = openSync(file, "r");
    await output(["fst", "build", "-", file], "new\nnewer\n");
    expect(readFileSync(reader)).toEqual(before);
    closeSync(reader);
    expect(await output(["fst", "range", file, "--keys"])).toBe("new\nnewer\n");
    expect(readdirSync(dirname(file))).toEqual(["words.fst"]);
  });

  test("stats and verify read the file", async () => {
    const stats = JSON.parse(await output(["fst", "stats", set, "--json"])) as Record<
      string,
      number
    >;
    const { keys, keyBytes, fileBytes, ...parts } = stats;
    expect({ keys, keyBytes }).toEqual({ keys: 4, keyBytes: 19 });
    expect(Object.keys(parts)).toEqual(["headerBytes", "symbolBytes", "stateBytes", "valueBytes"]);
    expect(Object.values(parts).reduce((sum, bytes) => sum + bytes)).toBe(fileBytes);
    expect(parts["valueBytes"]).toBe(0);
    expect(await output(["fst", "stats", set])).toContain("4 keys\n");
    expect(await output(["fst", "verify", set])).toBe("sound: 4 keys\n");
  });

  test.each([
    [["build", "-", "x.fst"], "b\na\n", 1, "line 2"],
    [["build", "--map", "-", "x.fst"], "a\t1\nb\n", 1, "line 2"],
    [["verify", "missing.fst"], "", 1, "no such file"],
    [["search", "SET"], "", 2, "one of --regex"],
    [["bild"], "", 2, "build"],
  ])("%j with bad input says what is wrong", async (args, stdin, exitCode, message) => {
    const directory = temporaryDirectory();
    const paths = args.map((arg) =>
      arg === "SET" ? set : arg.replace(/^(?=\w+\.fst$)/, `${directory}/`),
    );
    const result = await memkv(["fst", ...paths], stdin);
    expect(result.exitCode).toBe(exitCode);
    expect(result.stderr).toContain(message);
    expect(result.stderr).not.toContain("    at ");
  });

  test("a file that is no fst, or is damaged, is said to be", async () => {
    const file = join(temporaryDirectory(), "words.txt");
    writeFileSync(file, "apple");
    const result = await memkv(["fst", "verify", file]);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain(file);
  });
});
