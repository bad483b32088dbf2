/**
 * The pages of the documentation: their links lead somewhere, and the sources they name are there.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "..");

const PAGES = [
  "README.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "bench/compare/README.md",
  "data/README.md",
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

/** A link of Markdown, or a picture of HTML. */
const LINK = /\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"/g;

/** The lines of a page that are text, not code. */
function textOf(page: string): string {
  return readFileSync(join(ROOT, page), "utf8").replace(/^```[\s\S]*?^```$/gm, "");
}

/** What GitHub calls the headings of a page. */
function anchorsOf(page: string): Set<string> {
  const counts = new Map<string, number>();
  const anchors = new Set<string>();
  for (const [, heading = ""] of textOf(page).matchAll(/^#+ (.*)$/gm)) {
    const name = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_\- ]/gu, "")
      .replaceAll(" ", "-");
    const count = counts.get(name) ?? 0;
    counts.set(name, count + 1);
    anchors.add(count === 0 ? name : `${name}-${count}`);
  }
  return anchors;
}

describe.each(PAGES)("%s", (page) => {
  test("links to what is there", () => {
    const broken: string[] = [];
    for (const [, text, picture] of textOf(page).matchAll(LINK)) {
      const link = text ?? picture ?? "";
      if (link.startsWith("https://")) continue;
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : join(dirname(page), path);
      const isThere =
        existsSync(join(ROOT, target)) && (anchor === undefined || anchorsOf(target).has(anchor));
      if (!isThere) broken.push(link);
    }
    expect(broken).toEqual([]);
  });

  test("names sources that are there", () => {
    const named = textOf(page).matchAll(/`((?:src|test|bench|scripts|examples|data)\/[\w./-]+)`/g);
    const missing = [...named].map(([, path = ""]) => path).filter((path) => !isSource(path));
    expect(missing).toEqual([]);
  });
});

test("docs/architecture.md says what each file of the engine owns", () => {
  const page = textOf("docs/architecture.md");
  const files = readdirSync(join(ROOT, "src/engine"));
  expect(files.length).toBeGreaterThan(10);
  expect(files.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
});

/** Whether it is a file or a directory, or a test named without the end of its file's name. */
function isSource(path: string): boolean {
  return [path, `${path}.test.ts`].some((name) => existsSync(join(ROOT, name)));
}
