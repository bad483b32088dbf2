import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { beforeAll, describe, expect, test } from "vitest";
import { open } from "../../src/index.ts";
import { memkv, output, temporaryDirectory } from "./harness.ts";

const PAIRS = "b\t2\na\t1\nab\t12\nc\t3\n";

async function storeOf(tsv: string): Promise<string> {
  const directory = join(temporaryDirectory(), "store");
  await output(["build", "-", directory, "--format", "tsv", "--no-compact"], tsv);
  return directory;
}

describe("build", () => {
  test.each([
    ["lines", "keys.txt", "b\na\n", "a\t\nb\t\n"],
    ["lines without a last line end", "keys.txt", "b\na", "a\t\nb\t\n"],
    ["lines of Windows", "keys.txt", "b\r\na\r\n", "a\t\nb\t\n"],
    ["lines after a byte order mark", "keys.txt", "\ufeffb\na\n", "a\t\nb\t\n"],
    ["an empty line, which is the empty key", "keys.txt", "a\n\nb\n", "\t\na\t\nb\t\n"],
    ["TSV", "pairs.tsv", PAIRS, "a\t1\nab\t12\nb\t2\nc\t3\n"],
    ["TSV with tabs in values", "pairs.tsv", "a\t1\t2\n", "a\t1\t2\n"],
    [
      "JSONL",
      "pairs.jsonl",
      '{"key":"a","value":{"n":[1]}}\n\n{"value":"x","key":"b"}\n',
      'a\t{"n":[1]}\nb\tx\n',
    ],
    ["the last of two values", "pairs.tsv", "a\t1\na\t2\n", "a\t2\n"],
    [
      "beyond ASCII, in byte order",
      "keys.txt",
      "é\nz\n\u{1f600}\n\uffee\n",
      "z\t\né\t\n\uffee\t\n\u{1f600}\t\n",
    ],
    ["nothing", "keys.txt", "", ""],
  ])("reads %s", async (_what, name, input, expected) => {
    const directory = temporaryDirectory();
    const path = join(directory, name);
    writeFileSync(path, input);
    await output(["build", path, join(directory, "store")]);
    expect(await output(["scan", join(directory, "store")])).toBe(expected);
  });

  test("reads gzip from a file and from standard input", async () => {
    const directory = temporaryDirectory();
    const path = join(directory, "pairs.tsv.gz");
    writeFileSync(path, gzipSync(PAIRS));
    await output(["build", path, join(directory, "one")]);
    await output(["build", "-", join(directory, "two"), "--format", "tsv"], gzipSync(PAIRS));
    const scanned = await output(["scan", join(directory, "one")]);
    expect(scanned).toBe("a\t1\nab\t12\nb\t2\nc\t3\n");
    expect(await output(["scan", join(directory, "two")])).toBe(scanned);
  });

  test("says what it did, as JSON too", async () => {
    const directory = temporaryDirectory();
    const args = ["build", "-", join(directory, "store"), "--format", "tsv"];
    expect(await output(args, PAIRS)).toMatch(/^4 entries in /);
    const report = JSON.parse(await output([...args, "--json"], PAIRS)) as Record<string, number>;
    expect(report).toMatchObject({ entries: 4, inputBytes: PAIRS.length });
    expect(report["diskBytes"]).toBeGreaterThan(0);
  });

  test("adds to a store that exists", async () => {
    const directory = await storeOf(PAIRS);
    await output(["build", "-", directory, "--format", "tsv", "--no-compact"], "d\t4\na\t0\n");
    expect(await output(["scan", directory])).toBe("a\t0\nab\t12\nb\t2\nc\t3\nd\t4\n");
  });

  test("makes a store that a program reads with default options", async () => {
    const store = await open(await storeOf(PAIRS));
    expect([...store.entries()]).toEqual([
      ["a", "1"],
      ["ab", "12"],
      ["b", "2"],
      ["c", "3"],
    ]);
    await store.close();
  });

  test("keeps bytes that are no text, with binary encodings", async () => {
    const directory = join(temporaryDirectory(), "store");
    const encodings = ["--key-encoding", "binary", "--value-encoding", "binary"];
    const input = Buffer.from("k\xff\t\xfe\x00\n", "latin1");
    await output(["build", "-", directory, "--format", "tsv", ...encodings], input);
    expect(await output(["scan", directory, "--json", ...encodings])).toBe(
      '{"key":"a/8=","value":"/gA="}\n',
    );
    const copy = join(temporaryDirectory(), "copy.tsv");
    await output(["export", directory, copy, ...encodings]);
    expect(readFileSync(copy).equals(input)).toBe(true);
  });

  test("reads lines across many blocks of the input", async () => {
    const directory = temporaryDirectory();
    const keys = Array.from({ length: 60_000 }, (_, i) => `key-${String(i).padStart(40, "0")}`);
    const path = join(directory, "keys.txt");
    writeFileSync(path, keys.join("\n"));
    await output(["build", path, join(directory, "store")]);
    expect(await output(["count", join(directory, "store")])).toBe("60000\n");
    expect(await output(["scan", join(directory, "store"), "--keys"])).toBe(`${keys.join("\n")}\n`);
  });
});

