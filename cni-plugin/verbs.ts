/** The verbs and where they are. Each is loaded when it is called: a container start needs one of them. */

import type { VerbTable } from "./dispatch.ts";

export const VERBS: VerbTable = {
  ADD: async (call) => (await import("./commands/add.ts")).add(call),
  DEL: async (call) => (await import("./commands/del.ts")).del(call),
  CHECK: async (call) => (await import("./commands/check.ts")).check(call),
  STATUS: async (call) => (await import("./commands/status.ts")).status(call),
  GC: async (call) => (await import("./commands/gc.ts")).collectGarbage(call),
};
