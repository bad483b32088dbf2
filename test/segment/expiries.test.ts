import fc from "fast-check";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { loadChecksum } from "../../src/bytes/checksum.ts";
import { writeU32, writeU53 } from "../../src/bytes/fixed.ts";
import { EntryKind, NEVER } from "../../src/entry.ts";
import { CorruptionError } from "../../src/errors.ts";
import { Expiries, ExpiryBuilder } from "../../src/segment/expiries.ts";
import { bytesOf, type Entry, entryAt, openSegment, viewOf, write } from "./segments.ts";

beforeAll(() => loadChecksum());

/** When each ordinal expires, if it does. */
type Schedule = readonly (number | undefined)[];

function sectionOf(schedule: Schedule): Uint8Array {
  const builder = new ExpiryBuilder();
  for (const [ordinal, expiry] of schedule.entries()) {
    if (expiry !== undefined) builder.add(ordinal, expiry);
  }
  return builder.finish(schedule.length);
}

function build(schedule: Schedule): Expiries {
  return new Expiries(sectionOf(schedule), schedule.length, "file", 0);
}

const anyExpiry = fc.oneof(
  fc.integer({ min: 1, max: 20 }),
  fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
  fc.constantFrom(1, NEVER - 1),
);

const anySchedule: fc.Arbitrary<Schedule> = fc
  .array(fc.option(anyExpiry, { nil: undefined, freq: 2 }), { minLength: 1, maxLength: 60 })
  .filter((schedule) => schedule.some((expiry) => expiry !== undefined));

const anyTime = fc.oneof(fc.nat(22), anyExpiry, fc.constant(1_700_000_050_000.5));

function set(bytes: Uint8Array, pos: number, value: number): Uint8Array {
  writeU32(bytes, pos, value);
  return bytes;
}

function setQuartile(bytes: Uint8Array, index: number, value: number): Uint8Array {
  writeU53(bytes, 4 + 8 * index, value);
  return bytes;
}

