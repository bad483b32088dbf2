/** Channels of node:diagnostics_channel tell what a database does. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { setImmediate } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { CHANNEL_NAMES } from "../../src/engine/diagnostics.ts";
import { open } from "../../src/index.ts";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { FaultFileSystem } from "../../src/testing/index.ts";

type Message = Readonly<Record<string, unknown>>;

/** Messages of all channels from now on, with the names of theirs. */
function listen(): { readonly name: string; readonly message: Message }[] {
  const heard: { name: string; message: Message }[] = [];
  for (const channel of CHANNEL_NAMES) {
    const name = `memkv:${channel}`;
    const listener = (message: unknown): void => {
      heard.push({ name, message: message as Message });
    };
    subscribe(name, listener);
    onTestFinished(() => void unsubscribe(name, listener));
  }
  return heard;
}

test("from open to close", async () => {
  const heard = listen();
  const database = await open<string, number>("here", { fileSystem: new MemoryFileSystem() });
  await database.put("a", 1);
  await database.batch([
    { type: "put", key: "b", value: 2 },
    { type: "delete", key: "a" },
  ]);
  await database.flush();
  await database.put("c", 3);
  await database.compact();
  await database.close();
  expect(heard.map(({ name }) => name)).toEqual([
    "memkv:open",
    "memkv:write",
    "memkv:write",
    "memkv:flush",
    "memkv:write",
    "memkv:flush",
    "memkv:compaction",
    "memkv:close",
  ]);
  for (const { message } of heard) expect(message["directory"]).toBe("here");
  expect(heard[0].message).toMatchObject({ recovery: database.recovery });
  expect(heard[2].message).toEqual({ directory: "here", operationCount: 2, lastSeqno: 3 });
  expect(heard[3].message).toMatchObject({ event: { keyCount: expect.any(Number) } });
  expect(heard[6].message).toMatchObject({ event: { reason: "manual" } });
});

test("the store of a source that is ingested is no database that was opened", async () => {
  const fileSystem = new MemoryFileSystem();
  const source = await open<string, number>("there", { fileSystem });
  await source.put("a", 1);
  await source.close();
  const database = await open<string, number>("here", { fileSystem });
  const heard = listen();
  await database.ingest(["there"]);
  await database.close();
  const opened = heard.filter(({ name }) => name === "memkv:open" || name === "memkv:close");
  expect(opened).toEqual([{ name: "memkv:close", message: { directory: "here" } }]);
});

test("failures of background work", async () => {
  const heard = listen();
  const fileSystem = new FaultFileSystem(new MemoryFileSystem());
  const database = await open<string, number>("here", { fileSystem });
  await database.put("a", 1);
  fileSystem.limitBytes(0);
  await expect(database.flush()).rejects.toMatchObject({ code: "MEMKV_IO" });
  await setImmediate();
  fileSystem.heal();
  await database.close();
  const errors = heard.filter(({ name }) => name === "memkv:error");
  expect(errors.length).toBeLessThanOrEqual(1);
  for (const { message } of errors) expect(message["error"]).toMatchObject({ code: "MEMKV_IO" });
});

test("a subscriber may write, and what it writes stays to be seen", async () => {
  const database = await open<string, number>("here", { fileSystem: new MemoryFileSystem() });
  await database.put("a", 1);
  let pending: Promise<void> | undefined;
  const listener = (): void => {
    unsubscribe("memkv:write", listener);
    database.putSync("c", 3);
    pending = database.put("d", 4);
  };
  subscribe("memkv:write", listener);
  database.putSync("b", 2);
  expect(database.get("b")).toBe(2);
  await setImmediate();
  await pending;
  expect([...database.values()]).toEqual([1, 2, 3, 4]);
  await database.close();
});
