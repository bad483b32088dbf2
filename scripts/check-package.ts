/**
 * Checks the package as a user gets it: packs it, installs the tarball in an empty project, and
 * fails unless
 * - the tarball holds only what a user needs;
 * - nothing that arrives has an install script, a build file or a native module, and nothing but
 *   the declared dependencies arrives;
 * - publint and @arethetypeswrong/cli find nothing;
 * - each entry point can be imported, and the CLI starts;
 * - it works inside a bundle, background thread and all;
 * - the TypeScript blocks of README.md and docs/api.md compile, checked strictly, and run.
 *
 * Needs a build (`npm run build`) and the npm registry.
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const work = mkdtempSync(join(tmpdir(), "memkv-package-"));
/** npm and npx are command files on Windows, which need a shell to start; Node itself must not. */
const isWindows = process.platform === "win32";

/** All that `npm install memkv` may bring. */
const EXPECTED_PACKAGES = [
  "graceful-fs",
  "memkv",
  "proper-lockfile",
  "retry",
  "signal-exit",
  "xxhash-wasm",
];
const EXPECTED_FILES =
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|THIRD_PARTY_LICENSES\.md|dist\/.+\.(js|d\.ts))$/;
const INSTALL_SCRIPTS = ["preinstall", "install", "postinstall"];

/** What each entry point exports, among other things. */
const ENTRY_POINTS = { memkv: "open", "memkv/art": "ArenaArt", "memkv/fst": "FrozenLayer" };

/** What is there only for who has abstract-level, which nothing else needs. */
const LEVEL_ENTRY_POINT = { "memkv/level": "MemkvLevel" };

try {
  const tarball = pack();
  const project = install(tarball);
  checkInstalled(join(project, "node_modules"));
  checkEntryPoints(project, ENTRY_POINTS);
  installLevel(project);
  checkEntryPoints(project, LEVEL_ENTRY_POINT);
  await checkBundles(project);
  checkExamples(project, "README.md");
  checkExamples(project, "docs/api.md");
  run("npx", ["publint", "--strict", tarball], root);
  run("npx", ["attw", tarball, "--profile", "esm-only"], root);
  console.log("package check: ok");
} finally {
  rmSync(work, { recursive: true, force: true });
}

function run(command: string, args: readonly string[], cwd: string): string {
  console.log(`$ ${command} ${args.join(" ")}`);
  try {
    return execFileSync(command, args, {
      cwd,
      shell: isWindows && command !== process.execPath,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    console.error(stdout ?? "", stderr ?? "");
    throw new Error(`${command} ${args.join(" ")} failed`, { cause: error });
  }
}

function check(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

/** Path of the tarball. */
function pack(): string {
  check(existsSync(join(root, "dist/index.js")), "dist/ is missing: run `npm run build` first");
  const output = run("npm", ["pack", "--json", "--pack-destination", work], root);
  const [packed] = JSON.parse(output) as {
    filename: string;
    size: number;
    unpackedSize: number;
    files: { path: string }[];
  }[];
  check(packed !== undefined, "npm pack printed nothing");
  if (packed === undefined) return "";
  for (const file of packed.files) {
    check(EXPECTED_FILES.test(file.path), `the tarball holds ${file.path}, which no user needs`);
  }
  console.log(
    `${packed.files.length} files, ${packed.size} bytes packed, ${packed.unpackedSize} unpacked`,
  );
  return join(work, packed.filename);
}

/** Directory of a project of its own that has the tarball installed. */
function install(tarball: string): string {
  const project = join(work, "project");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), '{ "name": "project", "type": "module" }\n');
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", tarball], project);
  return project;
}

function checkInstalled(modules: string): void {
  const names: string[] = [];
  for (const entry of readdirSync(modules)) {
    if (entry.startsWith(".")) continue;
    names.push(
      ...(entry.startsWith("@")
        ? readdirSync(join(modules, entry)).map((name) => `${entry}/${name}`)
        : [entry]),
    );
  }
  const unexpected = names.filter((name) => !EXPECTED_PACKAGES.includes(name));
  const missing = EXPECTED_PACKAGES.filter((name) => !names.includes(name));
  check(unexpected.length === 0, `installing brings ${unexpected.join(", ")}`);
  check(missing.length === 0, `installing does not bring ${missing.join(", ")}`);
  for (const name of names) {
    const manifest = JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8")) as {
      scripts?: Record<string, string>;
    };
    for (const script of INSTALL_SCRIPTS) {
      check(manifest.scripts?.[script] === undefined, `${name} has a script ${script}`);
    }
  }
  for (const file of readdirSync(modules, { recursive: true, encoding: "utf8" })) {
    check(!/(\.node|binding\.gyp)$/.test(file), `installing brings native code: ${file}`);
  }
}