describe("get, put and del", () => {
  test("put, then get, then del", async () => {
    const directory = join(temporaryDirectory(), "store");
    expect(await output(["put", directory, "k", "v"])).toBe("");
    expect(await output(["get", directory, "k"])).toBe("v\n");
    expect(await output(["get", directory, "k", "--json"])).toBe(
      '{"found":true,"key":"k","value":"v"}\n',
    );
    expect(await output(["del", directory, "k", "never there"])).toBe("");
    expect(await memkv(["get", directory, "k"])).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `memkv: there is no key "k" in ${directory}\n`,
    });
    expect(await memkv(["get", directory, "k", "--json"])).toEqual({
      exitCode: 1,
      stdout: '{"found":false,"key":"k"}\n',
      stderr: "",
    });
  });

  test("put with a ttl is gone after so many milliseconds", async () => {
    const directory = join(temporaryDirectory(), "store");
    await output(["put", directory, "k", "v", "--ttl", "3600000"]);
    expect(await output(["get", directory, "k"])).toBe("v\n");
    await output(["put", directory, "k", "w", "--ttl", "0"]);
    expect(await memkv(["get", directory, "k"])).toMatchObject({ exitCode: 1, stdout: "" });
    expect(await output(["count", directory])).toBe("0\n");
  });

  test("del takes a range, or everything, and then no keys", async () => {
    const directory = join(temporaryDirectory(), "store");
    const left = async (): Promise<string> =>
      (await output(["scan", directory, "--keys"])).replaceAll("\n", " ").trim();
    for (const key of ["a", "b/1", "b/2", "c", "d"]) await output(["put", directory, key, "v"]);
    expect(await output(["del", directory, "--prefix", "b/"])).toBe("");
    expect(await left()).toBe("a c d");
    await output(["del", directory, "--gt", "a", "--lt", "d"]);
    expect(await left()).toBe("a d");
    for (const args of [[], ["a", "--prefix", "a"], ["a", "--all"]]) {
      const { exitCode, stderr } = await memkv(["del", directory, ...args]);
      expect([exitCode, stderr]).toEqual([
        2,
        expect.stringMatching(/^memkv: give keys, or a range/),
      ]);
    }
    expect(await left()).toBe("a d");
    await output(["del", directory, "--all"]);
    expect(await left()).toBe("");
  });

  test("put takes JSON, and standard input", async () => {
    const directory = join(temporaryDirectory(), "store");
    await output(["put", directory, "object", '{"a":[1,null]}', "--json"]);
    await output(["put", directory, "text"], "two\nlines\n");
    await output(["put", directory, "number", "--json"], "12");
    expect(await output(["scan", directory, "--json"])).toBe(
      '{"key":"number","value":12}\n{"key":"object","value":{"a":[1,null]}}\n{"key":"text","value":"two\\nlines\\n"}\n',
    );
  });

  test.each(["json", "utf8", "binary"])("work on a store of %s values", async (encoding) => {
    const directory = join(temporaryDirectory(), "store");
    const options = ["--value-encoding", encoding];
    await output(["put", directory, "k", "vé", ...options]);
    expect(await output(["get", directory, "k", ...options])).toBe("vé\n");
  });
});

