import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { MemoryFileSystem } from "../../src/io/memory.ts";
import { NodeFileSystem } from "../../src/io/node.ts";
import { isWithin } from "../../src/io/within.ts";
import { temporaryDirectory } from "../engine/harness.ts";

const CASES: [path: string, isWithin: boolean][] = [
  ["parent/db", true],
  ["parent/db/", true],
  ["./parent/db", true],
  ["parent/db/new", true],
  ["parent/db/new/below//it/", true],
  ["parent/db/there", true],
  ["parent", false],
  ["parent/", false],
  ["parent/db2", false],
  ["parent/d", false],
  ["parent/new", false],
  ["new/db", false],
  ["new", false],
];

test.each(CASES)("%s is within parent/db, in memory: %s", async (path, expected) => {
  const fileSystem = new MemoryFileSystem();
  await fileSystem.createDirectory("parent/db/there");
  await fileSystem.createDirectory("parent/db2");
  expect(await isWithin(fileSystem, path, "parent/db")).toBe(expected);
});

test.each([
  ...CASES,
  ["parent/../parent/db", true],
  ["nowhere/../parent/db/new", true],
  ["parent/db/nowhere/../../new", false],
  ["link", true],
  ["link/new", true],
  ["linked/db/new", true],
  ["linked/new", false],
] as const)("%s is within parent/db, on a disk: %s", async (path, expected) => {
  const root = temporaryDirectory();
  mkdirSync(join(root, "parent/db/there"), { recursive: true });
  mkdirSync(join(root, "parent/db2"));
  symlinkSync(join(root, "parent/db"), join(root, "link"), "junction");
  symlinkSync(join(root, "parent"), join(root, "linked"), "junction");
  const fileSystem = new NodeFileSystem();
  for (const directory of ["parent/db", "linked/db"]) {
    expect(await isWithin(fileSystem, `${root}/${path}`, join(root, directory))).toBe(expected);
  }
});
