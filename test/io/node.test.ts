import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeFileSystem } from "../../src/io/node.ts";
import { describeFileSystem } from "./conformance.ts";

describeFileSystem("NodeFileSystem", async () => {
  const directory = await mkdtemp(join(tmpdir(), "memkv-io-"));
  return {
    fileSystem: new NodeFileSystem(),
    directory,
    dispose: () => rm(directory, { recursive: true }),
  };
});
