/**
 * What the command line makes of mistakes: one clear line on standard error, exit code 1 for the
 * data and 2 for the usage, and never a stack trace.
 */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  watch,
  writeFileSync,
} from "node:fs";
import { open as openFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { FrozenLayer } from "../../src/fst/index.ts";
import { expectFailure, memkv, output, type Result, start, temporaryDirectory } from "./harness.ts";

describe("usage", () => {
  test.each([
    [["sacn", "store"], "unknown command 'sacn'\n(Did you mean scan?)"],
    [["scan", "store", "--revers"], "unknown option '--revers'\n(Did you mean --reverse?)"],
    [["scan"], "missing required argument 'directory'"],
    [["scan", "store", "more"], "too many arguments"],
    [["scan", "store", "--limit", "many"], "It must be a whole number."],
    [["scan", "store", "--limit", "-1"], "It must be a whole number."],
    [["put", "store", "k", "v", "--ttl", "-1"], "It must be a whole number."],
    [["put", "store", "k", "v", "--ttl", "soon"], "It must be a whole number."],
    [["build", "-", "store", "--format", "csv"], "Allowed choices are lines, tsv, jsonl."],
    [["put", "store", "k", "{", "--json"], "the value is not JSON"],
  ])("%j", async (args, complaint) => {
    await expectFailure(args, 2, complaint);
  });

  test("no command at all shows the help", async () => {
    const { exitCode, stderr } = await memkv([]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain("Usage: memkv");
  });

  test("--version and --help are no mistakes", async () => {
    expect(await output(["--version"])).toBe("1.2.3\n");
    for (const command of [
      "build",
      "get",
      "put",
      "del",
      "scan",
      "count",
      "stats",
      "verify",
      "compact",
      "export",
    ]) {
      const help = await output([command, "--help"]);
      expect(help).toContain(`Usage: memkv ${command}`);
      expect(help).toContain(`  $ memkv ${command}`);
    }
  });
});

describe("stores", () => {
  test.each(["get", "del", "scan", "count", "stats", "verify", "compact", "export"])(
    "%s of a directory that is not there",
    async (command) => {
      const directory = join(temporaryDirectory(), "missing");
      const key = ["get", "del"].includes(command) ? ["key"] : [];
      const complaint = `memkv: there is no store in ${directory}: check the path\n`;
      await expectFailure([command, directory, ...key], 1, complaint);
    },
  );

  test("a directory of other files", async () => {
    const directory = join(temporaryDirectory(), "photos");
    mkdirSync(directory);
    writeFileSync(join(directory, "cat.jpg"), "");
    await expectFailure(["put", directory, "k", "v"], 1, directory);
  });

  test("a store whose values are encoded otherwise", async () => {
    const directory = join(temporaryDirectory(), "store");
    await output(["put", directory, "k", "v", "--value-encoding", "json"]);
    await expectFailure(["get", directory, "k", "--value-encoding", "utf8"], 1, "json");
  });

  test("a key over 64 KiB", async () => {
    const directory = join(temporaryDirectory(), "store");
    await output(["put", directory, "k".repeat(65_536), "v"]);
    await expectFailure(["put", directory, "k".repeat(65_537), "v"], 1, "65536");
  });
});

describe("input of build", () => {
  const build = ["build", "-"];

  test("a file that is not there", async () => {
    await expectFailure(
      ["build", "/no/such/file", "store"],
      1,
      "cannot read /no/such/file: no such file or directory",
    );
  });

  test("a directory", async () => {
    const directory = temporaryDirectory();
    await expectFailure(
      ["build", directory, "store"],
      1,
      `cannot read ${directory}: it is a directory`,
    );
  });

  test.each([
    ["tsv", "a\t1\nb\n", "line 2: no tab between key and value (1 entries before it are in "],
    ["tsv", "a\t1\n\n", "line 2: no tab between key and value"],
    ["jsonl", '{"key":"a","value":1}\n{"key":', "line 2: not JSON: "],
    ["jsonl", '\n{"key":"a"}', 'line 2: not an object {"key": ..., "value": ...}'],
    ["jsonl", '{"key":1,"value":1}', "line 1: the key is not a string"],
    ["jsonl", "null", "line 1: not an object"],
    ["jsonl", '{"key":"a","value":1}\n{"key":"\\ud800","value":1}', "line 2: "],
    ["lines", `a\nb\n${"k".repeat(65_537)}\n`, "line 3: "],
  ])("%s that is malformed: %j", async (format, input, complaint) => {
    const directory = join(temporaryDirectory(), "store");
    await expectFailure(
      [...build, directory, "--format", format],
      1,
      `standard input, ${complaint}`,
      input,
    );
  });

  test("what came before a malformed line is in the store", async () => {
    const directory = join(temporaryDirectory(), "store");
    await expectFailure(
      [...build, directory, "--format", "tsv"],
      1,
      "line 3",
      "a\t1\nb\t2\nc\nd\t4\n",
    );
    expect(await output(["scan", directory])).toBe("a\t1\nb\t2\n");
  });

  test("bytes that are not UTF-8", async () => {
    const directory = join(temporaryDirectory(), "store");
    const input = Buffer.from("a\nb\n\xff\n", "latin1");
    await expectFailure([...build, directory], 1, "line 3: not valid UTF-8", input);
  });

  test("damaged gzip", async () => {
    const directory = join(temporaryDirectory(), "store");
    await expectFailure(
      [...build, directory],
      1,
      "cannot read standard input",
      Buffer.from([0x1f, 0x8b, 8, 0, 1, 2]),
    );
  });
});

test("what the system refuses is said once", async () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "MANIFEST"));
  const { stderr } = await memkv(["get", directory, "k"]);
  expect(stderr).toMatch(/^memkv: open failed: EISDIR: [^:]+\n$/);
});

