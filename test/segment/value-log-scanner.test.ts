/** A cursor's walk over values of value logs: what it reads ahead must not show but in the number of reads. */
import { describe, expect, test } from "vitest";
import { ValueView } from "../../src/cursor/value-view.ts";
import type { ValuePlace } from "../../src/entry.ts";
import { CorruptionError } from "../../src/errors.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { ValueLog } from "../../src/segment/value-log.ts";
import { ValueLogScanner } from "../../src/segment/value-log-scanner.ts";
import { ValueLogWriter } from "../../src/segment/value-log-writer.ts";
import { FaultFileSystem } from "../../src/testing/fault-file-system.ts";
import { Random } from "../../src/testing/random.ts";
import { IDENTITY } from "./segments.ts";

const CHUNK = 65_536;

/** Bytes that say `seed`; every other one shrinks. */
function makeValue(length: number, seed: number): Uint8Array {
  const random = new Random(seed);
  return Uint8Array.from({ length }, (_, i) => (seed % 2 === 0 ? random.below(256) : i >> 5));
}

interface Stored {
  readonly fileSystem: FaultFileSystem;
  readonly log: ValueLog;
  readonly values: readonly Uint8Array[];
  readonly places: readonly ValuePlace[];
  /** Shows value i. */
  show(scanner: ValueLogScanner, i: number): Buffer;
  reads(): number;
}

async function store(lengths: readonly number[], isCompressing = false): Promise<Stored> {
  const fileSystem = new FaultFileSystem(new MemoryFileSystem());
  const options = { fileSystem, path: "a.vlog", identity: IDENTITY };
  const pause = (): Promise<void> => Promise.resolve();
  const writer = await ValueLogWriter.create({ ...options, isCompressing, pause });
  const values = lengths.map((length, i) => makeValue(length, i));
  const places: ValuePlace[] = [];
  for (const value of values) places.push(await writer.append(value));
  await writer.finish();
  const log = await ValueLog.open(options);
  const view = new ValueView();
  const before = fileSystem.operationCount("read");
  return {
    fileSystem,
    log,
    values,
    places,
    show(scanner, i) {
      scanner.viewValue(log, places[i], view);
      return Buffer.from(view.bytes.subarray(view.start, view.end));
    },
    reads: () => fileSystem.operationCount("read") - before,
  };
}

const ascending = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const descending = (count: number): number[] => ascending(count).reverse();

describe.each([
  ["forwards", ascending],
  ["backwards", descending],
])("a walk %s", (_, orderOf) => {
  test("reads many values at once, as it goes on", async () => {
    const { show, values, reads } = await store(new Array(100).fill(10_000));
    const scanner = new ValueLogScanner();
    for (const i of orderOf(100)) expect(show(scanner, i).equals(values[i])).toBe(true);
    // Windows of 10, 20, 40, 80 and then 131 kB, of which the last value is cut off.
    expect(reads()).toBeLessThan(14);
  });

  test.each([false, true])("gives values of any length, compressed: %s", async (isCompressing) => {
    const lengths = [1, 5000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5, 4096, 60_000, 1, 9000];
    const all = [...lengths, ...lengths.toReversed(), ...lengths];
    const { show, values } = await store(all, isCompressing);
    const scanner = new ValueLogScanner();
    for (const i of orderOf(all.length)) expect(show(scanner, i).equals(values[i])).toBe(true);
  });

  test("over values with gaps between them reads ahead too", async () => {
    const { show, values, reads } = await store(new Array(300).fill(5000));
    const scanner = new ValueLogScanner();
    const order = orderOf(300).filter((i) => i % 3 === 0);
    for (const i of order) expect(show(scanner, i).equals(values[i])).toBe(true);
    expect(reads()).toBeLessThan(order.length / 3);
  });

  test("meets damage at the damaged value, and goes on behind it", async () => {
    const { show, fileSystem, values, places } = await store(new Array(40).fill(6000));
    const file = await fileSystem.open("a.vlog", "update");
    const damaged = 20;
    const { offset } = places[damaged];
    file.writeSync(Uint8Array.of(values[damaged][100] ^ 1), offset + 9 + 100);
    const scanner = new ValueLogScanner();
    for (const i of orderOf(40)) {
      if (i !== damaged) {
        expect(show(scanner, i).equals(values[i])).toBe(true);
        continue;
      }
      expect(() => show(scanner, i)).toThrow(CorruptionError);
      expect(() => show(scanner, i)).toThrow(expect.objectContaining({ file: "a.vlog", offset }));
    }
  });

  test("reads a value by itself where what is read ahead fails", async () => {
    const plain = await store(new Array(30).fill(20_000));
    const walk = new ValueLogScanner();
    for (const i of orderOf(30)) plain.show(walk, i);
    const readCount = plain.reads();
    expect(readCount).toBeGreaterThan(5);
    let failures = 0;
    for (let nth = 1; nth <= readCount; nth++) {
      const { show, fileSystem, values } = await store(new Array(30).fill(20_000));
      fileSystem.inject({ kinds: ["read"], nth, effect: { kind: "fail", code: "EIO" } });
      const scanner = new ValueLogScanner();
      for (const i of orderOf(30)) {
        try {
          show(scanner, i);
        } catch (error) {
          expect(error).toMatchObject({ code: "EIO" });
          failures++;
        }
        expect(show(scanner, i).equals(values[i])).toBe(true);
      }
    }
    // The first value is read without others.
    expect(failures).toBe(1);
  });
});

