/**
 * The errors of rejected writes, the same for every store.
 */

import { ConflictError, LeaseLostError, StoreError, SubnetTakenError } from "../errors.ts";
import { escapeText } from "../escape.ts";

export function subnetTaken(key: string): SubnetTakenError {
  return new SubnetTakenError(`the lease ${escapeText(key)} exists already: choose another subnet`, {
    details: { key },
  });
}

export function leaseGone(key: string): LeaseLostError {
  return new LeaseLostError(`the lease ${escapeText(key)} is gone from the store: acquire it again`, {
    details: { key },
  });
}

export function leaseChanged(key: string): LeaseLostError {
  return new LeaseLostError(`the lease ${escapeText(key)} was changed by another host: read it again`, {
    details: { key },
  });
}

export function changedMeanwhile(key: string): ConflictError {
  return new ConflictError(`${escapeText(key)} was changed by another writer: read it again`, {
    details: { key },
  });
}

/** True when a write failed without an answer that says whether it happened. */
export function isOutcomeUnknown(error: unknown): boolean {
  return error instanceof StoreError && error.details.outcomeUnknown === true;
}
