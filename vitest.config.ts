import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";

/** With Bun as the runtime of the suites, what deploy/package/executable.mjs does for the executable. */
const runtime =
  process.versions.bun === undefined
    ? {}
    : {
        resolve: {
          alias: { koffi: fileURLToPath(new URL("backends/netlink/koffi-bun.ts", import.meta.url)) },
        },
      };

/** Suites that need root run their files one after another: two cores, one kernel. */
const suite = (name: string, include: string[], options: object = {}) => ({
  ...runtime,
  test: { name, include, environment: "node" as const, pool: "forks" as const, ...options },
});

/**
 * Files of these suites share processes, and the modules that they load: a process for each costs more than its tests.
 * Most of the time tests wait, so there are more processes than processors.
 */
const fastSuite = { isolate: false, maxWorkers: 4, testTimeout: 20_000 };

const kernelSuite = {
  testTimeout: 60_000,
  hookTimeout: 120_000,
  fileParallelism: false,
  // After the fast suites, where both are run at once.
  sequence: { groupOrder: 1 },
};

/** End-to-end tests with container engines, on this machine's and on the newest. */
const ENGINES = ["docker", "cni", "podman"].map((folder) => `test/e2e/${folder}/**/*.test.ts`);

/** Packages of all formats, installed, upgraded and removed. */
const PACKAGES = "test/e2e/packages/**/*.test.ts";

export default defineConfig({
  test: {
    projects: [
      suite("unit", ["test/unit/**/*.test.ts"], { ...fastSuite, hookTimeout: 30_000 }),
      suite("codec", ["test/codec/**/*.test.ts"], fastSuite),
      suite("property", ["test/property/**/*.test.ts"], { ...fastSuite, testTimeout: 60_000 }),
      suite("conformance", ["test/conformance/**/*.test.ts"], kernelSuite),
      suite("kernel", ["test/kernel/**/*.test.ts"], kernelSuite),
      suite("e2e", ["test/e2e/**/*.test.ts"], {
        ...kernelSuite,
        testTimeout: 180_000,
        exclude: [...configDefaults.exclude, ...ENGINES, PACKAGES],
      }),
      suite("packages", [PACKAGES], {
        ...kernelSuite,
        testTimeout: 180_000,
        globalSetup: ["test/support/built-executable.ts"],
      }),
      suite("engines", ENGINES, { ...kernelSuite, testTimeout: 180_000 }),
      suite("guest", ["test/guest/**/*.test.ts"], {
        ...kernelSuite,
        testTimeout: 300_000,
        hookTimeout: 300_000,
      }),
      // Half an hour and more: run by hand.
      suite("guest-long", ["test/guest-long/**/*.test.ts"], {
        ...kernelSuite,
        testTimeout: 900_000,
        hookTimeout: 300_000,
      }),
      suite("fault", ["test/fault/**/*.test.ts"], { ...kernelSuite, testTimeout: 180_000 }),
    ],
  },
});
