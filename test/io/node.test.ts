import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
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

test.skipIf(process.platform !== "linux")(
  "a directory where none can be made is an error, and not waited for",
  async () => {
    // Node's own recursive mkdir never ended there.
    await expect(new NodeFileSystem().createDirectory("/proc/store/a")).rejects.toThrow("ENOENT");
  },
);