/** The entry points run, and their types hold. */
function checkEntryPoints(project: string, entryPoints: Record<string, string>): void {
  const lines = Object.entries(entryPoints).map(
    ([entry, name]) => `export { ${name} } from "${entry}";\n`,
  );
  writeFileSync(join(project, "entries.ts"), lines.join(""));
  compile(project, "entries.ts");
  run(process.execPath, ["entries.js"], project);
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    version: string;
  };
  check(
    run("npx", ["memkv", "--version"], project).trim() === version,
    "memkv --version does not print the package's version",
  );
}

/** Adds the optional peer dependency, in the version that the tests run with. */
function installLevel(project: string): void {
  const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    devDependencies: Record<string, string>;
  };
  const peer = `abstract-level@${devDependencies["abstract-level"]}`;
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", peer], project);
}

/** As docs/tuning.md says: the background thread is an entry point of its own. */
async function checkBundles(project: string): Promise<void> {
  const code = (directory: string, outcome: string) => `
    import { open } from "memkv";
    async function main() {
      const db = await open("${directory}", { durability: "os" });
      db.on("error", () => {});
      db.putSync("a", 1);
      await db.flush();
      if (db.stats().runs.length === 0) throw new Error("no run");
      await db.close();
      return "done";
    }
    main().catch((error) => error.message).then((outcome) => {
      if (!outcome.includes("${outcome}")) throw new Error(outcome);
    });`;
  const common = {
    absWorkingDir: project,
    bundle: true,
    platform: "node",
    logLevel: "error",
  } as const;
  const worker = "memkv/worker";

  writeFileSync(join(project, "app.js"), code("bundled", "done"));
  const require = 'import { createRequire } from "node:module";';
  await build({
    ...common,
    entryPoints: { app: "./app.js", worker },
    outdir: "out",
    format: "esm",
    banner: { js: `${require} const require = createRequire(import.meta.url);` },
  });
  run(process.execPath, ["out/app.js"], project);

  const commonJs = { ...common, format: "cjs" } as const;
  const defined = {
    ...commonJs,
    define: { "import.meta.url": "moduleUrl" },
    banner: { js: 'const moduleUrl = require("node:url").pathToFileURL(__filename).href;' },
  };
  const outdir = "out/commonjs";
  await build({ ...defined, entryPoints: { app: "./app.js", worker }, outdir });
  writeFileSync(join(project, outdir, "package.json"), '{ "type": "commonjs" }');
  run(process.execPath, [`${outdir}/app.js`], project);

  // What is missing is said, and what to do about it.
  writeFileSync(join(project, "no-worker.js"), code("no-worker", "memkv/worker"));
  await build({ ...defined, entryPoints: ["./no-worker.js"], outdir: "out/no-worker" });
  writeFileSync(join(project, "out/no-worker/package.json"), '{ "type": "commonjs" }');
  run(process.execPath, ["out/no-worker/no-worker.js"], project);

  writeFileSync(join(project, "no-url.js"), code("no-url", "define import.meta.url"));
  await build({ ...commonJs, entryPoints: ["./no-url.js"], outdir });
  run(process.execPath, [`${outdir}/no-url.js`], project);

  writeFileSync(
    join(project, "inline.js"),
    code("inline", "done").replace("{ dur", '{ background: "inline", dur'),
  );
  await build({ ...commonJs, entryPoints: ["./inline.js"], outdir });
  run(process.execPath, [`${outdir}/inline.js`], project);
}

/** The TypeScript blocks of a page must work as they are pasted, one after the other. */
function checkExamples(project: string, page: string): void {
  const blocks = [...readFileSync(join(root, page), "utf8").matchAll(/```ts\n([\s\S]*?)```/g)];
  check(blocks.length > 0, `${page} has no TypeScript block`);
  for (const [i, [, code = ""]] of blocks.entries()) {
    const name = `${basename(page, ".md").toLowerCase()}-${i + 1}`;
    writeFileSync(join(project, `${name}.ts`), code);
    compile(project, `${name}.ts`);
    console.log(run(process.execPath, [`${name}.js`], project));
  }
}

/** Compiles one file of the project as strictly as TypeScript can, memkv's types included. */
function compile(project: string, file: string): void {
  const strict =
    "--strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess --skipLibCheck false";
  const target = "--target es2023 --lib es2023,esnext.disposable --module nodenext";
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const types = ["--types", "node", "--typeRoots", join(root, "node_modules/@types")];
  run(process.execPath, [compiler, ...`${strict} ${target}`.split(" "), ...types, file], project);
}
