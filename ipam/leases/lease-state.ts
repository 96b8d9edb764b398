/** How it stands with our own lease. Types only; own-lease.ts moves it from one state to the other. */

import type { Takeover } from "./claim.ts";

/** Why the key cannot be ours: another host has it, or an older lease overlaps it. */
export type LeaseConflict = Takeover | "overlap";

export type LeaseState =
  | { readonly state: "held" }
  /** Its time is over, or its key is gone; it is being asked for again. */
  | { readonly state: "lost"; readonly reason: string }
  | { readonly state: "conflict"; readonly conflict: LeaseConflict; readonly reason: string };
