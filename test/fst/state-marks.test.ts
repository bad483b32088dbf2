import fc from "fast-check";
import { expect, test } from "vitest";
import { StateMarks } from "../../src/fst/state-marks.ts";

test("marks are found again in order, and targets are counted", () => {
  const address = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 300_000 }));
  const addresses = fc.uniqueArray(address, { maxLength: 60 });
  fc.assert(
    fc.property(addresses, addresses, (others, targets) => {
      const marks = new StateMarks();
      for (const other of others) marks.addOther(other);
      for (const target of targets) marks.addTarget(target);
      const found: number[] = [];
      for (let at = marks.next(0); at >= 0; at = marks.next(at)) found.push(at);
      expect(found).toEqual([...new Set([...others, ...targets])].sort((a, b) => a - b));
      for (const at of found) {
        expect(marks.has(at)).toBe(true);
        expect(marks.isTarget(at)).toBe(targets.includes(at));
        expect(marks.has(at + 1)).toBe(found.includes(at + 1));
      }
      expect(marks.countTargets().length).toBe(targets.length);
      for (const at of found) {
        expect(marks.targetsBelow(at)).toBe(targets.filter((target) => target < at).length);
      }
    }),
  );
});
