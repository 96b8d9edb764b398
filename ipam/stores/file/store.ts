/**
 * The embedded store: leases in a directory that the agents of one machine share.
 *
 * holder.ts defines the format of the directory, key-value.ts what a store does.
 */

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { ConfigError } from "../../errors.ts";
import type { StoreConnection } from "../contracts.ts";
import type { StoreEnvironment } from "../options.ts";
import { FileHolder } from "./holder.ts";
import { embeddedNetwork } from "./key-value.ts";

/** Changes with every boot (random(4)), which restarts the monotonic clock. */
const BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id";

/** Opens the store in `directory`, which the first write creates. ConfigError when the name is empty. */
export function openFileStore(directory: string, environment: StoreEnvironment): StoreConnection {
  if (directory === "") throw new ConfigError("--store file: names no directory: write file:DIR");
  const path = resolve(directory);
  const holder = new FileHolder({
    directory: path,
    clock: environment.clock,
    readBootId: onceRead(BOOT_ID_PATH),
  });
  return {
    description: `file:${path}`,
    remoteHost: null,
    remoteHosts: [],
    network: (prefix) => embeddedNetwork(`file:${path}`, prefix, holder, environment),
    redial: () => {},
    close: async () => {},
  };
}

function onceRead(path: string): () => Promise<string> {
  let text: Promise<string> | null = null;
  return () => {
    text ??= readFile(path, "utf8").then((content) => content.trim());
    return text;
  };
}
