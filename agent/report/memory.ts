/** Keeps the daemon's heap small: after its start it mostly waits, and V8's defaults are for programs that do not. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** The kernel's echoes of what was programmed have been read by then. */
const AFTER_START_MS = 1000;

/**
 * To be called before there is much: the space for new objects stays at its first size, instead of growing to 32 MiB
 * with the first listing and never shrinking. Programming thousands of peers takes no longer for it.
 */
export function keepYoungSpaceSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}

/** Gives back, a moment later, what the first listing and the first pass left behind. */
export function collectAfterStart(): void {
  setTimeout(() => {
    setFlagsFromString("--expose-gc");
    const collect: unknown = runInNewContext("gc");
    if (typeof collect === "function") collect();
  }, AFTER_START_MS).unref();
}
