import { defineConfig, type ViteUserConfig } from "vitest/config";

/** `npm test` runs everything but `*.slow.test.ts`; `npm run test:slow` runs only those. */
const slow = process.env["MEMKV_SLOW_TESTS"] === "1";

const config: ViteUserConfig = defineConfig({
  test: {
    include: slow ? ["test/**/*.slow.test.ts"] : ["test/**/*.test.ts"],
    exclude: slow ? [] : ["test/**/*.slow.test.ts"],
    pool: "forks",
    env: { MEMKV_VERIFY: "1" },
    testTimeout: slow ? 3_600_000 : 120_000,
    hookTimeout: 120_000,
  },
});

export default config;
