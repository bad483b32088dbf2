/**
 * The layers of src/, enforced: imports point down, and each thing that touches the world outside
 * (the disk, a dependency, time, randomness, timers) has its one place.
 *
 * `violations` is a pure function from sources to complaints. It reads imports, type imports
 * included, with a regular expression after comments are taken out; that is enough for code that
 * Biome has formatted. It runs once over src/, and over planted mistakes to show that it sees them.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

/** What the files of a folder may import besides one another: folders, or single files. */
const LAYERS: Record<string, readonly string[]> = {
  // 0: shared words
  ".": [],
  // 1: encoding primitives; the file-system seam
  bytes: ["."],
  io: ["."],
  // 2: data structures over bytes: no files, no promises
  cursor: [".", "bytes"],
  encoding: [".", "bytes", "cursor"],
  search: [".", "bytes", "cursor/cursor.ts"],
  art: [".", "bytes", "cursor/cursor.ts"],
  fst: [".", "bytes", "cursor/cursor.ts", "search/automaton.ts"],
  "fst/index.ts": [".", "fst", "search"],
  symbols: [".", "bytes"],
  cache: [".", "bytes"],
  // 3: the three kinds of file
  wal: [".", "bytes", "io", "cursor"],
  segment: [".", "bytes", "io", "cursor", "symbols", "cache"],
  manifest: [".", "bytes", "io", "wal"],
  // 4: the newest writes; which runs to merge, and the merge
  memtable: [
    ...[".", "bytes", "cursor", "art"],
    ...["encoding/range.ts", "segment/filter.ts", "wal/batch.ts"],
  ],
  compaction: [".", "bytes", "io", "cursor", "segment", "manifest"],
  // 5: flush and compaction, on whichever thread
  jobs: [
    ...[".", "bytes", "io", "cursor", "symbols", "cache", "segment", "manifest"],
    ...["memtable", "compaction"],
  ],
  // 6: the database
  engine: [
    ...[".", "bytes", "io", "cursor", "encoding", "search", "symbols", "cache"],
    ...["wal", "segment", "manifest", "memtable", "compaction", "jobs"],
  ],
  // 7: a new database out of a damaged one
  repair: [
    ...[".", "bytes", "io", "cursor", "encoding", "cache", "wal", "segment", "manifest"],
    "engine",
  ],
  // 8: the surfaces users touch
  "index.ts": [".", "engine", "encoding", "io", "repair", "search", "segment/coders.ts"],
  level: [".", "index.ts"],
  cli: [
    ...[".", "bytes/checksum.ts", "io/node.ts", "wal", "segment", "manifest"],
    ...["index.ts", "fst/index.ts", "testing/random.ts"],
  ],
  testing: [".", "index.ts", "io"],
};

/** Where each package may be imported: one file, or one folder. */
const PACKAGES: Record<string, string> = {
  msgpackr: "encoding/value-codec.ts",
  "proper-lockfile": "io/lock.ts",
  "xxhash-wasm": "bytes/checksum.ts",
  "abstract-level": "level",
  commander: "cli",
  "cli-progress": "cli",
};

/**
 * Where Node's built-in modules may be imported; those not named here, nowhere. The CLI reads and
 * writes its users' files with node:fs: its input, and what it exports. Stores it only opens.
 */
const BUILT_INS: Record<string, readonly string[]> = {
  "node:fs": ["io/node.ts", "io/lock.ts", "cli"],
  "node:fs/promises": ["io/node.ts", "io/lock.ts", "cli"],
  "node:path": ["io/node.ts", "io/lock.ts", "cli"],
  "node:os": ["io/node.ts", "io/lock.ts", "cli"],
  "node:buffer": ["cli", "encoding/key-codec.ts"],
  "node:util": ["io/node.ts", "io/lock.ts", "cli"],
  // For yielding the thread; the timers among it are caught below.
  "node:timers/promises": ["segment", "jobs", "engine", "level", "cli"],
  "node:stream": ["cli"],
  "node:stream/promises": ["cli"],
  "node:readline": ["cli"],
  "node:zlib": ["cli", "segment"],
  "node:crypto": ["engine/open-store.ts", "io/lock.ts"],
  "node:events": ["engine"],
  // For finding a package of the user's.
  "node:module": ["cli/import.ts"],
  "node:url": ["cli/import.ts"],
  "node:async_hooks": ["engine/transaction.ts"],
  "node:diagnostics_channel": ["engine/diagnostics.ts"],
  "node:worker_threads": ["jobs/worker.ts", "jobs/worker-runner.ts"],
};

/**
 * Time, randomness and timers enter only where AMBIENT_ALLOWED says, so that elsewhere a seed
 * replays a run. (setImmediate is no timer: it yields the thread.) engine/open-store.ts draws the
 * random identity of a new database; engine/store.ts has a monotonic clock and a timer for its parts;
 * engine/options.ts has what the options default to.
 */
