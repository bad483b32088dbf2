/**
 * Iterations read a few entries ahead and make their texts together. None of that may show: not in what
 * comes back, not in the order of errors, not in who sees which iteration.
 */
import { describe, expect, test } from "vitest";
import { type Database, InvalidArgumentError, open } from "../../src/index.ts";

const COUNT = 100;

/** Values of every length around the limits of a batch, of each kind of text. */
const TEXTS: readonly (readonly [name: string, valueAt: (i: number) => string])[] = [
  ["empty", () => ""],
  ["short and ASCII", (i) => `value ${i}`],
  ["of all lengths", (i) => "x".repeat((i * 17) % 700)],
  ["not ASCII now and then", (i) => (i % 7 === 3 ? `grün ${i} \u{1f600}` : `green ${i}`)],
  ["long now and then", (i) => (i % 10 === 5 ? "y".repeat(20_000) : `y${i}`)],
];

const KEYS: readonly (readonly [name: string, keyOf: (i: number) => string])[] = [
  ["ASCII", (i) => `key ${1000 + i}`],
  ["not ASCII", (i) => `schlüssel ${1000 + i}`],
  ["long", (i) => `${"k".repeat(400)}${1000 + i}`],
];

async function fill<V>(
  db: Database<string, V>,
  keyOf: (i: number) => string,
  valueAt: (i: number) => V,
): Promise<[string, V][]> {
  const entries: [string, V][] = [];
  for (let i = 0; i < COUNT; i++) entries.push([keyOf(i), valueAt(i)]);
  await db.batch(entries.map(([key, value]) => ({ type: "put", key, value })));
  return entries;
}

describe.each([true, false])("flushed: %s", (isFlushed) => {
  describe.each(["utf8", "msgpack", "json"] as const)("values in %s", (valueEncoding) => {
    const cases = KEYS.flatMap((key) => TEXTS.map((text) => [...key, ...text] as const));
    test.each(cases)("%s keys, values %3$s", async (_key, keyOf, _text, valueAt) => {
      const db = (await open(":memory:", { valueEncoding })) as Database<string, unknown>;
      const entries = await fill<unknown>(db, keyOf, valueAt);
      if (isFlushed) await db.flush();
      expect([...db.entries()]).toEqual(entries);
      expect([...db.keys()]).toEqual(entries.map(([key]) => key));
      expect([...db.values()]).toEqual(entries.map(([, value]) => value));
      expect([...db.entries({ reverse: true })]).toEqual(entries.toReversed());
      for (const limit of [0, 1, 15, 16, 17, 33, COUNT, COUNT + 1]) {
        expect([...db.entries({ limit })]).toEqual(entries.slice(0, limit));
      }
      await db.close();
    });
  });

  test("texts and other values side by side", async () => {
    const db = await open(":memory:");
    const valueAt = (i: number): unknown => [`text ${i}`, i * 1.5, { i }, [i], null, ""][i % 6];
    const entries = await fill<unknown>(db, (i) => `key ${1000 + i}`, valueAt);
    if (isFlushed) await db.flush();
    expect([...db.entries()]).toEqual(entries);
    await db.close();
  });
});

test("what was taken stays as it is while the iteration and others go on", async () => {
  const db = await open(":memory:", { valueEncoding: "utf8" });
  const entries = await fill(
    db,
    (i) => `key ${1000 + i}`,
    (i) => `value ${i}`,
  );
  const taken: [string, string][] = [];
  for (const entry of db.entries()) {
    taken.push(entry);
    // Begins, and ends early, in the middle of the other's batch.
    for (const key of db.keys({ gt: entry[0] })) {
      expect(key > entry[0]).toBe(true);
      break;
    }
    expect([...db.values({ limit: 3 })]).toEqual(["value 0", "value 1", "value 2"]);
  }
  expect(taken).toEqual(entries);
  await db.close();
});

test("a value that cannot be decoded throws when its turn has come", async () => {
  const valueEncoding = {
    name: "picky",
    encode: (value: string): Uint8Array => Buffer.from(value),
    decode: (bytes: Uint8Array): string => {
      const text = Buffer.from(bytes).toString();
      if (text === "bad") throw new InvalidArgumentError("bad");
      return text;
    },
  };
  for (let bad = 0; bad < 40; bad++) {
    const db = await open(":memory:", { valueEncoding });
    const entries = await fill(
      db,
      (i) => `key ${1000 + i}`,
      (i) => (i === bad ? "bad" : `value ${i}`),
    );
    const taken: [string, string][] = [];
    const iterator = db.entries({ limit: 39 });
    const take = (): void => {
      for (const entry of iterator) taken.push(entry);
    };
    if (bad < 39) expect(take).toThrow(InvalidArgumentError);
    else take();
    expect(taken).toEqual(entries.slice(0, bad));
    await db.close();
  }
});

test("an iteration that was ended yields nothing that was read ahead", async () => {
  const db = await open(":memory:", { valueEncoding: "utf8" });
  await fill(
    db,
    (i) => `key ${1000 + i}`,
    (i) => `value ${i}`,
  );
  const iterator = db.entries({ limit: 10 })[Symbol.iterator]();
  expect(iterator.next().done).toBe(false);
  iterator.return();
  expect(iterator.next()).toEqual({ done: true, value: undefined });
  await db.close();
});
