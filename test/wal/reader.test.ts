import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CorruptionError, UnsupportedVersionError } from "../../src/errors.ts";
import { HEADER_BYTES, RECORD_HEADER_BYTES } from "../../src/wal/format.ts";
import { cutTail, type RecoveryMode, readPreviousLog } from "../../src/wal/reader.ts";
import { WalWriter } from "../../src/wal/writer.ts";
import { holding, IDENTITY, PATH, recordOf, replay, SYNC, text, writeLog } from "./wal.ts";

const MODES: RecoveryMode[] = ["tolerate-tail", "absolute", "point-in-time", "salvage"];

/** A copy with one bit of the byte at `offset` flipped. */
function flipped(bytes: Uint8Array, offset: number): Uint8Array {
  const copy = bytes.slice();
  copy[offset] ^= 0x10;
  return copy;
}

/** A copy with [start, end) zeroed. */
function zeroed(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const copy = bytes.slice();
  copy.fill(0, start, end);
  return copy;
}

describe("a whole log", () => {
  test.each(MODES)("is replayed entirely in mode %s", async (mode) => {
    const { bytes, offsets } = await writeLog(["a", SYNC, "bb", "ccc"]);
    const { texts, report } = await replay(bytes, { mode });
    expect(texts).toEqual(["a", "bb", "ccc"]);
    expect(report).toEqual({
      identity: IDENTITY,
      records: 3,
      bytes: 6,
      endOffset: offsets.at(-1),
      fileBytes: bytes.length,
      droppedBytes: 0,
      droppedOffset: undefined,
      reason: undefined,
      isHeaderLost: false,
      isStopped: false,
    });
  });

  test("without records ends after its header", async () => {
    const { bytes } = await writeLog([]);
    expect((await replay(bytes, { mode: "absolute" })).report.endOffset).toBe(HEADER_BYTES);
  });

  test.each(MODES)("may end in zeros in mode %s: space taken ahead", async (mode) => {
    const { bytes, offsets } = await writeLog(["a", "b"], { preallocateBytes: 5000 });
    const { texts, report } = await replay(bytes, { mode });
    expect(texts).toEqual(["a", "b"]);
    expect(report.endOffset).toBe(offsets.at(-1));
    expect(report.droppedBytes).toBe(0);
  });

  const MIB = 2 ** 20;
  test.each([MIB - 200, MIB, MIB + 1, 3 * MIB, 3 * MIB + 17])(
    "of records around %i bytes is read across chunks",
    async (length) => {
      const steps = ["a".repeat(length), "b", "c".repeat(length), "d".repeat(100), "e"];
      const { bytes } = await writeLog(steps);
      expect((await replay(bytes, { mode: "absolute" })).texts).toEqual(steps);
    },
  );
});

describe("the newest log, torn", () => {
  test("at any byte is its whole records, and what was dropped is reported", async () => {
    const steps = ["a", "bb", SYNC, "ccc", "dddd"];
    const { bytes, offsets } = await writeLog(steps);
    const texts = ["a", "bb", "ccc", "dddd"];
    for (let length = HEADER_BYTES; length < bytes.length; length++) {
      const { texts: replayed, report } = await replay(bytes.subarray(0, length));
      const count = offsets.filter((offset) => offset <= length).length - 1;
      expect(replayed).toEqual(texts.slice(0, count));
      expect(report.endOffset).toBe(offsets[count]);
      // Zeros at the end may be space taken ahead, so they do not count.
      const rest = bytes.subarray(offsets[count], length);
      expect(report.droppedBytes).toBe(rest.findLastIndex((byte) => byte !== 0) + 1);
      expect(report.droppedOffset).toBe(report.droppedBytes > 0 ? offsets[count] : undefined);
    }
  });

  test("inside its header holds nothing, and gets a new header with the cut", async () => {
    const { bytes } = await writeLog([]);
    for (let length = 0; length < bytes.length; length++) {
      const fileSystem = await holding(bytes.subarray(0, length));
      const { report } = await replay(bytes, { fileSystem });
      expect(report).toMatchObject({ records: 0, endOffset: HEADER_BYTES, isHeaderLost: true });
      await cutTail(fileSystem, PATH, report);
      const again = await replay(bytes, { fileSystem, mode: "absolute", isNewest: false });
      expect(again.report).toMatchObject({ records: 0, endOffset: HEADER_BYTES, droppedBytes: 0 });
    }
  });

  test("drops a whole record that follows a lost one which was never synced", async () => {
    const { bytes, offsets } = await writeLog(["a", SYNC, "b", "c", "d"]);
    const { texts, report } = await replay(zeroed(bytes, offsets[1], offsets[2]));
    expect(texts).toEqual(["a"]);
    expect(report).toMatchObject({
      endOffset: offsets[1],
      droppedOffset: offsets[1],
      droppedBytes: bytes.length - offsets[1],
    });
  });

  test("is cut at the end of its records, and is a whole log then", async () => {
    const { bytes, offsets } = await writeLog(["a", SYNC, "b", "c"], { preallocateBytes: 500 });
    const fileSystem = await holding(flipped(bytes, offsets[1] + RECORD_HEADER_BYTES));
    const { report } = await replay(bytes, { fileSystem });
    await cutTail(fileSystem, PATH, report);
    expect((await fileSystem.stat(PATH))?.size).toBe(offsets[1]);
    const again = await replay(bytes, { fileSystem, mode: "absolute", isNewest: false });
    expect(again.texts).toEqual(["a"]);
  });

  test("is an error in mode absolute", async () => {
    const { bytes } = await writeLog(["a", "b"]);
    const torn = replay(bytes.subarray(0, bytes.length - 1), { mode: "absolute" });
    await expect(torn).rejects.toThrow(CorruptionError);
  });
});

