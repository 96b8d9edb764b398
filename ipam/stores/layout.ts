/**
 * Locates keys under a network's prefix: flannel's layout, and a folder that flannel does not read.
 *
 * Pure text. Only lease keys may begin with `<prefix>/subnets`: flanneld lists by that string and
 * drops its peers when one key there does not parse.
 */

import { posix } from "node:path";
import { ConfigError } from "../errors.ts";
import type { Logger } from "../log.ts";

export interface Layout {
  /** Full key of the network configuration. */
  readonly config: string;
  /** Folder of the leases, with its closing slash. */
  readonly subnets: string;
  /** Folder of tulle's records, with its closing slash. */
  readonly records: string;
}

/** The layout under `prefix`, cleaned as flanneld cleans it: `/a//b/` means `/a/b`. ConfigError for an empty prefix. */
export function layoutOf(prefix: string): Layout {
  const folder = posix.normalize(prefix).replace(/\/+$/, "");
  if (folder === "" || folder === ".")
    throw new ConfigError(`the store prefix "${prefix}" is empty: give one such as /coreos.com/network`);
  return { config: `${folder}/config`, subnets: `${folder}/subnets/`, records: `${folder}/tulle/` };
}

/** flannel's keys in etcd begin with a slash; a prefix without one names other keys, which is rarely intended. */
export function warnAboutMissingSlash(prefix: string, log: Logger): void {
  if (prefix.startsWith("/")) return;
  log.warn("store prefix has no leading slash: it names other keys than the same text with one", { prefix });
}

/** The key of a record, which must stay inside the folder of records. ConfigError for another name. */
export function recordKey(layout: Layout, name: string): string {
  if (name === "" || name.startsWith("/") || name.endsWith("/") || name.includes("//")) {
    throw new ConfigError(`"${name}" cannot name a record: use words separated by single slashes`);
  }
  return layout.records + name;
}

/** The folder of the records whose names begin with `folder`: text that ends in a slash, or empty for all records. */
export function recordFolder(layout: Layout, folder: string): string {
  if (folder === "") return layout.records;
  if (!folder.endsWith("/"))
    throw new ConfigError(`"${folder}" cannot name a folder of records: end it in a slash`);
  return `${recordKey(layout, folder.slice(0, -1))}/`;
}

/** A folder of records as recordFolder, or a single record as recordKey. */
export function recordRange(layout: Layout, range: string): string {
  return range === "" || range.endsWith("/") ? recordFolder(layout, range) : recordKey(layout, range);
}
