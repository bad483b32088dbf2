/**
 * Builds dist/: what the package ships.
 *
 * 1. TypeScript emits every file of src/ as ESM with its types, one to one.
 * 2. esbuild joins them to one file for each entry point, and what several entry points need to one
 *    for each set of these, so that a class is one class to all. To find, read and link a hundred
 *    modules takes three times as long as a few. It also inlines the bundled dependencies, so that
 *    they are never installed: msgpackr (its optional native extractor has an install script, and
 *    memkv promises none), and commander and cli-progress in the CLI.
 * 3. What is constant in the source is made so again, for V8 to take it for that.
 * 4. The background thread becomes a single file, which what starts it is put beside.
 * 5. THIRD_PARTY_LICENSES.md is written from what esbuild really inlined. It is kept in the
 *    repository, and CI fails when it is stale.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildResult, build, type Plugin, transform } from "esbuild";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(root, "dist");

const MODULES = "node_modules/";

/** Packages that are inlined, with what they import; everything else stays an import. */
const BUNDLED_ROOTS = ["msgpackr", "commander", "cli-progress"];

/**
 * CommonJS packages inside an ES module ask for Node's built-ins with `require`: those of the CLI do.
 * Where an application is bundled as CommonJS no module has an address; memkv must load there too. The
 * name is one that no source imports.
 */
const REQUIRE_BANNER =
  'import { createRequire as createBundleRequire } from "node:module";\n' +
  "const require = import.meta.url ? createBundleRequire(import.meta.url) : undefined;";

rmSync(dist, { recursive: true, force: true });
execFileSync(
  process.execPath,
  [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"],
  {
    cwd: root,
    stdio: "inherit",
  },
);

const packageManifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  exports: Record<string, string | { default: string }>;
  bin: Record<string, string>;
};
const WORKER = join(dist, "jobs/worker.js");
const entryPoints = [
  ...Object.values(packageManifest.exports).flatMap((entry) =>
    typeof entry === "string" ? [] : [entry.default],
  ),
  ...Object.values(packageManifest.bin),
]
  .map((path) => join(root, path))
  .filter((path) => path !== WORKER);

const variables = moduleVariables();
const results = [await bundle([WORKER]), await bundle(entryPoints)];
const outputs = results.flatMap(({ metafile }) =>
  Object.keys(metafile.outputs).map((path) => join(root, path)),
);
let constantCount = 0;
for (const path of outputs) {
  restoreClassNames(path);
  constantCount += restoreConstants(path, variables);
  await checkConstants(path);
  checkWorkerPlace(path);
}
if (constantCount === 0) throw new Error("esbuild has another form for what it joins");
for (const name of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
  const path = join(dist, name);
  if (name.endsWith(".js") && !outputs.includes(path)) rmSync(path);
  if (name.startsWith(`cli${sep}`) && name.endsWith(".d.ts")) rmSync(path);
}
writeFileSync(join(root, "THIRD_PARTY_LICENSES.md"), licences(bundledPackages(results)));

/** Replaces entry points by themselves with all that they import inlined, but for packages to install. */
function bundle(entries: readonly string[]): Promise<BuildResult<{ metafile: true }>> {
  const installed: Plugin = {
    name: "installed",
    setup(context) {
      context.onResolve({ filter: /^[^./]/ }, (request) => {
        if (request.kind === "entry-point" || request.importer.includes(MODULES)) return;
        return BUNDLED_ROOTS.includes(packageOf(request.path)) ? undefined : { external: true };
      });
    },
  };
  return build({
    entryPoints: [...entries],
    outdir: dist,
    outbase: dist,
    // Where the background thread is started, its file is asked for beside it.
    chunkNames: `${relative(dist, dirname(WORKER))}/shared-[hash]`,
    allowOverwrite: true,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    legalComments: "inline",
    banner: { js: REQUIRE_BANNER },
    plugins: [installed],
    metafile: true,
    absWorkingDir: root,
    logLevel: "warning",
  });
}

/**
 * Throws unless the background thread's file is beside each file that starts it, and where a bundler
 * would look for a file that the package has not: webpack resolves both forms, and fails.
 */