describe("damage to what was synced", () => {
  test("is an error that names the place, if anything after it proves the sync", async () => {
    const { bytes, offsets } = await writeLog(["a", "b", SYNC, "c", "d"]);
    const damaged = flipped(bytes, offsets[1] + RECORD_HEADER_BYTES);
    const error = await replay(damaged).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CorruptionError);
    expect(error).toMatchObject({ file: PATH, offset: offsets[1] });
  });

  test("is found by the only whole record left, far behind it", async () => {
    const steps = ["a", SYNC, "b".repeat(3 * 2 ** 20), SYNC, "c"];
    const { bytes, offsets } = await writeLog(steps);
    await expect(replay(flipped(bytes, offsets[1] + 50))).rejects.toThrow(CorruptionError);
  });

  test("is found by a record behind zeros of any length", async () => {
    const start = await writeLog(["a", SYNC, "b"]);
    for (const length of [1, 2, 3, 5, 12, 13, 16, 17, 40, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 7]) {
      const { bytes, offsets } = await writeLog(["a", SYNC, "b".repeat(length), SYNC, "c"]);
      expect(offsets[1]).toBe(start.offsets[1]);
      const damaged = zeroed(bytes, offsets[1], offsets[2]);
      await expect(replay(damaged)).rejects.toThrow(CorruptionError);
      expect((await replay(damaged, { mode: "salvage" })).texts).toEqual(["a", "c"]);
    }
  });

  test("in the header is an error once a record proves that it was synced", async () => {
    const { bytes } = await writeLog([SYNC, "a"]);
    for (let offset = 0; offset < HEADER_BYTES; offset++) {
      await expect(replay(flipped(bytes, offset))).rejects.toThrow(CorruptionError);
    }
  });

  test("stops replay there in mode point-in-time, and salvage goes on behind it", async () => {
    const { bytes, offsets } = await writeLog(["a", "b", SYNC, "c", "d"]);
    const damaged = flipped(bytes, offsets[1] + RECORD_HEADER_BYTES);
    const stopped = await replay(damaged, { mode: "point-in-time" });
    expect(stopped.texts).toEqual(["a"]);
    expect(stopped.report).toMatchObject({
      endOffset: offsets[1],
      droppedOffset: offsets[1],
      droppedBytes: bytes.length - offsets[1],
      isStopped: true,
    });
    const salvaged = await replay(damaged, { mode: "salvage" });
    expect(salvaged.texts).toEqual(["a", "c", "d"]);
    expect(salvaged.report).toMatchObject({
      endOffset: bytes.length,
      droppedOffset: offsets[1],
      droppedBytes: offsets[2] - offsets[1],
      isStopped: false,
    });
  });

  test("salvage skips several bad records, and a lost header", async () => {
    const { bytes, offsets } = await writeLog(["a", "b", "c", "d", "e", "f"]);
    const damaged = flipped(flipped(flipped(bytes, 3), offsets[1] + 1), offsets[4] + 9);
    const { texts, report } = await replay(damaged, { mode: "salvage" });
    expect(texts).toEqual(["a", "c", "d", "f"]);
    const frame = RECORD_HEADER_BYTES + 1;
    expect(report.droppedBytes).toBe(HEADER_BYTES + 2 * frame);
    expect(report.isHeaderLost).toBe(false);
  });
});

