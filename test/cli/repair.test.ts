import { once } from "node:events";
import { cpSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { memkv, output, start, temporaryDirectory } from "./harness.ts";

const PAIRS = Array.from({ length: 200 }, (_, i) => `key ${i + 1000}\tvalue ${i}\n`).join("");

/** A store of 200 keys in one segment, and a directory that is not there yet. */
async function store(): Promise<{ directory: string; target: string }> {
  const parent = temporaryDirectory();
  const directory = join(parent, "store");
  await output(["build", "-", directory, "--format", "tsv"], PAIRS);
  return { directory, target: join(parent, "repaired") };
}

function segmentIn(directory: string): string {
  const segments = readdirSync(directory).filter((name) => name.endsWith(".seg"));
  expect(segments.length).toBe(1);
  return join(directory, segments[0]);
}

describe("repair", () => {
  test("of a whole store loses nothing", async () => {
    const { directory, target } = await store();
    expect(await output(["repair", directory, target])).toMatch(
      /^200 keys, .*\nnothing is lost\n$/,
    );
    expect(await output(["scan", target])).toBe(PAIRS);
    await output(["verify", target]);
  });

  test("without its manifest too", async () => {
    const { directory, target } = await store();
    rmSync(join(directory, "MANIFEST"));
    const report: unknown = JSON.parse(await output(["repair", directory, target, "--json"]));
    expect(report).toMatchObject({ manifest: "missing", keys: 200, lost: [], missing: [] });
    expect(await output(["scan", target])).toBe(PAIRS);
  });

  test("says what is lost, with exit code 1", async () => {
    const { directory, target } = await store();
    const copy = `${directory}-copy`;
    cpSync(directory, copy, { recursive: true });
    const path = segmentIn(copy);
    const bytes = readFileSync(path);
    bytes[100] ^= 1;
    writeFileSync(path, bytes);
    const { exitCode, stdout } = await memkv(["repair", copy, target]);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/lost: \d+ entries at offset \d+ of .*, keys "key \d+" to "key \d+"/);
    await output(["verify", target]);
    const json = await memkv(["repair", copy, `${target}-2`, "--json"]);
    expect(json.exitCode).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({ lost: [{ mayShowOlder: false }] });
  });

  test.skipIf(process.platform === "win32")(
    "that is interrupted leaves all of a store or none",
    async () => {
      const parent = temporaryDirectory();
      const directory = join(parent, "store");
      const target = join(parent, "repaired");
      const lines = Array.from({ length: 100_000 }, (_, i) => `key ${i}\n`).join("");
      await output(["build", "-", directory], lines);
      const watcher = watch(parent);
      const begun = once(watcher, "change");
      const child = start(["repair", directory, target]);
      const exit = once(child, "exit");
      await begun;
      watcher.close();
      child.kill("SIGINT");
      const [exitCode] = (await exit) as [number | null];
      // It may have been done when the signal came.
      if (exitCode === 0) expect(await output(["count", target])).toBe("100000\n");
      else expect({ exitCode, left: readdirSync(target) }).toEqual({ exitCode: 130, left: [] });
    },
  );

  test("refuses what cannot be", async () => {
    const { directory, target } = await store();
    expect(await memkv(["repair", directory, directory])).toMatchObject({
      exitCode: 1,
      stdout: "",
    });
    expect(await memkv(["repair", join(directory, "nowhere"), target])).toMatchObject({
      exitCode: 1,
    });
    expect(await memkv(["repair", directory])).toMatchObject({ exitCode: 2 });
  });
});
