/**
 * What package.json promises, as far as it can be seen without a build. scripts/check-package.ts
 * checks the rest on the package as a user installs it.
 */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

interface Manifest {
  readonly version: string;
  readonly exports: Record<string, string | { types: string; default: string }>;
  readonly bin: Record<string, string>;
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
  readonly scripts: Record<string, string>;
}

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
const manifest = JSON.parse(read("package.json")) as Manifest;

describe("package.json", () => {
  test("has a source for each entry point and binary", () => {
    const outputs = [
      ...Object.values(manifest.exports).flatMap((entry) =>
        typeof entry === "string" ? [] : [entry.types, entry.default],
      ),
      ...Object.values(manifest.bin),
    ];
    expect(outputs.length).toBeGreaterThan(3);
    const sources = outputs.map((output) =>
      output.replace(/^(\.\/)?dist/, "src").replace(/(\.d)?\.[jt]s$/, ".ts"),
    );
    const missing = sources.filter(
      (source) => !existsSync(new URL(`../${source}`, import.meta.url)),
    );
    expect(missing).toEqual([]);
  });

  test("pins every version exactly, since there is no lock file", () => {
    const versions = { ...manifest.dependencies, ...manifest.devDependencies };
    const loose = Object.entries(versions).filter(
      ([, version]) => !/^\d+\.\d+\.\d+$/.test(version),
    );
    expect(loose).toEqual([]);
  });

  test("brings a user only what cannot be bundled", () => {
    expect(Object.keys(manifest.dependencies)).toEqual(["proper-lockfile", "xxhash-wasm"]);
  });

  test("runs nothing at install", () => {
    const hooks = ["preinstall", "install", "postinstall", "prepare"];
    expect(hooks.filter((hook) => manifest.scripts[hook] !== undefined)).toEqual([]);
  });
});

test("the licences of what is bundled are those of the versions in use", () => {
  const licences = read("THIRD_PARTY_LICENSES.md");
  for (const name of ["msgpackr", "commander", "cli-progress"]) {
    expect(licences).toContain(`## ${name} ${manifest.devDependencies[name]} (MIT)`);
  }
});