describe("output of export", () => {
  test("a directory that is not there", async () => {
    const directory = join(temporaryDirectory(), "store");
    await output(["put", directory, "k", "v"]);
    await expectFailure(
      ["export", directory, "/no/such/file.tsv"],
      1,
      "cannot write /no/such/file.tsv: no such file or directory",
    );
  });

  test.skipIf(process.platform !== "linux")("a full disk", async () => {
    const directory = join(temporaryDirectory(), "store");
    await output(["put", directory, "k", "v"]);
    await expectFailure(
      ["export", directory, "/dev/full"],
      1,
      "cannot write /dev/full: no space left on the device",
    );
  });
});

describe("export to a file that it does not finish", () => {
  /** A store of two entries, the second of which TSV cannot hold. */
  async function unsuitedStore(): Promise<string> {
    const directory = join(temporaryDirectory(), "store");
    const entries = '{"key":"a","value":"1"}\n{"key":"b","value":2}\n';
    await output(["build", "-", directory, "--format", "jsonl"], entries);
    return directory;
  }

  test.each(["copy.tsv", "copy.tsv.gz"])("leaves none: %s", async (name) => {
    const target = temporaryDirectory();
    const { exitCode } = await memkv(["export", await unsuitedStore(), join(target, name)]);
    expect({ exitCode, left: readdirSync(target) }).toEqual({ exitCode: 1, left: [] });
  });

  test("leaves the one that was there", async () => {
    const target = temporaryDirectory();
    const path = join(target, "copy.tsv");
    writeFileSync(path, "an older export");
    const { exitCode } = await memkv(["export", await unsuitedStore(), path]);
    expect({ exitCode, left: readdirSync(target) }).toEqual({ exitCode: 1, left: ["copy.tsv"] });
    expect(readFileSync(path, "utf8")).toBe("an older export");
  });

  test.skipIf(process.platform === "win32")("replaces the file that a link leads to", async () => {
    const directory = temporaryDirectory();
    const store = join(directory, "store");
    await output(["put", store, "a", "1"]);
    writeFileSync(join(directory, "file.tsv"), "an older export", { mode: 0o600 });
    symlinkSync("file.tsv", join(directory, "link.tsv"));
    await output(["export", store, join(directory, "link.tsv")]);
    expect(lstatSync(join(directory, "link.tsv")).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(directory, "file.tsv"), "utf8")).toBe("a\t1\n");
    expect(statSync(join(directory, "file.tsv")).mode & 0o777).toBe(0o600);
  });
});

