import { expect, test } from "vitest";
import { PLANTED_BUGS } from "./planted-bugs.ts";
import { changedSource } from "./teeth.ts";

test.each(PLANTED_BUGS)("the planted bug still applies: $name", async ({ changes }) => {
  for (const change of changes) {
    expect((await changedSource(change)).includes(change.replace)).toBe(true);
  }
});

test("at least fifteen bugs are planted, under different names", () => {
  expect(new Set(PLANTED_BUGS.map(({ name }) => name)).size).toBe(PLANTED_BUGS.length);
  expect(PLANTED_BUGS.length).toBeGreaterThanOrEqual(15);
});
