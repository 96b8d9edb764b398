/** Keeps the daemon's heap small: after its start it mostly waits, and V8's defaults are for busy programs. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Faults, guarded } from "../../ipam/faults.ts";
import { programMappings, releaseProgramPages } from "./program-pages.ts";
import { mapSinglePages } from "./single-pages.ts";

/** Bun's own functions, in the executable. */
const { Bun: bun } = globalThis as {
  readonly Bun?: { gc(isSynchronous: boolean): void; shrink(): void };
};

/** The start itself is over by then. */
const PAGES_AFTER_START_MS = 2_000;
/** By then new peers have been probed. Sooner the collection would delay a host that starts among others. */
const COLLECT_AFTER_START_MS = 10_000;

/**
 * Call it before large allocations: the space for new objects stays at its first size, instead of growing to 32 MiB with
 * the first listing and never shrinking. Programming thousands of peers takes no longer. In Bun it has no effect.
 */
export function keepYoungSpaceSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}

/** Frees, in two steps, what the start, the first listing, the first pass and the first probes left behind. */
export function collectAfterStart(faults: Faults): void {
  const release = guarded(faults, "freeing memory", () => {
    mapSinglePages(programMappings());
    releaseProgramPages();
  });
  const collect = guarded(faults, "freeing memory", () => {
    collectAll();
    releaseProgramPages();
  });
  setTimeout(release, PAGES_AFTER_START_MS).unref();
  setTimeout(collect, COLLECT_AFTER_START_MS).unref();
}

function collectAll(): void {
  if (bun !== undefined) {
    bun.gc(true);
    bun.shrink();
    return;
  }
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("gc");
  if (typeof gc === "function") gc();
}
