import { beforeEach, describe, expect, test } from "vitest";
import { checksum } from "../../src/bytes/checksum.ts";
import { CorruptionError, DatabaseError, UnsupportedVersionError } from "../../src/errors.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { systemError } from "../../src/io/system-error.ts";
import { decodeManifest, encodeManifest } from "../../src/manifest/format.ts";
import {
  MANIFEST_NAME,
  type Manifest,
  readManifest,
  writeManifest,
} from "../../src/manifest/manifest.ts";
import type { Run, SegmentMeta, ValueLogMeta } from "../../src/manifest/version.ts";
import { SAMPLE, segment } from "./sample.ts";

const DIRECTORY = "db";
const PATH = `${DIRECTORY}/${MANIFEST_NAME}`;

let fileSystem: MemoryFileSystem;

beforeEach(async () => {
  fileSystem = new MemoryFileSystem();
  await fileSystem.createDirectory(DIRECTORY);
});

const read = (): Promise<Manifest | undefined> => readManifest(fileSystem, DIRECTORY);
const write = (manifest: Manifest): Promise<void> => writeManifest(fileSystem, DIRECTORY, manifest);

/** Puts bytes where the manifest is. */
async function store(bytes: Uint8Array): Promise<void> {
  const file = await fileSystem.open(PATH, "create");
  file.writeSync(bytes, 0);
}

/** The bytes with a checksum that fits them. */
function resealed(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(bytes.length - 4, checksum(bytes, 0, bytes.length - 4), true);
  return bytes;
}

const withRuns = (...runs: Run[]): Manifest => withLogs([], ...runs);

const withLogs = (valueLogs: ValueLogMeta[], ...runs: Run[]): Manifest => ({
  ...SAMPLE,
  version: { runs, valueLogs },
});

/** A segment that uses 100 bytes of each of some value logs. */
const user = (...logs: number[]): SegmentMeta =>
  segment(
    5,
    "f",
    "m",
    logs.map((fileNumber) => ({ fileNumber, bytes: 100 })),
  );
const log = (fileNumber: number): ValueLogMeta => ({ fileNumber, fileBytes: 150 });

const NEW: Manifest = {
  ...withRuns(),
  nextFileNumber: 2,
  oldestWal: 1,
  newestWal: 1,
  newestWalEnd: 60,
  lastSeqno: 0,
};

const with65536 = (): SegmentMeta => ({
  ...segment(2, "a", "b"),
  lastKey: new Uint8Array(65_536).fill(0x62),
});

describe("a manifest", () => {
  test("of an empty directory is undefined", async () => {
    expect(await read()).toBeUndefined();
  });

  test.each([
    ["with runs", SAMPLE],
    ["without runs", withRuns()],
    ["with a value log", withLogs([log(2)], [user(2)])],
    ["with the longest key", withRuns([with65536()])],
    ["of a new database", NEW],
    ["at the limits", { ...withRuns(), lastSeqno: 2 ** 53 - 1, nextFileNumber: 2 ** 53 - 1 }],
    ["with long names", { ...SAMPLE, keyEncoding: "é".repeat(127), valueEncoding: "x" }],
  ])("%s is read back as it was written", async (_, manifest) => {
    await write(manifest);
    expect(await read()).toEqual(manifest);
    expect(await fileSystem.list(DIRECTORY)).toEqual([MANIFEST_NAME]);
  });

  test("is replaced by the next one", async () => {
    await write(SAMPLE);
    await write(withRuns([segment(15, "x", "y")]));
    expect((await read())?.version.runs).toEqual([[segment(15, "x", "y")]]);
  });
});

describe("a manifest that breaks an invariant", () => {
  const valid = segment(5, "f", "m");
  const CASES: [string, Manifest][] = [
    ["an id of the wrong length", { ...SAMPLE, databaseId: new Uint8Array(15) }],
    ["file number 0", { ...NEW, oldestWal: 0 }],
    ["a log from the future", { ...SAMPLE, newestWal: SAMPLE.nextFileNumber }],
    ["an oldest log after the newest", { ...SAMPLE, oldestWal: SAMPLE.newestWal + 1 }],
    ["a newest log without a header", { ...SAMPLE, newestWalEnd: 59 }],
    ["a nameless encoding", { ...SAMPLE, keyEncoding: "" }],
    ["an encoding with too long a name", { ...SAMPLE, valueEncoding: "é".repeat(128) }],
    ["an empty run", withRuns([valid], [])],
    ["a file number twice", withRuns([valid], [{ ...valid }])],
    ["a segment from the future", withRuns([{ ...valid, fileNumber: SAMPLE.nextFileNumber }])],
    ["segments out of order", withRuns([segment(1, "n", "p"), valid])],
    ["segments that share a key", withRuns([valid, segment(1, "m", "p")])],
    ["a segment whose last key sorts first", withRuns([segment(1, "b", "a")])],
    ["two keys that are one", withRuns([{ ...valid, lastKey: valid.firstKey }])],
    ["one key that is two", withRuns([{ ...valid, keyCount: 1 }])],
    ["no keys", withRuns([{ ...valid, keyCount: 0, tombstoneCount: 0 }])],
    ["more tombstones than keys", withRuns([{ ...valid, tombstoneCount: 51 }])],
    ["an empty file", withRuns([{ ...valid, fileBytes: 0 }])],
    ["a value log that nothing uses", withLogs([log(2)], [valid])],
    ["a value log that is missing", withLogs([], [user(2)])],
    ["value logs out of order", withLogs([log(3), log(2)], [user(2, 3)])],
    ["uses out of order", withLogs([log(2), log(3)], [user(3, 2)])],
    ["a use twice", withLogs([log(2)], [user(2, 2)])],
    [
      "more of a value log than it has",
      withLogs([log(2)], [user(2)], [{ ...user(2), fileNumber: 7 }]),
    ],
    ["a use of nothing", withLogs([log(2)], [segment(5, "f", "m", [{ fileNumber: 2, bytes: 0 }])])],
    ["a value log from the future", withLogs([log(20)], [user(20)])],
    ["a value log with a segment's number", withLogs([log(5)], [user(5)])],
    ["too long a key", withRuns([{ ...valid, lastKey: new Uint8Array(65_537).fill(0x7a) }])],
  ];

  test.each(CASES)("by %s is not written", async (_, manifest) => {
    await write(SAMPLE);
    await expect(write(manifest)).rejects.toThrow("bug in memkv");
    expect(await read()).toEqual(SAMPLE);
  });

  // A name of 256 bytes has no encoding; every other fault can be on disk with a right checksum.
  const onDisk = CASES.filter(([what]) => !what.includes("too long a name"));

  test.each(onDisk)("by %s is not believed", async (_, manifest) => {
    await store(encodeManifest(manifest));
    await expect(read()).rejects.toThrow(CorruptionError);
  });
});

