/** The verbs. Each is loaded when it is called, because a container start needs one of them. */

import type { VerbTable } from "../protocol/dispatch.ts";

export const VERBS: VerbTable = {
  ADD: async (call) => (await import("./add.ts")).add(call),
  DEL: async (call) => (await import("./del.ts")).del(call),
  CHECK: async (call) => (await import("./check.ts")).check(call),
  STATUS: async (call) => (await import("./status.ts")).status(call),
  GC: async (call) => (await import("./gc.ts")).collectGarbage(call),
};
