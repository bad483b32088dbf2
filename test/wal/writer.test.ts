import { beforeEach, describe, expect, test } from "vitest";
import type { File, FileSystem } from "../../src/io/file-system.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { systemError } from "../../src/io/system-error.ts";
import { HEADER_BYTES, MAX_LOG_BYTES, RECORD_HEADER_BYTES } from "../../src/wal/format.ts";
import { WalWriter } from "../../src/wal/writer.ts";
import { IDENTITY, PATH, recordOf, replay, text } from "./wal.ts";

/** A file in memory whose writes and syncs fail as the test says. */
class FailingFile {
  /** How many bytes of the next write arrive before it fails; undefined: it succeeds. */
  arriving: number | undefined;
  /** Whether bytes can be read back. */
  canRead = true;
  syncError: Error | undefined;

  wrap(file: File): File {
    const writeSync = (source: Uint8Array, position: number): void => {
      const { arriving } = this;
      this.arriving = undefined;
      if (arriving !== undefined) {
        file.writeSync(source.subarray(0, arriving), position);
        throw systemError("ENOSPC", "write", PATH);
      }
      file.writeSync(source, position);
    };
    return {
      path: file.path,
      size: () => file.size(),
      readSync: (target, position) => {
        if (!this.canRead) throw systemError("EIO", "read", PATH);
        return file.readSync(target, position);
      },
      writeSync,
      write: async (source, position) => writeSync(source, position),
      sync: async () => {
        if (this.syncError !== undefined) throw this.syncError;
        await file.sync();
      },
      syncSync: () => {
        if (this.syncError !== undefined) throw this.syncError;
        file.syncSync();
      },
      truncate: (length) => file.truncate(length),
      close: () => file.close(),
    };
  }
}

let memory: MemoryFileSystem;
let failing: FailingFile;
let fileSystem: FileSystem;

beforeEach(() => {
  memory = new MemoryFileSystem();
  failing = new FailingFile();
  fileSystem = memory;
  const open = memory.open.bind(memory);
  memory.open = async (path, mode) => {
    const file = await open(path, mode);
    return mode === "read" ? file : failing.wrap(file);
  };
});

const create = (preallocateBytes = 0): Promise<WalWriter> =>
  WalWriter.create({ fileSystem, path: PATH, identity: IDENTITY, preallocateBytes });

function append(writer: WalWriter, payload: string): void {
  const record = recordOf(text(payload));
  writer.appendSync(record, record.length);
}

const replayed = async (): Promise<string[]> =>
  (await replay(new Uint8Array(), { fileSystem: memory, mode: "absolute" })).texts;

describe("a log", () => {
  test("holds what was appended, either way, in order", async () => {
    const writer = await create();
    append(writer, "a");
    const record = recordOf(text("b"));
    await writer.append(record, record.length);
    append(writer, "c");
    expect(writer.size).toBe(HEADER_BYTES + 3 * (RECORD_HEADER_BYTES + 1));
    await writer.close();
    expect(await replayed()).toEqual(["a", "b", "c"]);
    expect((await memory.stat(PATH))?.size).toBe(writer.size);
  });

  test("takes the record from the front of a larger buffer, shared or not", async () => {
    const writer = await create();
    const buffer = new Uint8Array(new SharedArrayBuffer(100), 3, 90);
    buffer.set(text("abc"), RECORD_HEADER_BYTES);
    writer.appendSync(buffer, RECORD_HEADER_BYTES + 2);
    await writer.append(buffer, RECORD_HEADER_BYTES + 3);
    expect(await replayed()).toEqual(["ab", "abc"]);
  });

  test("cannot be created where a file is, and leaves that file alone", async () => {
    append(await create(), "a");
    await expect(create()).rejects.toThrow(expect.objectContaining({ code: "EEXIST" }));
    expect(await replayed()).toEqual(["a"]);
  });

  test("leaves no file when its header cannot be written", async () => {
    failing.arriving = 10;
    await expect(create()).rejects.toThrow(expect.objectContaining({ code: "ENOSPC" }));
    expect(await memory.list("")).toEqual([]);
  });

  test("refuses a record without a payload and one that would pass the limit", async () => {
    const writer = await create();
    const record = new Uint8Array(RECORD_HEADER_BYTES);
    expect(() => writer.appendSync(record, record.length)).toThrow("payload");
    expect(writer.hasRoom(MAX_LOG_BYTES - HEADER_BYTES)).toBe(true);
    expect(writer.hasRoom(MAX_LOG_BYTES - HEADER_BYTES + 1)).toBe(false);
  });
});

