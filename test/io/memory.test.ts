import { MemoryFileSystem } from "../../src/io/memory.ts";
import { describeFileSystem } from "./conformance.ts";

describeFileSystem("MemoryFileSystem", async () => {
  const fileSystem = new MemoryFileSystem();
  await fileSystem.createDirectory("store");
  return { fileSystem, directory: "store", dispose: async () => {} };
});
