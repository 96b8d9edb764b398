/** The file store in a fresh directory. */

import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../ipam/clock.ts";
import { FileHolder } from "../../../ipam/stores/file/holder.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { putInto, type StoreFactory, testEnvironment } from "./store-factory.ts";

const readBootId = async (): Promise<string> =>
  (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();

export const fileStore: StoreFactory = {
  name: "file",
  largestValue: 4 << 20,
  missing: async () => null,
  start: async () => {
    const directory = mkdtempSync(join(tmpdir(), "tulle-store-"));
    const holder = new FileHolder({ directory, clock: systemClock, readBootId });
    return {
      connect: () => openStore({ store: `file:${directory}` }, testEnvironment),
      put: (key, value) => putInto(holder, key, value),
      stop: async () => rmSync(directory, { recursive: true, force: true }),
    };
  },
};