describe("a log that is not the newest", () => {
  test.each(["tolerate-tail", "absolute"] as const)(
    "may lose nothing in mode %s, synced or not",
    async (mode) => {
      const { bytes } = await writeLog(["a", "b"]);
      const torn = replay(bytes.subarray(0, bytes.length - 1), { isNewest: false, mode });
      await expect(torn).rejects.toThrow(CorruptionError);
    },
  );

  test("may end in garbage behind the end that the next one states", async () => {
    const { bytes, offsets } = await writeLog(["a", "b", "c"]);
    const options = { isNewest: false, end: offsets[2], mode: "absolute" } as const;
    const { texts, report } = await replay(flipped(bytes, offsets[2] + 3), options);
    expect(texts).toEqual(["a", "b"]);
    expect(report).toMatchObject({ endOffset: offsets[2], droppedBytes: 0 });
  });

  test("has whole records behind that end if the next one was never used", async () => {
    const { bytes, offsets } = await writeLog(["a", "b", "c", "d"]);
    const options = { isNewest: false, end: offsets[2], mode: "absolute" } as const;
    expect((await replay(bytes, options)).texts).toEqual(["a", "b", "c", "d"]);
    expect((await replay(flipped(bytes, offsets[3] + 1), options)).texts).toEqual(["a", "b", "c"]);
  });

  test("lacks records if it is shorter than the next one says", async () => {
    const { bytes, offsets } = await writeLog(["a", "b"]);
    const options = { isNewest: false, end: bytes.length };
    for (const length of [0, 10, HEADER_BYTES, offsets[1], offsets[1] + 5]) {
      await expect(replay(bytes.subarray(0, length), options)).rejects.toThrow(CorruptionError);
    }
    const zeros = zeroed(bytes, offsets[1], bytes.length);
    await expect(replay(zeros, options)).rejects.toThrow(CorruptionError);
    const stopped = await replay(zeros, { ...options, mode: "point-in-time" });
    expect(stopped.texts).toEqual(["a"]);
    expect(stopped.report.isStopped).toBe(true);
  });

  test("stops replay of the later ones in mode point-in-time", async () => {
    const { bytes } = await writeLog(["a", "b"]);
    const torn = bytes.subarray(0, bytes.length - 1);
    const { texts, report } = await replay(torn, { isNewest: false, mode: "point-in-time" });
    expect(texts).toEqual(["a"]);
    expect(report.isStopped).toBe(true);
  });
});

describe("identity", () => {
  const others = [
    { ...IDENTITY, fileNumber: 8 },
    { ...IDENTITY, databaseId: IDENTITY.databaseId.slice().reverse() },
  ];

  test.each(others)("another log is not believed (%#)", async (identity) => {
    const { bytes } = await writeLog(["a"], { identity });
    await expect(replay(bytes)).rejects.toThrow("another file's");
    await expect(readPreviousLog(await holding(bytes), PATH, IDENTITY)).rejects.toThrow(
      CorruptionError,
    );
    expect((await replay(bytes, { mode: "salvage" })).texts).toEqual([]);
    expect((await replay(bytes, { mode: "point-in-time" })).report.isStopped).toBe(true);
  });

  test.each(others)("a record of another log is not believed (%#)", async (identity) => {
    const own = await writeLog(["a", "b"]);
    const other = await writeLog(["x", "y"], { identity });
    const mixed = own.bytes.slice();
    mixed.set(other.bytes.subarray(other.offsets[1]), own.offsets[1]);
    expect((await replay(mixed)).texts).toEqual(["a"]);
    expect((await replay(mixed, { mode: "salvage" })).texts).toEqual(["a"]);
  });

  test("a record is not believed at another place of its own log", async () => {
    const { bytes, offsets } = await writeLog(["aa", "bb"]);
    const moved = bytes.slice();
    moved.copyWithin(offsets[1], offsets[0], offsets[1]);
    expect((await replay(moved)).texts).toEqual(["aa"]);
  });

  test("a copy of a log inside a payload is never replayed", async () => {
    const inner = await writeLog(["x", SYNC, "y", SYNC, "z"]);
    const fileSystem = await holding(new Uint8Array());
    await fileSystem.remove(PATH);
    const writer = await WalWriter.create({ fileSystem, path: PATH, identity: IDENTITY });
    const record = recordOf(inner.bytes);
    writer.appendSync(record, record.length);
    await writer.close();
    const file = await fileSystem.open(PATH, "update");
    file.writeSync(Uint8Array.of(0xff), HEADER_BYTES);
    const { texts, report } = await replay(inner.bytes, { fileSystem, mode: "salvage" });
    expect(texts).toEqual([]);
    expect(report.droppedBytes).toBe(record.length);
  });
});