function checkWorkerPlace(path: string): void {
  const code = readFileSync(path, "utf8");
  const startsIt = code.includes('new URL("./worker.js", import.meta.url)');
  if (startsIt && dirname(path) !== dirname(WORKER)) throw new Error(`${path} finds no worker.js`);
  const [sought] = code.match(/new URL\("[^"]*\.ts"|import\.meta\.resolve\("[^"]*"/) ?? [];
  if (sought !== undefined) throw new Error(`${path} has bundlers look for ${sought}`);
}

/** esbuild calls a class that refers to itself `_Name`, and users see what classes are called. */
function restoreClassNames(path: string): void {
  const code = readFileSync(path, "utf8");
  const renamed = [...code.matchAll(/^var (\w+) = class _\1\b/gm)].map(([, name]) => `_${name}`);
  const names = new Set(renamed);
  writeFileSync(
    path,
    code.replace(/\b_\w+\b/g, (word) => (names.has(word) ? word.slice(1) : word)),
  );
}

/** What modules of dist/ declare to be changed: before they are joined, all else is `const`. */
function moduleVariables(): ReadonlySet<string> {
  const names = new Set<string>();
  for (const file of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".js")) continue;
    const code = readFileSync(join(dist, file), "utf8");
    for (const [, name] of code.matchAll(/^(?:export )?let (\w+)/gm)) names.add(name);
  }
  return names;
}

/**
 * esbuild declares everything at the top of a module with `var`. What is `const` V8 compiles into hot
 * code as the constant that it is; a `var` it loads and checks each time, and what a loop decides by
 * one it decides at each turn: scans of 1 KB values take a fifth longer so. Bundled packages stay as
 * esbuild made them. A number behind a name is esbuild's, where two modules have the same. Returns how
 * many there were.
 */
function restoreConstants(path: string, variables: ReadonlySet<string>): number {
  let isOwn = false;
  let count = 0;
  const lines = readFileSync(path, "utf8").split("\n");
  for (const [i, line] of lines.entries()) {
    if (/^\/\/ \S+\.\w?js$/.test(line)) isOwn = !line.includes(MODULES);
    const name = /^var (?:(\w+)|\{.*\}) = /.exec(line);
    if (!isOwn || name === null) continue;
    const [, declared = ""] = name;
    if (variables.has(declared) || variables.has(declared.replace(/\d+$/, ""))) continue;
    lines[i] = line.replace("var", "const");
    count++;
  }
  writeFileSync(path, lines.join("\n"));
  return count;
}

/** Throws where code writes to what is declared constant: such would throw only once it runs. */
async function checkConstants(path: string): Promise<void> {
  const code = readFileSync(path, "utf8");
  const { warnings } = await transform(code, { format: "esm", logLevel: "silent" });
  const wrong = warnings.find(({ id }) => id === "assign-to-constant");
  if (wrong !== undefined) throw new Error(`${path}: ${wrong.text}`);
}

/** "@scope/name" or "name" of an import such as "name/part". */
function packageOf(specifier: string): string {
  const parts = specifier.split("/");
  return specifier.startsWith("@") ? parts.slice(0, 2).join("/") : (parts[0] ?? "");
}

/** Directories of the packages whose files reached an output, in order of the packages' names. */
function bundledPackages(results: readonly BuildResult<{ metafile: true }>[]): string[] {
  const directories = new Set<string>();
  for (const result of results) {
    for (const output of Object.values(result.metafile.outputs)) {
      for (const input of Object.keys(output.inputs)) {
        const end = input.lastIndexOf(MODULES) + MODULES.length;
        if (end < MODULES.length) continue;
        directories.add(input.slice(0, end) + packageOf(input.slice(end)));
      }
    }
  }
  return [...directories].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

function nameOf(directory: string): string {
  return directory.slice(directory.lastIndexOf(MODULES) + MODULES.length);
}

function licences(directories: readonly string[]): string {
  const parts = directories.map((relativeDirectory) => {
    const directory = join(root, relativeDirectory);
    const manifest = JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as {
      name: string;
      version: string;
      license: string;
    };
    const file = readdirSync(directory).find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`${relativeDirectory} has no licence file`);
    const text = readFileSync(join(directory, file), "utf8").replaceAll("\r\n", "\n").trim();
    return `## ${manifest.name} ${manifest.version} (${manifest.license})\n\n\`\`\`text\n${text}\n\`\`\`\n`;
  });
  return [
    "# Licences of bundled packages",
    "",
    "memkv's own licence is in LICENSE. The published package contains code of the packages below.",
    "This file is written by `npm run build` from what was bundled.",
    "",
    ...parts,
  ].join("\n");
}
