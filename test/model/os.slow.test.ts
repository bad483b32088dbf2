/** The model test with durability "os", 50 times as long as in `npm test`. */
import { test } from "vitest";
import { checkModel } from "./check.ts";

/** A run of some fifty commands takes about 20 milliseconds. */
const RUNS = 50_000;

test('with durability "os" a database is a sorted map, in 50,000 runs', async () => {
  await checkModel("os", RUNS);
});