describe.each([
  ["export", (path: string, store: string) => ["export", store, path, "--format", "lines"], "a\n"],
  ["fst build", (path: string) => ["fst", "build", "-", path, "--quiet"], undefined],
] as const)("a file that %s writes", (_name, argsFor, content) => {
  /** Has the command write there. */
  async function write(path: string): Promise<Result> {
    const store = join(temporaryDirectory(), "store");
    await output(["put", store, "a", "1"]);
    return await memkv(argsFor(path, store), "a\n");
  }

  function expectWritten(result: Result, path: string): void {
    expect(result).toMatchObject({ exitCode: 0, stderr: "" });
    const bytes = readFileSync(path);
    if (content === undefined) expect(new FrozenLayer(bytes).size).toBe(1);
    else expect(bytes.toString()).toBe(content);
  }

  test("has a name as long as can be", async () => {
    const path = join(temporaryDirectory(), "n".repeat(255));
    expectWritten(await write(path), path);
  });

  test("cannot lie in a file", async () => {
    const path = join(temporaryDirectory(), "file");
    writeFileSync(path, "");
    const { exitCode, stderr } = await write(join(path, "copy.jsonl"));
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: `memkv: cannot write ${path}/copy.jsonl: part of the path is not a directory\n`,
    });
  });

  describe.skipIf(process.platform === "win32")("where modes and links are", () => {
    test("keeps its mode, whatever the umask", async () => {
      const path = join(temporaryDirectory(), "file");
      writeFileSync(path, "old");
      chmodSync(path, 0o666);
      expectWritten(await write(path), path);
      expect(statSync(path).mode & 0o7777).toBe(0o666);
    });

    test("comes to be where a link leads", async () => {
      const directory = temporaryDirectory();
      const link = join(directory, "link");
      symlinkSync("file", link);
      expectWritten(await write(link), join(directory, "file"));
      expect(lstatSync(link).isSymbolicLink()).toBe(true);
    });

    test.each([
      ["its directory may not be written to", 0o555],
      // Of others' files in such a directory, only their owners may remove or replace any.
      ["no other may take its name", 0o1777],
    ])("is written in place if %s", async (_, directoryMode) => {
      const directory = temporaryDirectory();
      const path = join(directory, "file");
      writeFileSync(path, "old, and longer than what is to come, by far: it is cut");
      chmodSync(path, 0o666);
      chmodSync(directory, directoryMode);
      const result = await unprivileged(() => write(path));
      chmodSync(directory, 0o755);
      expectWritten(result, path);
      expect(readdirSync(directory)).toEqual(["file"]);
    });

    test("stays as it was if it may not be written to", async () => {
      const directory = temporaryDirectory();
      const path = join(directory, "file");
      writeFileSync(path, "old");
      chmodSync(path, 0o444);
      chmodSync(directory, 0o777);
      const { exitCode, stderr } = await unprivileged(() => write(path));
      expect({ exitCode, stderr }).toEqual({
        exitCode: 1,
        stderr: `memkv: cannot write ${path}: permission denied\n`,
      });
      expect(readFileSync(path, "utf8")).toBe("old");
    });
  });
});