const AMBIENT =
  /\b(setTimeout|setInterval|Date\.now|new Date\(\)|Math\.random|performance\.now|process\.hrtime|randomBytes|getRandomValues|randomUUID)/;
const AMBIENT_ALLOWED: readonly string[] = [
  "engine/open-store.ts",
  "engine/options.ts",
  "engine/store.ts",
  "io/node.ts",
  "io/lock.ts",
  "cli",
];

interface Import {
  readonly from: string;
  /** A path below src/ for a relative import, else the name as written. */
  readonly to: string;
  readonly isRelative: boolean;
  /** Whether nothing of it is left when the program runs. */
  readonly isType: boolean;
}

/** Every breach in `sources`, a map from path below src/ to text. */
function violations(sources: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  const graph = new Map<string, string[]>();
  for (const [file, source] of sources) {
    const code = withoutComments(source);
    const folder = folderOf(file);
    if (LAYERS[folder] === undefined) found.push(`${file}: ${folder} is not a layer`);
    const imports = importsOf(file, code);
    graph.set(
      file,
      imports.filter((entry) => entry.isRelative && !entry.isType).map((entry) => entry.to),
    );
    for (const entry of imports) {
      const complaint = entry.isRelative ? relativeBreach(entry, sources) : packageBreach(entry);
      if (complaint !== undefined) found.push(`${file}: ${complaint}`);
    }
    const ambient = AMBIENT.exec(code)?.[1];
    if (ambient !== undefined && !isWithin(file, AMBIENT_ALLOWED)) {
      found.push(`${file}: ${ambient} outside ${AMBIENT_ALLOWED.join(", ")}`);
    }
  }
  return [...found, ...cycles(graph)];
}

function relativeBreach(entry: Import, sources: ReadonlyMap<string, string>): string | undefined {
  if (!sources.has(entry.to)) return `imports ${entry.to}, which does not exist`;
  // A file with a row of its own, an entry point, follows that; any other, its folder's.
  const own = LAYERS[entry.from] === undefined ? folderOf(entry.from) : entry.from;
  if (folderOf(entry.to) === own) return undefined;
  const isAllowed = (LAYERS[own] ?? []).some(
    (allowed) => allowed === entry.to || allowed === folderOf(entry.to),
  );
  return isAllowed ? undefined : `${own} may not import ${entry.to}`;
}

function packageBreach(entry: Import): string | undefined {
  if (entry.to.startsWith("node:")) {
    const places = BUILT_INS[entry.to] ?? [];
    return isWithin(entry.from, places) ? undefined : `may not import ${entry.to}`;
  }
  const [name = ""] = entry.to.split("/");
  const place = PACKAGES[name];
  if (place === undefined) return `imports ${entry.to}, which is no dependency`;
  return isWithin(entry.from, [place]) ? undefined : `only ${place} may import ${name}`;
}

/** "." for the shared words, "index.ts" for itself, else the first folder. */
function folderOf(file: string): string {
  if (file === "index.ts") return file;
  return file.includes("/") ? file.slice(0, file.indexOf("/")) : ".";
}

/** Whether `file` is one of `places`, or in a folder that is. */
function isWithin(file: string, places: readonly string[]): boolean {
  return places.some((place) => file === place || file.startsWith(`${place}/`));
}

/** Static, type, side-effect and dynamic imports, re-exports, and files named by `new URL`. */
function importsOf(file: string, code: string): Import[] {
  const patterns = [
    /^(?:import|export)\b[^;"]*?\bfrom "([^"$]+)"/gm,
    /^import "([^"]+)"/gm,
    /\bimport\("([^"$]+)"\)/g,
    /\bnew URL\("([^"]+\.[jt]s)", import\.meta\.url\)/g,
    /\brequire\("([^"]+)"\)/g,
  ];
  return patterns.flatMap((pattern) =>
    [...code.matchAll(pattern)].map(([statement, specifier = ""]) => {
      const isRelative = specifier.startsWith(".");
      // A worker is started by its name in dist/.
      const source = specifier.replace(/\.js$/, ".ts");
      const to = isRelative ? posix.join(posix.dirname(file), source) : specifier;
      return { from: file, to, isRelative, isType: /^(import|export) type\b/.test(statement) };
    }),
  );
}

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");
}

