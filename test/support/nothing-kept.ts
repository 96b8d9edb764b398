/** For runners without a service manager that keeps their descriptors over a restart. */

import type { KeptDescriptors } from "../../backends/kept-descriptors.ts";

export const NOTHING_KEPT: KeptDescriptors = {
  take: () => null,
  keep: () => undefined,
  forget: () => undefined,
};
