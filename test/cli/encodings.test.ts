/**
 * Stores of every encoding, on the command line: which one it is, the store knows.
 */
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type OrderedKey, open } from "../../src/index.ts";
import { expectFailure, output, temporaryDirectory } from "./harness.ts";

test("commands on a store of any encodings ask for none", async () => {
  const directory = join(temporaryDirectory(), "store");
  await output(["build", "-", directory, "--value-encoding", "json"], "k\n");
  await output(["put", directory, "é", "1", "--json"]);
  expect(await output(["export", directory])).toBe(
    '{"key":"k","value":""}\n{"key":"é","value":1}\n',
  );
  expect(await output(["get", directory, "é"])).toBe("1\n");
});

describe("a store of ordered keys", () => {
  let directory: string;
  beforeAll(async () => {
    directory = join(temporaryDirectory(), "store");
    const store = await open<OrderedKey, number>(directory, { keyEncoding: "ordered" });
    await store.put(["é", 10], 1);
    await store.put(["é", 9], 2);
    await store.put(5, 3);
    await store.close();
  });

  test("shows and takes them as JSON", async () => {
    expect(await output(["scan", directory])).toBe('5\t3\n["é",9]\t2\n["é",10]\t1\n');
    expect(await output(["get", directory, '["é",9]', "--json"])).toBe(
      '{"found":true,"key":["é",9],"value":2}\n',
    );
    expect(await output(["count", directory, "--prefix", '["é"]'])).toBe("2\n");
    const copy = join(temporaryDirectory(), "copy");
    const lines = await output(["export", directory]);
    await output(["build", "-", copy, "--format", "jsonl", "--key-encoding", "ordered"], lines);
    await expectFailure(["export", copy, "--format", "tsv"], 1, "a value that is not a string");
    expect(await output(["export", copy])).toBe(lines);
  });

  test("has each key as itself, whatever JSON has no notation for", async () => {
    const keys: OrderedKey[] = [
      null,
      false,
      Number.NEGATIVE_INFINITY,
      1,
      1n,
      "1",
      0.1,
      2 ** 53,
      1e300,
      2n ** 64n,
      new Date(0),
      new Date(0).toISOString(),
      Uint8Array.of(1, 2),
      "AQI=",
      [new Date(1), [2n, Uint8Array.of()], Number.POSITIVE_INFINITY],
      '{"$bigint":"1"}',
    ];
    const store = join(temporaryDirectory(), "store");
    const database = await open<OrderedKey, number>(store, { keyEncoding: "ordered" });
    for (const [i, key] of keys.entries()) await database.put(key, i);
    await database.close();
    const lines = await output(["export", store]);
    const copy = join(temporaryDirectory(), "copy");
    await output(["build", "-", copy, "--format", "jsonl", "--key-encoding", "ordered"], lines);
    const read = await open<OrderedKey, number>(copy, { keyEncoding: "ordered", readOnly: true });
    for (const [i, key] of keys.entries()) expect([key, read.get(key)]).toEqual([key, i]);
    expect(read.count()).toBe(keys.length);
    await read.close();
    for (const line of (await output(["scan", store])).trimEnd().split("\n")) {
      const [key, value] = line.split("\t");
      expect([key, await output(["get", copy, key])]).toEqual([key, `${value}\n`]);
    }
  });

  test("says what is wrong with a key, and names the one that is not there", async () => {
    await expectFailure(["get", directory, "9007199254740993"], 2, 'written {"$bigint":"..."}');
    await expectFailure(["get", directory, '{"$date":"soon"}'], 2, "is no key");
    await expectFailure(["get", directory, '[{"$bytes":"?"}]'], 2, "is no key");
    await expectFailure(["get", directory, "-5"], 1, "there is no key -5 in");
    const far = '{"key":9007199254740993,"value":1}\n';
    await expectFailure(["build", "-", directory, "--format", "jsonl"], 1, "beyond 2^53", far);
  });

  test("is not searched by patterns, which are of text", async () => {
    await expectFailure(["search", directory, "--starts-with", "k"], 2, "ordered");
  });

  test("takes nothing else", async () => {
    await expectFailure(["get", directory, "k"], 2, "the key k: not JSON");
    await expectFailure(["get", directory, "{}"], 1, "an ordered key");
    await expectFailure(["build", "-", directory], 1, "line 1: the key: not JSON", "k\n");
  });
});

describe("a store of the user's own encodings", () => {
  const toBytes = { encode: (text: string) => Buffer.from(text), decode: String };
  const reversed = { ...toBytes, name: "mine" };
  let directory: string;
  beforeAll(async () => {
    directory = join(temporaryDirectory(), "store");
    const store = await open(directory, { keyEncoding: reversed, valueEncoding: reversed });
    await store.put("k", "v");
    await store.close();
  });

  test("is seen as bytes", async () => {
    expect(await output(["scan", directory])).toBe("k\tv\n");
    expect(await output(["scan", directory, "--json"])).toBe('{"key":"aw==","value":"dg=="}\n');
    expect(await output(["count", directory])).toBe("1\n");
    expect(JSON.parse(await output(["stats", directory, "--json"])).keyCount).toBe(1);
    await output(["verify", directory]);
    await output(["compact", directory]);
    await output(["checkpoint", directory, join(temporaryDirectory(), "copy")]);
  });

  test("is given no keys and values", async () => {
    const commands = [
      ["get", "k"],
      ["put", "k", "v"],
      ["del", "k"],
      ["count", "--gt", "k"],
    ];
    for (const [command = "", ...args] of commands) {
      await expectFailure([command, directory, ...args], 1, 'its program\'s own "mine"');
    }
    await expectFailure(["build", "-", directory], 1, 'its program\'s own "mine"', "k\n");
    expect(await output(["scan", directory])).toBe("k\tv\n");
  });
});