describe("the log before", () => {
  test("is named by the header, with its end", async () => {
    const previous = { fileNumber: 5, end: 12_345_678_901 };
    const { bytes } = await writeLog(["a"], { previous });
    expect(await readPreviousLog(await holding(bytes), PATH, IDENTITY)).toEqual(previous);
  });

  test("is unknown in a first log and behind a torn header", async () => {
    const { bytes } = await writeLog(["a"]);
    expect(await readPreviousLog(await holding(bytes), PATH, IDENTITY)).toBeUndefined();
    for (const length of [0, 1, HEADER_BYTES - 1]) {
      const fileSystem = await holding(bytes.subarray(0, length));
      expect(await readPreviousLog(fileSystem, PATH, IDENTITY)).toBeUndefined();
    }
  });
});

test("a log of a newer format is an UnsupportedVersionError in every mode", async () => {
  const { bytes } = await writeLog(["a"]);
  const newer = bytes.slice();
  newer[8] = 2;
  const { checksum } = await import("../../src/bytes/checksum.ts");
  new DataView(newer.buffer).setUint32(
    HEADER_BYTES - 4,
    checksum(newer, 0, HEADER_BYTES - 4),
    true,
  );
  for (const mode of MODES) {
    await expect(replay(newer, { mode })).rejects.toThrow(UnsupportedVersionError);
  }
  const previous = readPreviousLog(await holding(newer), PATH, IDENTITY);
  await expect(previous).rejects.toThrow(UnsupportedVersionError);
});

describe("damaged bytes", () => {
  const steps = ["a", SYNC, "bbb", "c".repeat(40), SYNC, "dd", "e"];
  const texts = steps.filter((step) => typeof step === "string");
  /** Records before the last watermark, which the newest log may not lose. */
  const durableCount = 3;

  /** A log may answer with a prefix, or refuse; in mode salvage with a subset. */
  async function check(bytes: Uint8Array): Promise<void> {
    for (const mode of MODES) {
      try {
        const replayed = (await replay(bytes, { mode })).texts;
        if (mode === "salvage") {
          expect(texts.filter((value) => replayed.includes(value))).toEqual(replayed);
        } else {
          expect(texts.slice(0, replayed.length)).toEqual(replayed);
        }
      } catch (error) {
        if (!(error instanceof CorruptionError)) throw error;
        expect(["tolerate-tail", "absolute"]).toContain(mode);
      }
    }
  }

  test("each byte flipped, in each mode: a legal answer or CorruptionError", async () => {
    const { bytes } = await writeLog(steps);
    for (let offset = 0; offset < bytes.length; offset++) {
      for (const mask of [0x01, 0x80, 0xff]) {
        const damaged = bytes.slice();
        damaged[offset] ^= mask;
        await check(damaged);
      }
    }
  });

  test.each(["tolerate-tail", "absolute"] as const)(
    "a flipped byte of what was synced is an error in mode %s",
    async (mode) => {
      const { bytes, offsets } = await writeLog(steps);
      for (let offset = 0; offset < offsets[durableCount]; offset++) {
        await expect(replay(flipped(bytes, offset), { mode })).rejects.toThrow(CorruptionError);
      }
    },
  );

  test("cut, zeroed, overwritten and appended to at random", async () => {
    const { bytes } = await writeLog(steps);
    const position = fc.nat(bytes.length);
    const mutation = fc.oneof(
      fc.record({ kind: fc.constant("cut" as const), at: position }),
      fc.record({ kind: fc.constant("zero" as const), at: position, length: fc.nat(60) }),
      fc.record({ kind: fc.constant("write" as const), at: position, data: fc.uint8Array() }),
      fc.record({ kind: fc.constant("move" as const), at: position, from: position }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (mutations) => {
        let damaged = new Uint8Array(bytes.length + 200);
        damaged.set(bytes);
        damaged = damaged.subarray(0, bytes.length);
        for (const { kind, at, ...rest } of mutations) {
          if (kind === "cut") damaged = damaged.subarray(0, Math.min(at, damaged.length));
          if ("length" in rest) damaged.fill(0, at, at + rest.length);
          if ("from" in rest) damaged.copyWithin(at, rest.from);
          if ("data" in rest) {
            const grown = new Uint8Array(Math.max(damaged.length, at + rest.data.length));
            grown.set(damaged);
            grown.set(rest.data, at);
            damaged = grown;
          }
        }
        await check(damaged);
      }),
      { numRuns: 1000 },
    );
  });

  test("a length that the file cannot hold allocates nothing", async () => {
    const { bytes, offsets } = await writeLog(["a", "b"]);
    new DataView(bytes.buffer).setUint32(offsets[1] + 4, 0xffff_ffff, true);
    expect((await replay(bytes)).texts).toEqual(["a"]);
  });
});

test("views passed to onRecord hold the payload at any size", async () => {
  const payload = text("x".repeat(70_000));
  const { bytes } = await writeLog([new TextDecoder().decode(payload)]);
  expect((await replay(bytes)).texts[0].length).toBe(70_000);
});
