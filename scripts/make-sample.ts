/**
 * Makes data/npm-repositories.tsv.gz, the bundled sample: SAMPLE_COUNT pairs of npm package name
 * and repository URL, drawn uniformly from the npm package all-the-package-repos.
 *
 * The source is fetched with `npm pack` and unpacked with `tar`. Pairs without a URL, and the few
 * whose name or URL holds a tab or a line break, are left out first. Then one pass of selection
 * sampling (Knuth, The Art of Computer Programming, volume 2, section 3.4.2, Algorithm S) takes
 * each pair with the same probability, from a seeded generator, in the order of the source. So
 * the lines are the same on every machine; their SHA-256 is printed and stands in data/README.md.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, gzipSync } from "node:zlib";

const SOURCE = "all-the-package-repos@2.0.3148";
const SAMPLE_COUNT = 250_000;
const SEED = 1;

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const target = join(root, "data/npm-repositories.tsv.gz");

const pairs = readSource();
const lines = sample(pairs, SAMPLE_COUNT, SEED);
const text = Buffer.from(`${lines.join("\n")}\n`);
const compressed = gzipSync(text, { level: constants.Z_BEST_COMPRESSION });
writeFileSync(target, compressed);
console.log(
  `${lines.length} of ${pairs.length} pairs: ${text.length} bytes, ${compressed.length} as ${target}`,
);
console.log(`SHA-256 of the lines: ${createHash("sha256").update(text).digest("hex")}`);

/** All pairs of the source, as lines "name TAB url", in its order. */
function readSource(): string[] {
  const work = mkdtempSync(join(tmpdir(), "memkv-sample-"));
  try {
    console.log(`npm pack ${SOURCE}`);
    const shell = process.platform === "win32";
    const output = execFileSync("npm", ["pack", SOURCE, "--silent"], { cwd: work, shell });
    execFileSync("tar", ["-xzf", output.toString().trim(), "package/data/packages.json"], {
      cwd: work,
    });
    const file = readFileSync(join(work, "package/data/packages.json"), "utf8");
    const repositories = JSON.parse(file) as Record<string, string | null>;
    const pairs: string[] = [];
    for (const [name, url] of Object.entries(repositories)) {
      if (typeof url !== "string" || /[\t\n\r]/.test(name + url)) continue;
      pairs.push(`${name}\t${url}`);
    }
    return pairs;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** `count` of `items`, each with the same probability, in order. */
function sample(items: readonly string[], count: number, seed: number): string[] {
  const random = mulberry32(seed);
  const taken: string[] = [];
  items.forEach((item, i) => {
    if (random() * (items.length - i) < count - taken.length) taken.push(item);
  });
  return taken;
}

/** Numbers in [0, 1) from Tommy Ettinger's mulberry32: small, and good enough to draw lines with. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