describe("scan and count", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await storeOf(PAIRS);
  });

  const ranges: [string[], string[]][] = [
    [[], ["a", "ab", "b", "c"]],
    [
      ["--gt", "a"],
      ["ab", "b", "c"],
    ],
    [
      ["--gte", "ab"],
      ["ab", "b", "c"],
    ],
    [
      ["--lt", "b"],
      ["a", "ab"],
    ],
    [
      ["--lte", "b"],
      ["a", "ab", "b"],
    ],
    [
      ["--prefix", "a"],
      ["a", "ab"],
    ],
    [
      ["--gt", "a", "--lt", "c"],
      ["ab", "b"],
    ],
    [["--gt", "c"], []],
  ];

  test.each(ranges)("of the range %j", async (range, keys) => {
    expect(await output(["scan", directory, "--keys", ...range])).toBe(
      keys.map((key) => `${key}\n`).join(""),
    );
    expect(await output(["count", directory, ...range])).toBe(`${keys.length}\n`);
    expect(await output(["count", directory, "--json", ...range])).toBe(
      `{"count":${keys.length}}\n`,
    );
  });

  test("scan reverses and limits", async () => {
    expect(await output(["scan", directory, "--reverse", "--limit", "2"])).toBe("c\t3\nb\t2\n");
    expect(await output(["scan", directory, "--limit", "0"])).toBe("");
    expect(await output(["scan", directory, "--keys", "--json", "--limit", "1"])).toBe(
      '{"key":"a"}\n',
    );
  });
});

describe("export", () => {
  test.each(["copy.tsv", "copy.tsv.gz", "copy.jsonl", "copy.jsonl.gz"])(
    "to %s is read back by build",
    async (name) => {
      const directory = await storeOf(PAIRS);
      const path = join(temporaryDirectory(), name);
      expect(await output(["export", directory, path])).toBe("");
      const bytes = readFileSync(path);
      if (name.endsWith(".gz")) expect(gunzipSync(bytes).length).toBeGreaterThan(0);
      const copy = join(temporaryDirectory(), "store");
      await output(["build", path, copy]);
      expect(await output(["scan", copy, "--json"])).toBe(
        await output(["scan", directory, "--json"]),
      );
    },
  );

  test("to standard output is JSONL unless told otherwise", async () => {
    const directory = await storeOf(PAIRS);
    expect(await output(["export", directory, "--prefix", "b"])).toBe('{"key":"b","value":"2"}\n');
    expect(await output(["export", directory, "--format", "lines", "--lt", "b"])).toBe("a\nab\n");
  });

  test("makes JSON of what JSON does not hold, as --help says", async () => {
    const directory = join(temporaryDirectory(), "store");
    const store = await open<string, unknown>(directory);
    const bytes = Uint8Array.of(1, 2);
    await store.put("a", [7n, new Date(0), new Set(["b"]), bytes, bytes.buffer, Number.NaN]);
    await store.close();
    const value = '["7","1970-01-01T00:00:00.000Z",["b"],"AQI=","AQI=",null]';
    expect(await output(["export", directory])).toBe(`{"key":"a","value":${value}}\n`);
    const help = await output(["export", "--help"]);
    expect(help).toMatch(/Dates, big integers, sets and bytes.*\n.*become null/);
  });

  test("says how many, as JSON", async () => {
    const path = join(temporaryDirectory(), "copy.jsonl");
    expect(await output(["export", await storeOf(PAIRS), path, "--json"])).toBe('{"keys":4}\n');
  });

  test.each([
    ["tsv", '{"key":"a\\tb","value":"1"}', 'key "a\\tb" has a tab, which tsv cannot hold'],
    [
      "lines",
      '{"key":"a\\nb","value":"1"}',
      'key "a\\nb" has a line break, which lines cannot hold',
    ],
    [
      "tsv",
      '{"key":"a","value":1}',
      'key "a" has a value that is not a string, which tsv cannot hold',
    ],
    [
      "tsv",
      '{"key":"a","value":"\\n"}',
      'key "a" has a line break in its value, which tsv cannot hold',
    ],
  ])("as %s refuses %s", async (format, entry, complaint) => {
    const directory = join(temporaryDirectory(), "store");
    await output(["build", "-", directory, "--format", "jsonl"], entry);
    const { exitCode, stderr } = await memkv(["export", directory, "--format", format]);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: `memkv: ${complaint}: use --format jsonl\n`,
    });
  });
});