describe("Expiries", () => {
  test("a segment in which nothing expires has no section", () => {
    expect(new ExpiryBuilder().finish(1000)).toHaveLength(0);
  });

  test("take about the bytes that their builder says", () => {
    const builder = new ExpiryBuilder();
    for (let i = 0; i < 10_000; i++) builder.add(2 * i, 1 + i * 2 ** 39);
    const { estimatedBytes } = builder;
    const { length } = builder.finish(20_000);
    expect(Math.abs(estimatedBytes - length)).toBeLessThan(length * 0.1);
  });

  test("know of each ordinal when it expires, and whether it has", () => {
    fc.assert(
      fc.property(anySchedule, anyTime, (schedule, time) => {
        const expiries = build(schedule);
        for (const [ordinal, expiry = NEVER] of schedule.entries()) {
          expect(expiries.at(ordinal)).toBe(expiry);
          expect(expiries.hasExpired(ordinal, time)).toBe(expiry <= time);
        }
      }),
    );
  });

  test("say how many have expired before an ordinal, and for how long that is so", () => {
    fc.assert(
      fc.property(anySchedule, fc.array(anyTime, { minLength: 1 }), (schedule, times) => {
        const expiries = build(schedule);
        for (const time of times) {
          const { from, until } = expiries.periodAt(time);
          for (let ordinal = 0; ordinal <= schedule.length; ordinal++) {
            const before = schedule.slice(0, ordinal).filter((expiry = NEVER) => expiry <= time);
            expect(expiries.countExpiredBefore(ordinal, time)).toBe(before.length);
          }
          const others = schedule.filter((expiry) => expiry !== undefined);
          expect(from <= time && time < until).toBe(true);
          expect(others.some((expiry) => from < expiry && expiry < until)).toBe(false);
        }
      }),
    );
  });

  test("say so of many entries, as time goes on and back", () => {
    const keyCount = 5000;
    const anyLarge = fc
      .tuple(fc.infiniteStream(fc.nat(9)), fc.constantFrom(30, 2 ** 45))
      .map(([digits, span]) =>
        Array.from({ length: keyCount }, () => {
          const [a, b, c] = [...digits.take(3)];
          return a < 3 ? undefined : 1 + Math.floor(((10 * b + c) / 100) * span);
        }),
      );
    fc.assert(
      fc.property(
        anyLarge,
        fc.array(fc.double({ min: 0, max: 1.1, noNaN: true })),
        (all, shares) => {
          const expiries = build(all);
          const last = expiries.quartiles[4];
          for (const share of shares) {
            const time = last * share;
            let before = 0;
            for (let ordinal = 0; ordinal <= keyCount; ordinal++) {
              if (ordinal % 97 === 0 || ordinal % 512 < 2 || ordinal === keyCount) {
                expect(expiries.countExpiredBefore(ordinal, time)).toBe(before);
              }
              if ((all[ordinal] ?? NEVER) <= time) before++;
            }
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  test("are asked of the present and the past in turn at the cost of neither's way to the other", () => {
    const expiries = build(Array.from({ length: 4000 }, (_, i) => 1 + ((i * 7919) % 1009)));
    const { quartiles } = expiries;
    const counts = (): number[] =>
      [quartiles[1], quartiles[3]].map((time) => expiries.countExpiredBefore(4000, time));
    const first = counts();
    expect(first[0]).toBeGreaterThanOrEqual(1000);
    expect(first[1]).toBeGreaterThanOrEqual(3000);
    expect(counts()).toEqual(first);
    const looks = vi.spyOn(expiries, "at");
    for (let i = 0; i < 10; i++) expect(counts()).toEqual(first);
    expect(looks.mock.calls.length).toBeLessThan(100);
  });

  test("count what has expired without a look at each: never too much, and in the end all", () => {
    fc.assert(
      fc.property(anySchedule, anyTime, (schedule, time) => {
        const expiries = build(schedule);
        const count = schedule.filter((expiry = NEVER) => expiry <= time).length;
        const counted = expiries.countExpired(time);
        expect(counted).toBeLessThanOrEqual(count);
        expect(counted).toBeGreaterThan(count - expiries.count / 4 - 1);
        expect(counted > 0).toBe(count > 0);
        expect(expiries.countExpired(NEVER)).toBe(expiries.count);
      }),
    );
  });

  const whole = sectionOf([5, undefined, 700, 6]);
  const damaged: [string, (bytes: Uint8Array) => Uint8Array][] = [
    ["cut short", (bytes) => bytes.subarray(0, bytes.length - 1)],
    ["without its head", (bytes) => bytes.subarray(0, 20)],
    ["with a count of none", (bytes) => set(bytes, 0, 0)],
    ["with a count above that of the keys", (bytes) => set(bytes, 0, 5)],
    ["with a count that is not the ordinals'", (bytes) => set(bytes, 0, 2)],
    ["with offsets of four billion bytes", (bytes) => set(bytes, 44, 2 ** 32 - 1)],
    ["with an earliest expiry of 0", (bytes) => setQuartile(bytes, 0, 0)],
    ["with quartiles out of order", (bytes) => setQuartile(bytes, 2, 4)],
    ["with a latest expiry that is none", (bytes) => setQuartile(bytes, 4, NEVER)],
  ];

  test.each(damaged)("%s are corruption", (_, damage) => {
    expect(new Expiries(whole.slice(), 4, "file", 0).count).toBe(3);
    expect(() => new Expiries(damage(whole.slice()), 4, "file", 0)).toThrow(CorruptionError);
  });
});

describe("a segment with entries that expire", () => {
  const entries: readonly Entry[] = [
    { key: bytesOf("a"), value: bytesOf("1"), expiry: 100 },
    { key: bytesOf("b"), value: bytesOf("2") },
    { key: bytesOf("c"), value: new Uint8Array(5000).fill(3), expiry: 200 },
    { key: bytesOf("d"), value: undefined },
  ];

  test("is verified: no tombstone expires, and the quartiles are true", async () => {
    const times = entries.map(({ expiry }) => expiry);
    const falsified: readonly [Uint8Array, string | undefined][] = [
      [sectionOf(times), undefined],
      [sectionOf([...times.slice(0, 3), 150]), "no tombstone that expires"],
      [setQuartile(sectionOf(times), 3, 150), "the quartiles of expiries that it says"],
      [setQuartile(sectionOf(times), 4, 201), "the quartiles of expiries that it says"],
    ];
    for (const [section, expected] of falsified) {
      // What a writer with a bug would leave: the checksums are right.
      const finish = vi.spyOn(ExpiryBuilder.prototype, "finish").mockReturnValueOnce(section);
      const { fileSystem } = await write(entries);
      finish.mockRestore();
      const verified = (await openSegment(fileSystem)).verify();
      if (expected === undefined) await verified;
      else await expect(verified).rejects.toMatchObject({ code: "MEMKV_CORRUPTION", expected });
    }
  });

  test("has them until they expire, and tombstones from then on", async () => {
    const segment = await openSegment((await write(entries)).fileSystem);
    const seenAt = (time: number): (number | undefined)[] => {
      const cursor = segment.cursor(time);
      const seen: (number | undefined)[] = [];
      for (cursor.seekToFirst(); cursor.isValid; cursor.next()) {
        const { value, expiry } = entryAt(cursor);
        expect(segment.kindAt(cursor.ordinal, time)).toBe(cursor.kind);
        if (cursor.kind === EntryKind.tombstone) {
          const view = viewOf(bytesOf("of before"));
          expect(cursor.viewStored(view)).toBeUndefined();
          expect([cursor.value().length, view.end - view.start]).toEqual([0, 0]);
          expect(cursor.expiry).toBe(NEVER);
        }
        seen.push(value === undefined ? undefined : (expiry ?? NEVER));
      }
      cursor.close();
      return seen;
    };
    expect(seenAt(99)).toEqual([100, NEVER, 200, undefined]);
    expect(seenAt(100)).toEqual([undefined, NEVER, 200, undefined]);
    expect(seenAt(200)).toEqual([undefined, NEVER, undefined, undefined]);
    expect(seenAt(0)).toEqual([100, NEVER, 200, undefined]);
    await segment.verify();
  });
});