describe("durableSize", () => {
  test("is what the last sync proves, not what was appended during it", async () => {
    const writer = await create();
    expect(writer.durableSize).toBe(0);
    append(writer, "a");
    const size = writer.size;
    const sync = writer.sync();
    append(writer, "b");
    await sync;
    expect(writer.durableSize).toBe(size);
    await writer.sync();
    expect(writer.durableSize).toBe(writer.size);
  });

  test("never goes back when syncs overlap", async () => {
    const writer = await create();
    append(writer, "a");
    const first = writer.sync();
    append(writer, "b");
    await Promise.all([writer.sync(), first]);
    expect(writer.durableSize).toBe(writer.size);
  });
});

describe("space taken ahead", () => {
  test("is zeros that replay as nothing, and is given back at close", async () => {
    const writer = await create(1000);
    append(writer, "a");
    const allocated = (await memory.stat(PATH))?.size;
    expect(allocated).toBe(writer.size + 1000);
    append(writer, "b");
    expect((await memory.stat(PATH))?.size).toBe(allocated);
    expect(await replayed()).toEqual(["a", "b"]);
    await writer.close();
    expect((await memory.stat(PATH))?.size).toBe(writer.size);
    expect(await replayed()).toEqual(["a", "b"]);
  });

  test.each([
    ["a quarter of a step", 250, 1000],
    ["more", 251, 0],
  ])("is taken for records of up to a quarter of it: %s", async (_, length, ahead) => {
    const writer = await create(1000);
    append(writer, "a".repeat(length - RECORD_HEADER_BYTES));
    expect((await memory.stat(PATH))?.size).toBe(writer.size + ahead);
    await writer.close();
    expect((await replayed()).map((record) => record.length)).toEqual([
      length - RECORD_HEADER_BYTES,
    ]);
  });
});

describe.each([0, 1000])("a failed append (%i bytes taken ahead)", (preallocateBytes) => {
  const LENGTH = RECORD_HEADER_BYTES + 2;

  test.each([0, 1, RECORD_HEADER_BYTES, LENGTH - 1])(
    "of which %i bytes arrived leaves a log without it, that can be appended to",
    async (arriving) => {
      const writer = await create(preallocateBytes);
      append(writer, "aa");
      const { size } = writer;
      failing.arriving = arriving;
      expect(() => append(writer, "bb")).toThrow(expect.objectContaining({ code: "ENOSPC" }));
      expect(writer.size).toBe(size);
      expect(writer.isBroken).toBe(false);
      const texts = (await replay(new Uint8Array(), { fileSystem: memory })).texts;
      expect(texts).toEqual(["aa"]);
      append(writer, "c");
      await writer.close();
      expect(await replayed()).toEqual(["aa", "c"]);
    },
  );

  test.each([
    ["that arrived whole", LENGTH, true],
    ["of which it cannot be told what arrived", 1, false],
  ])("%s breaks the writer", async (_, arriving, canRead) => {
    const writer = await create(preallocateBytes);
    append(writer, "aa");
    failing.arriving = arriving;
    failing.canRead = canRead;
    const record = recordOf(text("bb"));
    await expect(writer.append(record, record.length)).rejects.toThrow("ENOSPC");
    expect(writer.isBroken).toBe(true);
    expect(() => append(writer, "c")).toThrow("broken");
    await writer.sync();
  });
});

describe("a failed sync", () => {
  test("breaks the writer for good and is never tried again", async () => {
    const writer = await create();
    append(writer, "a");
    await writer.sync();
    const { durableSize } = writer;
    append(writer, "b");
    failing.syncError = systemError("EIO", "fdatasync", PATH);
    await expect(writer.sync()).rejects.toThrow(failing.syncError);
    const { syncError } = failing;
    failing.syncError = undefined;
    await expect(writer.sync()).rejects.toThrow(syncError);
    expect(writer.isBroken).toBe(true);
    expect(writer.durableSize).toBe(durableSize);
    expect(() => append(writer, "c")).toThrow("EIO");
  });

  test("fails a sync that began before it and ended after it", async () => {
    const writer = await create();
    append(writer, "a");
    failing.syncError = systemError("EIO", "fdatasync", PATH);
    const first = writer.sync();
    failing.syncError = undefined;
    const second = writer.sync();
    await expect(first).rejects.toThrow("EIO");
    await expect(second).rejects.toThrow("EIO");
    expect(writer.durableSize).toBe(0);
  });
});