describe("a manifest with damaged bytes", () => {
  const bytes = encodeManifest(SAMPLE);

  test("each bit flipped is a CorruptionError", () => {
    for (let offset = 0; offset < bytes.length; offset++) {
      for (let bit = 0; bit < 8; bit++) {
        const damaged = bytes.slice();
        damaged[offset] ^= 1 << bit;
        expect(() => decodeManifest(damaged, PATH)).toThrow(CorruptionError);
      }
    }
  });

  test("cut or extended at any length is a CorruptionError", () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeManifest(bytes.subarray(0, length), PATH)).toThrow(CorruptionError);
    }
    const extended = new Uint8Array(bytes.length + 1);
    extended.set(bytes);
    expect(() => decodeManifest(extended, PATH)).toThrow(CorruptionError);
  });

  test("under a checksum that fits is CorruptionError or another valid manifest", () => {
    for (let offset = 16; offset < bytes.length - 4; offset++) {
      for (const value of [0x00, 0x01, 0x7f, 0xff]) {
        const damaged = bytes.slice();
        damaged[offset] = value;
        try {
          const manifest = decodeManifest(resealed(damaged), PATH);
          expect(encodeManifest(manifest)).toEqual(damaged);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptionError);
        }
      }
    }
  });

  test("says where, what was expected and what was found", async () => {
    const damaged = bytes.slice();
    damaged[60] ^= 1;
    await store(damaged);
    await expect(read()).rejects.toMatchObject({
      code: "MEMKV_CORRUPTION",
      file: PATH,
      offset: bytes.length - 4,
      expected: expect.stringMatching(/^checksum \d+$/),
    });
  });

  test("of a newer format is an UnsupportedVersionError", async () => {
    const newer = bytes.slice();
    newer[8] = 2;
    await store(resealed(newer));
    await expect(read()).rejects.toThrow(UnsupportedVersionError);
    await expect(read()).rejects.toMatchObject({ found: 2, supported: 1 });
  });
});

describe("a replacement that fails", () => {
  test.each(["write", "sync"] as const)(
    "at %s leaves the old manifest and no other file",
    async (call) => {
      await write(SAMPLE);
      const open = fileSystem.open.bind(fileSystem);
      fileSystem.open = async (path, mode) => {
        const file = await open(path, mode);
        if (mode === "create") file[call] = () => Promise.reject(systemError("ENOSPC", call, path));
        return file;
      };
      await expect(write(withRuns())).rejects.toThrow(expect.objectContaining({ code: "ENOSPC" }));
      expect(await read()).toEqual(SAMPLE);
      expect(await fileSystem.list(DIRECTORY)).toEqual([MANIFEST_NAME]);
    },
  );

  test("at rename leaves the old manifest and no other file", async () => {
    await write(SAMPLE);
    fileSystem.rename = (from) => Promise.reject(systemError("EIO", "rename", from));
    await expect(write(withRuns())).rejects.toThrow(expect.objectContaining({ code: "EIO" }));
    expect(await read()).toEqual(SAMPLE);
    expect(await fileSystem.list(DIRECTORY)).toEqual([MANIFEST_NAME]);
  });

  test("at a rename that was done after all says that its outcome is unknown", async () => {
    await write(SAMPLE);
    const rename = fileSystem.rename.bind(fileSystem);
    fileSystem.rename = async (from, to) => {
      await rename(from, to);
      throw systemError("EIO", "rename", from);
    };
    await expect(write(withRuns())).rejects.toMatchObject({ code: "MEMKV_POISONED" });
  });

  test("at the directory's sync says that its outcome is unknown", async () => {
    await write(SAMPLE);
    const cause = systemError("EIO", "fsync", DIRECTORY);
    fileSystem.syncDirectory = () => Promise.reject(cause);
    const error = await write(withRuns()).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DatabaseError);
    expect(error).toMatchObject({ code: "MEMKV_POISONED", cause });
  });
});