describe("stats, verify and compact", () => {
  test("stats say of what the key index consists", async () => {
    const directory = await storeOf(PAIRS);
    await output(["compact", directory]);
    const { disk } = JSON.parse(await output(["stats", directory, "--json"])) as {
      disk: { keyIndex: number; keyIndexParts: Record<string, number> };
    };
    const parts = Object.entries(disk.keyIndexParts);
    expect(parts.map(([name]) => name)).toEqual(["transducer", "symbols", "headers", "codes"]);
    expect(parts.reduce((sum, [, bytes]) => sum + bytes, 0)).toBe(disk.keyIndex);
    const rows = (await output(["stats", directory])).split("\n");
    for (const [name, bytes] of parts) {
      const shown = rows.find((row) => row.trim().startsWith(`${name} `));
      expect(shown).toContain(` ${bytes} `);
    }
  });

  test("compact drops what was deleted", async () => {
    const directory = await storeOf(PAIRS);
    await output(["del", directory, "a", "b"]);
    const report = JSON.parse(await output(["compact", directory, "--json"])) as Record<
      string,
      number
    >;
    expect(report["diskBytesAfter"]).toBeGreaterThan(0);
    expect(await output(["scan", directory, "--keys"])).toBe("ab\nc\n");
    expect(await output(["compact", directory])).toMatch(/ before, .* after\n$/);
  });
});

test("ingest puts stores together", async () => {
  const parts = [await storeOf("a\t1\nb\t2\n"), await storeOf("b\t3\nc\t4\n")];
  const target = join(temporaryDirectory(), "all");
  const report = JSON.parse(await output(["ingest", target, ...parts, "--json"])) as object;
  expect(report).toMatchObject({ entries: 4, segments: 2 });
  expect(await output(["scan", target])).toBe("a\t1\nb\t3\nc\t4\n");
  expect(await output(["ingest", target, parts[0], "--quiet"])).toContain("2 entries, ");
  expect(await output(["get", target, "b"])).toBe("2\n");
  const nothing = await memkv(["ingest", target, "nowhere"]);
  expect(nothing.exitCode).toBe(1);
  expect(nothing.stderr).toContain("no database and no segment file at");
});

test("checkpoint makes a second store", async () => {
  const directory = await storeOf(PAIRS);
  const target = join(temporaryDirectory(), "copy");
  const report = JSON.parse(await output(["checkpoint", directory, target, "--json"])) as object;
  expect(report).toMatchObject({ files: 1, lastSeqno: 4 });
  expect(await output(["export", target, "-"])).toBe(await output(["export", directory, "-"]));
  const again = await memkv(["checkpoint", directory, target]);
  expect(again.exitCode).toBe(1);
  expect(again.stderr).toContain("is not empty");
});

test("verify tells of what is in logs alone", async () => {
  const directory = join(temporaryDirectory(), "store");
  await output(["build", "-", directory], "a\nb\n");
  await output(["del", directory, "a"]);
  expect(await output(["verify", directory])).toMatch(
    /^sound: 2 entries in 1 segments, 1 writes in logs; \d+ bytes read\n$/,
  );
});
