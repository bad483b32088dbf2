import { defineConfig, type ViteUserConfig, type ViteUserConfigFnObject } from "vitest/config";

/** `npm test` runs everything but `*.slow.test.ts`; `npm run test:slow` runs only those. */
function configFor(slow: boolean): ViteUserConfig {
  return {
    test: {
      include: slow ? ["test/**/*.slow.test.ts"] : ["test/**/*.test.ts"],
      exclude: slow ? [] : ["test/**/*.slow.test.ts"],
      pool: "forks",
      maxWorkers: 2,
      env: { MEMKV_VERIFY: "1" },
      testTimeout: slow ? 3_600_000 : 120_000,
      hookTimeout: 120_000,
    },
  };
}

const config: ViteUserConfigFnObject = defineConfig(({ mode }) => configFor(mode === "slow"));

export default config;
