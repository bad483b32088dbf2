/** The tests have teeth: each planted bug is caught, and nothing is caught without one. */
import { describe, expect, test } from "vitest";
import { PLANTED_BUGS } from "./planted-bugs.ts";
import { runWith } from "./teeth.ts";

describe.each(["crash", "faults", "damage"])("the check of %s", (check) => {
  test("finds nothing where no bug is planted", async () => {
    expect(await runWith(undefined, check)).toEqual({ isCaught: false, output: "" });
  });

  test.each(PLANTED_BUGS.filter(({ caughtBy }) => caughtBy === check))(
    "catches: $name",
    async (bug) => {
      const { isCaught, output } = await runWith(bug, check);
      expect(isCaught).toBe(true);
      expect(output).not.toContain("SyntaxError");
    },
  );
});
