/**
 * `memkv import` over a stand-in for classic-level: a package of that name in the user's directory,
 * whose database is the file of entries that a test wrote. The real one is native.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { open } from "../../src/index.ts";
import { memkv, temporaryDirectory } from "./harness.ts";

const STAND_IN = `
import { existsSync, readFileSync } from "node:fs";
export class ClassicLevel {
  constructor(location, options) { Object.assign(this, { location, options }); }
  async open({ createIfMissing }) {
    if (createIfMissing || !existsSync(this.location)) {
      throw new Error("Database failed to open", { cause: new Error("does not exist") });
    }
    const entries = JSON.parse(readFileSync(this.location, "utf8"));
    this.entries = entries.map((entry) => entry.map((hex) => new Uint8Array(Buffer.from(hex, "hex"))));
  }
  async close() {}
  iterator() {
    let position = 0;
    const { entries, options } = this;
    if (options.keyEncoding !== "view" || options.valueEncoding !== "view") throw new Error("options");
    return {
      nextv: async (size) => entries.slice(position, (position += size)),
      close: async () => {},
    };
  }
}
`;

type Entry = [key: string | Uint8Array, value: string | Uint8Array];

/** A user's directory with the stand-in, and a database "old" with these entries, in order. */
function userWith(entries: readonly Entry[]): string {
  const directory = temporaryDirectory();
  const module = join(directory, "node_modules/classic-level");
  mkdirSync(module, { recursive: true });
  writeFileSync(join(module, "package.json"), '{ "type": "module", "exports": "./index.js" }');
  writeFileSync(join(module, "index.js"), STAND_IN);
  const hex = (data: string | Uint8Array): string => Buffer.from(data as string).toString("hex");
  writeFileSync(join(directory, "old"), JSON.stringify(entries.map((entry) => entry.map(hex))));
  return directory;
}

function importOld(directory: string, ...options: string[]): ReturnType<typeof memkv> {
  const paths = [join(directory, "old"), join(directory, "new")];
  return memkv(["import", ...paths, "--from", "leveldb", ...options], "", directory);
}

test("imports every entry, byte for byte, and says how many", async () => {
  const entries: Entry[] = Array.from({ length: 2500 }, (_, i) => [
    `key ${String(i).padStart(5, "0")}`,
    Uint8Array.of(i % 256, 0xff, i >> 8),
  ]);
  const directory = userWith(entries);
  const { exitCode, stdout, stderr } = await importOld(directory, "--json");
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  expect(JSON.parse(stdout)).toMatchObject({ entries: 2500 });
  const store = await open(join(directory, "new"), {
    keyEncoding: "binary",
    valueEncoding: "binary",
  });
  const found = [...store.entries()].map(([key, value]) => [Buffer.from(key).toString(), value]);
  expect(found).toEqual(entries);
  await store.close();
});

test("records the encodings that are asked for", async () => {
  const directory = userWith([["a", '{"n":1}']]);
  const { exitCode } = await importOld(
    directory,
    ...["--key-encoding", "utf8", "--value-encoding", "json"],
  );
  expect(exitCode).toBe(0);
  const store = await open(join(directory, "new"), { valueEncoding: "json" });
  expect(store.get("a")).toEqual({ n: 1 });
  await store.close();
});

test.each([
  ["a key that is no text", [Uint8Array.of(0xff), "1"], "key 0xff is no UTF-8: use --key-encoding"],
  ["a value that is no JSON", ["a", "{"], "key 0x61 is no json: use --value-encoding binary"],
] as [string, Entry, string][])("refuses %s", async (_what, entry, message) => {
  const directory = userWith([entry]);
  const options = ["--key-encoding", "utf8", "--value-encoding", "json"];
  const { exitCode, stderr } = await importOld(directory, ...options);
  expect(exitCode).toBe(1);
  expect(stderr).toContain(message);
});

test("refuses a store that holds something", async () => {
  const directory = userWith([["a", "1"]]);
  expect((await importOld(directory)).exitCode).toBe(0);
  const { exitCode, stderr } = await importOld(directory);
  expect(exitCode).toBe(1);
  expect(stderr).toContain("is not empty");
});

test("notices a source that gives other entries when it is compared", async () => {
  const directory = userWith([
    ["b", "1"],
    ["a", "2"],
  ]);
  const { exitCode, stderr } = await importOld(directory);
  expect(exitCode).toBe(1);
  expect(stderr).toContain("differ at key 0x62");
});

test("says what is missing: the package, the database, the kind", async () => {
  const bare = temporaryDirectory();
  const without = await importOld(bare);
  expect(without).toMatchObject({ exitCode: 1 });
  expect(without.stderr).toContain("npm install classic-level");
  const directory = userWith([]);
  const args = ["import", join(directory, "none"), join(directory, "new"), "--from", "leveldb"];
  const missing = await memkv(args, "", directory);
  expect(missing.stderr).toMatch(/cannot open .*none as LevelDB: does not exist/);
  expect((await memkv(["import", "a", "b"])).exitCode).toBe(2);
});
