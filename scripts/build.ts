/**
 * Builds dist/: what the package ships.
 *
 * 1. TypeScript emits every file of src/ as ESM with its types, one to one.
 * 2. esbuild then inlines the bundled dependencies, so that they are never installed: msgpackr into
 *    the one file that imports it (its optional native extractor has an install script, and memkv
 *    promises none), commander and cli-progress into the CLI, which becomes a single file.
 * 3. The background thread becomes a single file too: it is loaded while the first memtable fills,
 *    and to find and link a hundred modules takes twice the time that reading one does.
 * 4. THIRD_PARTY_LICENSES.md is written from what esbuild really inlined. It is kept in the
 *    repository, and CI fails when it is stale.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildResult, build, type Plugin } from "esbuild";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(root, "dist");

const MODULES = "node_modules/";

/** Packages that are inlined, with what they import; everything else stays an import. */
const BUNDLED_ROOTS = ["msgpackr", "commander", "cli-progress"];

/**
 * CommonJS packages inside an ES module ask for Node's built-ins with `require`. The name is one that
 * no source imports.
 */
const REQUIRE_BANNER =
  'import { createRequire as createBundleRequire } from "node:module";\n' +
  "const require = createBundleRequire(import.meta.url);";

rmSync(dist, { recursive: true, force: true });
execFileSync(
  process.execPath,
  [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"],
  {
    cwd: root,
    stdio: "inherit",
  },
);

const inlined = [
  await inline(join(dist, "engine/value-codec.js"), join(dist, "engine/value-codec.js")),
  await inline(join(dist, "cli/main.js"), join(dist, "cli"), REQUIRE_BANNER),
  await inline(join(dist, "engine/worker.js"), dist),
];
for (const name of readdirSync(join(dist, "cli"))) {
  if (name !== "main.js") rmSync(join(dist, "cli", name), { recursive: true });
}
writeFileSync(join(root, "THIRD_PARTY_LICENSES.md"), licences(bundledPackages(inlined)));

/** Replaces `entry` by itself with the bundled packages, and the files under `own`, inlined. */
async function inline(
  entry: string,
  own: string,
  banner = "",
): Promise<BuildResult<{ metafile: true }>> {
  const externals: Plugin = {
    name: "externals",
    setup(context) {
      context.onResolve({ filter: /.*/ }, (request) => {
        if (request.kind === "entry-point" || request.importer.includes("node_modules")) return;
        if (BUNDLED_ROOTS.includes(packageOf(request.path))) return;
        if (!request.path.startsWith(".")) return { external: true };
        const target = resolve(request.resolveDir, request.path);
        if (target.startsWith(own)) return;
        return { path: asSpecifier(relative(dirname(entry), target)), external: true };
      });
    },
  };
  return await build({
    entryPoints: [entry],
    outfile: entry,
    allowOverwrite: true,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    legalComments: "inline",
    banner: { js: banner },
    plugins: [externals],
    metafile: true,
    absWorkingDir: root,
    logLevel: "warning",
  });
}

function asSpecifier(path: string): string {
  const posix = path.replaceAll("\\", "/");
  return posix.startsWith(".") ? posix : `./${posix}`;
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
