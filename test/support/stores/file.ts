/** The file store in a fresh directory. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore } from "../../../ipam/stores/registry.ts";
import { type StoreFactory, testEnvironment } from "./store-factory.ts";

export const fileStore: StoreFactory = {
  name: "file",
  largestValue: 4 << 20,
  missing: async () => null,
  start: async () => {
    const directory = mkdtempSync(join(tmpdir(), "tulle-store-"));
    return {
      connect: () => openStore({ store: `file:${directory}` }, testEnvironment),
      stop: async () => rmSync(directory, { recursive: true, force: true }),
    };
  },
};
