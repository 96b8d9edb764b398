/** The reference CNI plugins of Debian's suites, as an oracle and as links of chains. */

import { join } from "node:path";
import process from "node:process";
import { it } from "vitest";
import { fetchPackage } from "../../deploy/verify/foreign-packages.mjs";

export type Suite = "bullseye" | "bookworm" | "sid";

const PACKAGE = "containernetworking-plugins";
const folders = new Map<Suite, string | null>();

/** Folder of the reference plugins; bullseye's has flannel too. null when they cannot be fetched. */
export function referencePlugins(suite: Suite): string | null {
  const known = folders.get(suite);
  if (known !== undefined) return known;
  const folder = fetchOrNull(suite);
  folders.set(suite, folder);
  return folder;
}

/** As `it`; skipped, visibly, where a suite's plugins cannot be fetched, unless CI is set. */
export function itWithPlugins(suite: Suite): typeof it {
  if (process.env.CI) return it;
  return referencePlugins(suite) === null ? (it.skip as typeof it) : it;
}

function fetchOrNull(suite: Suite): string | null {
  try {
    return join(fetchPackage(suite, PACKAGE), "usr/lib/cni");
  } catch (error) {
    if (process.env.CI) throw error;
    console.log(`no reference plugins of ${suite}: ${error}`);
    return null;
  }
}