/** One complaint for each file that a walk along imports, those of types left out, meets again. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    const start = path.indexOf(file);
    if (start >= 0) found.push(`cycle: ${[...path.slice(start), file].join(" -> ")}`);
    if (start >= 0 || done.has(file)) return;
    path.push(file);
    for (const next of graph.get(file) ?? []) visit(next);
    path.pop();
    done.add(file);
  };
  for (const file of graph.keys()) visit(file);
  return found;
}

const src = resolve(dirname(fileURLToPath(import.meta.url)), "../src");

function readSources(): Map<string, string> {
  const files = readdirSync(src, { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => file.endsWith(".ts"));
  return new Map(files.map((file) => [file, readFileSync(join(src, file), "utf8")]));
}

describe("src/", () => {
  test("keeps its layers", () => {
    const sources = readSources();
    expect(sources.size).toBeGreaterThan(10);
    expect(violations(sources)).toEqual([]);
  });

  test.each([...readSources()])("%s begins with a header", (_file, source) => {
    expect(source.replace(/^#!.*\n/, "")).toMatch(/^\/\*\*\n \* \S/);
  });
});

/** Files that break no rule, for planted ones to import. */
const SOUND: readonly (readonly [string, string])[] = [
  ["errors.ts", "export const error = 1;"],
  ["bytes/varint.ts", 'import { error } from "../errors.ts";\nexport const varint = error;'],
  ["io/memory.ts", "export const memory = 1;"],
  ["cursor/cursor.ts", "export interface Cursor {}"],
  ["cursor/merge.ts", 'import type { Cursor } from "./cursor.ts";'],
  ["wal/format.ts", 'import { varint } from "../bytes/varint.ts";\nexport { varint };'],
  ["engine/database.ts", 'import { varint } from "../wal/format.ts";\nexport const open = varint;'],
  ["index.ts", 'export { open } from "./engine/database.ts";'],
];

const PLANTED: readonly (readonly [string, string, string, string])[] = [
  [
    "an upward import",
    "bytes/bad.ts",
    'import { x } from "../wal/format.ts";',
    "bytes may not import wal/format.ts",
  ],
  [
    "an upward type import",
    "wal/bad.ts",
    'import type { X } from "../engine/database.ts";',
    "wal may not import engine/database.ts",
  ],
  [
    "an import over several lines",
    "io/bad.ts",
    'import {\n  a,\n  b,\n} from "../bytes/varint.ts";',
    "io may not import bytes/varint.ts",
  ],
  [
    "a sideways import",
    "segment/bad.ts",
    'export * from "../wal/format.ts";',
    "segment may not import wal/format.ts",
  ],
  [
    "a sideways file beside an allowed one",
    "art/bad.ts",
    'import "../cursor/merge.ts";',
    "art may not import cursor/merge.ts",
  ],
  [
    "a surface that reaches into the engine",
    "cli/bad.ts",
    'const m = await import("../engine/database.ts");',
    "cli may not import engine/database.ts",
  ],
  [
    "a worker started across layers",
    "wal/bad.ts",
    'new Worker(new URL("../engine/database.ts", import.meta.url));',
    "wal may not import engine/database.ts",
  ],
  [
    "a dependency outside its file",
    "engine/bad.ts",
    'import { Packr } from "msgpackr/pack";',
    "only encoding/value-codec.ts may import msgpackr",
  ],
  [
    "an undeclared dependency",
    "engine/bad.ts",
    'import x from "lodash";',
    "imports lodash, which is no dependency",
  ],
  [
    "the disk outside the seam",
    "engine/bad.ts",
    'import { readFileSync } from "node:fs";',
    "may not import node:fs",
  ],
  ["the network", "cli/bad.ts", 'import "node:net";', "may not import node:net"],
  [
    "a missing file",
    "engine/bad.ts",
    'import { x } from "./missing.ts";',
    "imports engine/missing.ts, which does not exist",
  ],
  ["a folder that is no layer", "utils/bad.ts", "export {};", "utils is not a layer"],
  ["the clock", "engine/bad.ts", "const now = Date.now();", "Date.now outside"],
  ["a timer", "wal/bad.ts", "setTimeout(() => {}, 1);", "setTimeout outside"],
];

describe("the checker", () => {
  test("finds nothing in sound sources", () => {
    expect(violations(new Map(SOUND))).toEqual([]);
  });

  test.each(PLANTED)("finds %s", (_what, file, source, complaint) => {
    const found = violations(new Map([...SOUND, [file, source]]));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`${file}: ${complaint}`);
  });

  test("finds a cycle within a folder", () => {
    const sources = new Map([
      ["art/a.ts", 'import { b } from "./b.ts";'],
      ["art/b.ts", 'import { c } from "./c.ts";'],
      ["art/c.ts", 'import { a } from "./a.ts";'],
    ]);
    expect(violations(sources)).toEqual(["cycle: art/a.ts -> art/b.ts -> art/c.ts -> art/a.ts"]);
  });

  test("does not take types that know of each other for a cycle", () => {
    const sources = new Map([
      ["art/a.ts", 'import { b } from "./b.ts";'],
      ["art/b.ts", 'import type { A } from "./a.ts";'],
    ]);
    expect(violations(sources)).toEqual([]);
  });

  test("does not take comments for code", () => {
    const source = '// import "../engine/database.ts"\n/* Date.now() */\nexport {};';
    expect(violations(new Map([...SOUND, ["wal/fine.ts", source]]))).toEqual([]);
  });
});
