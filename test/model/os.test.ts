import { test } from "vitest";
import { CHECK_TIMEOUT_MS, checkModel } from "./check.ts";

test(
  'with durability "os" a database is a sorted map, whatever happens to it',
  async () => {
    await checkModel("os", 1000);
  },
  CHECK_TIMEOUT_MS,
);
