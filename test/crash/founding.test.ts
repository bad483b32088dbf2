/**
 * A process is killed while it founds a database, the next one opens what is there and writes, and
 * then the power goes: what is left can be opened, whatever of it had reached the disk.
 */
import { expect, test } from "vitest";
import { CrashFileSystem, type CrashPoint } from "../../src/testing/crash-file-system.ts";
import { contentOf, openTest } from "./check.ts";
import { Process } from "./process.ts";

/** A disk is left in one of few states, of which some are seldom. */
const STATES = 100;

async function keysOn(disk: CrashFileSystem): Promise<string> {
  const database = await openTest(disk);
  const keys = [...contentOf(database).keys()].join();
  await database.close();
  return keys;
}

test("a database survives a crash after the one of the process that founded it", async () => {
  let onOperation = (_: string): void => {};
  const newDisk = (): CrashFileSystem =>
    new CrashFileSystem({ model: "strict", onOperation: ({ kind }) => onOperation(kind) });
  const kinds: string[] = [];
  onOperation = (kind) => void kinds.push(kind);
  await (await openTest(newDisk())).close();
  expect(kinds).toContain("rename");
  for (let death = 1; death <= kinds.length; death++) {
    const disk = newDisk();
    const founder = new Process(disk);
    let count = 0;
    onOperation = () => {
      if (++count === death) founder.kill();
    };
    await Promise.race([openTest(founder), founder.death]);
    const points: CrashPoint[] = [];
    onOperation = () => void points.push(disk.crashPoint());
    const database = await openTest(disk);
    await database.put("a", "1");
    await database.put("b", "2", { durability: "sync" });
    const synced = disk.crashPoint();
    onOperation = () => {};
    await database.close();
    for (const point of points) {
      for (const state of point.states({ seed: death, count: STATES })) {
        expect(["", "a", "a,b"]).toContain(await keysOn(state));
      }
    }
    for (const state of synced.states({ seed: death, count: STATES })) {
      expect(await keysOn(state)).toBe("a,b");
    }
  }
});
