/**
 * A plugin of TypeDoc: has links within the page lead to headings that are there.
 *
 * typedoc-plugin-markdown gives the method `Database.stats` and the type `DatabaseStats` one name,
 * "databasestats", and links to what has it second as "databasestats-1"; but the method's heading is
 * "stats", so the type is not second.
 */
import { MarkdownPageEvent } from "typedoc-plugin-markdown";

export function load(app) {
  app.renderer.on(MarkdownPageEvent.END, (page) => {
    const names = new Map();
    const anchors = new Set();
    for (const [, heading] of page.contents.matchAll(/^#+ (.*)$/gm)) {
      const name = heading
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-");
      const count = names.get(name) ?? 0;
      names.set(name, count + 1);
      anchors.add(count === 0 ? name : `${name}-${count}`);
    }
    page.contents = page.contents.replace(/\]\(#([\w-]+)\)/g, (link, anchor) =>
      anchors.has(anchor) ? link : `](#${anchor.replace(/-\d+$/, "")})`,
    );
  });
}
