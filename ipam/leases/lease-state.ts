/** The state of our own lease; own-lease.ts makes the transitions. Pure. */

import type { Takeover } from "./claim.ts";
import type { LeaseKey } from "./lease.ts";

/** Why the key cannot be ours: another host has it, or an older lease overlaps it. */
export type LeaseConflict = Takeover | "overlap";

export type LeaseState =
  | {
      readonly state: "held";
      /** Why the store does not hold what this host has to publish; null when it does. */
      readonly unpublished: string | null;
    }
  /** It expired, or its key is gone; it is requested again. */
  | {
      readonly state: "lost";
      readonly reason: string;
      /** The store says that the key does not exist: recover by a create instead of a replace. */
      readonly isAbsent: boolean;
    }
  | {
      readonly state: "conflict";
      readonly conflict: LeaseConflict;
      readonly reason: string;
      /** The older lease to which we yielded; null when another host has our key itself. */
      readonly rival: LeaseKey | null;
    };

/** Whether another subnet ends the conflict: not against a host with our own public address or node id. */
export function canLeave(conflict: LeaseConflict): boolean {
  return conflict === "other host" || conflict === "overlap";
}