/** Does something as a user whom modes bind: they do not bind root. */
async function unprivileged<T>(work: () => Promise<T>): Promise<T> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65534);
  try {
    return await work();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

describe("as a process", () => {
  async function largeStore(): Promise<string> {
    const directory = join(temporaryDirectory(), "store");
    const lines = Array.from({ length: 50_000 }, (_, i) => `key-${i}\tvalue-${i}`);
    await output(["build", "-", directory, "--format", "tsv", "--no-compact"], lines.join("\n"));
    return directory;
  }

  test("scan ends quietly when its reader goes away", async () => {
    const child = start(["scan", await largeStore()]);
    const { stdout, stderr } = child;
    if (stdout === null || stderr === null) throw new Error("no pipes");
    const complaints = text(stderr);
    const exit = once(child, "exit");
    // Comes with the first output, or at the end if there is none.
    await once(stdout, "readable");
    stdout.destroy();
    const [exitCode] = await exit;
    expect({ exitCode, complaints: await complaints }).toEqual({ exitCode: 0, complaints: "" });
  });

  test("an error leaves with its exit code", async () => {
    const child = start(["count", "/no/such/store"]);
    const [exitCode] = await once(child, "exit");
    expect(exitCode).toBe(1);
  });

  test("a mistake leaves with its exit code where nobody reads of it", async () => {
    const child = start(["no-such-command"]);
    const exit = once(child, "exit");
    child.stderr?.destroy();
    expect(await exit).toEqual([2, null]);
  });

  test.skipIf(process.platform === "win32")(
    "build that is interrupted leaves a store that opens",
    async () => {
      const directory = join(temporaryDirectory(), "store");
      const child = start(["build", "-", directory]);
      const { stdin, stderr } = child;
      if (stdin === null || stderr === null) throw new Error("no pipes");
      const complaints = text(stderr);
      stdin.on("error", () => undefined);
      const lines = Array.from({ length: 100_000 }, (_, i) => `key-${i}\n`).join("");
      // The pipe takes all of this only once most of it has been read and written to the store.
      await new Promise((resolve) => stdin.write(lines, resolve));
      child.kill("SIGINT");
      const [exitCode] = (await once(child, "exit")) as [number | null];
      expect(exitCode).toBe(130);
      expect(await complaints).toMatch(/^memkv: interrupted; [\d,]+ entries are in /);
      expect(Number(await output(["count", directory]))).toBeGreaterThan(0);
      await output(["verify", directory]);
    },
  );

  test.skipIf(process.platform === "win32")(
    "export that is interrupted leaves all of a file or none",
    async () => {
      const store = await largeStore();
      const target = temporaryDirectory();
      const watcher = watch(target);
      const begun = once(watcher, "change");
      const child = start(["export", store, join(target, "copy.jsonl")]);
      const exit = once(child, "exit");
      await begun;
      watcher.close();
      child.kill("SIGINT");
      const [exitCode] = (await exit) as [number | null];
      const left = readdirSync(target).map((name) => [
        name,
        readFileSync(join(target, name), "utf8").split("\n").length - 1,
      ]);
      // It may have been done when the signal came.
      expect({ exitCode, left }).toEqual(
        exitCode === 0
          ? { exitCode: 0, left: [["copy.jsonl", 50_000]] }
          : { exitCode: 130, left: [] },
      );
    },
  );

  test.skipIf(process.platform === "win32")(
    "export to a pipe whose reader stands still ends with the first signal",
    async () => {
      const directory = temporaryDirectory();
      const store = join(directory, "store");
      const pipe = join(directory, "pipe");
      // Few entries, and more than a pipe holds.
      const value = "v".repeat(200_000);
      const lines = Array.from({ length: 20 }, (_, i) => `key-${i}\t${value}`);
      await output(["build", "-", store, "--format", "tsv"], lines.join("\n"));
      execFileSync("mkfifo", [pipe]);
      const child = start(["export", store, pipe]);
      const exit = once(child, "exit");
      const reader = await openFile(pipe, "r");
      await reader.read(Buffer.alloc(1));
      child.kill("SIGINT");
      expect(await exit).toEqual([null, "SIGINT"]);
      await reader.close();
    },
  );
});