describe("a scanner of value logs", () => {
  test("reads exactly what is asked for in no order", async () => {
    const { show, values, reads } = await store(new Array(64).fill(10_000));
    const scanner = new ValueLogScanner();
    const order = ascending(64).map((i) => (i * 29) % 64);
    for (const i of order) expect(show(scanner, i).equals(values[i])).toBe(true);
    expect(reads()).toBe(64);
  });

  test("goes to and fro between logs, more of them than it holds windows of", async () => {
    const logs = await Promise.all(ascending(11).map(() => store(new Array(20).fill(5000))));
    for (const count of [3, 8, 11]) {
      const scanner = new ValueLogScanner();
      for (const i of ascending(20)) {
        for (const { show, values } of logs.slice(0, count)) {
          expect(show(scanner, i).equals(values[i])).toBe(true);
        }
      }
    }
    // Of three it reads ahead, and holds eight; so it comes to each of eleven as to a new one.
    expect(logs[10].reads()).toBe(20);
    const before = logs.slice(0, 3).map(({ reads }) => reads());
    const scanner = new ValueLogScanner();
    for (const i of ascending(20)) for (const { show } of logs.slice(0, 3)) show(scanner, i);
    for (const [k, { reads }] of logs.slice(0, 3).entries()) {
      expect(reads() - before[k]).toBeLessThan(6);
    }
  });

  test("takes places that cannot be for corruption, and allocates nothing by them", async () => {
    const { log, places, values } = await store([5000, 5000, 5000]);
    const view = new ValueView();
    const [, place] = places;
    const wrong: Partial<ValuePlace>[] = [
      { storedLength: place.storedLength - 1 },
      { storedLength: place.storedLength + 1 },
      { length: place.length - 1 },
      { length: place.length + 1 },
      { length: 0 },
      { length: 2 ** 32 - 1 },
      { length: CHUNK, storedLength: CHUNK },
      { storedLength: 2 ** 32 - 1 },
      { offset: place.offset + 1 },
      { offset: 0 },
      { offset: Number.MAX_SAFE_INTEGER },
    ];
    const scanner = new ValueLogScanner();
    for (const change of wrong) {
      const read = (): void => scanner.viewValue(log, { ...place, ...change }, view);
      expect(read, JSON.stringify(change)).toThrow(CorruptionError);
    }
    scanner.viewValue(log, place, view);
    expect(Buffer.compare(view.bytes.subarray(view.start, view.end), values[1])).toBe(0);
  });

  test.each([
    ["forwards", 0],
    ["forwards", 100],
    ["backwards", 0],
    ["backwards", 100],
  ] as const)(
    "going %s in a log that was cut off, %i bytes into a value, finds the others",
    async (direction, room) => {
      // All are of one length, so that what is left in a buffer from before would pass for a value.
      const { show, fileSystem, log, values, places } = await store(new Array(60).fill(5000));
      const kept = 50;
      const file = await fileSystem.open("a.vlog", "update");
      const scanner = new ValueLogScanner();
      const order = direction === "forwards" ? ascending(60) : descending(60);
      // Where something was read ahead before.
      const cutAt = direction === "forwards" ? 25 : 56;
      for (const i of order) {
        if (i === cutAt) await file.truncate(places[kept].offset + room);
        const isThere = i < kept || (direction === "backwards" && i > cutAt);
        if (isThere) {
          expect(show(scanner, i).equals(values[i])).toBe(true);
          continue;
        }
        const { offset, storedLength } = places[i];
        const actual = i === kept ? `${room}` : "0";
        expect(() => show(scanner, i)).toThrow(
          expect.objectContaining({
            file: log.path,
            offset,
            expected: expect.stringContaining(`${storedLength}`),
            actual,
          }),
        );
      }
      for (const i of order) {
        if (i < kept) expect(show(scanner, i).equals(values[i])).toBe(true);
        else expect(() => show(scanner, i)).toThrow(CorruptionError);
      }
    },
  );

  test("shows no value of a window that a failed read has overwritten", async () => {
    const { show, fileSystem, values, places } = await store(new Array(12).fill(5000));
    const scanner = new ValueLogScanner();
    for (const i of [0, 1, 2]) show(scanner, i);
    const file = await fileSystem.open("a.vlog", "update");
    await file.truncate(places[6].offset + 100);
    expect(() => show(scanner, 6)).toThrow(CorruptionError);
    for (const i of [2, 1, 0, 5]) expect(show(scanner, i).equals(values[i])).toBe(true);
  });
});
