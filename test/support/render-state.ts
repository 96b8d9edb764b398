/** Kernel objects as text, to compare and to read. */

import { describe, type KernelObject } from "../../backends/state/kinds/registry.ts";

/** The whole state as sorted lines. */
export function renderState(objects: Iterable<KernelObject>): string {
  return [...objects].map(describe).sort().join("\n");
}
