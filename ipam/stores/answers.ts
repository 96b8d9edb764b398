/**
 * The refusals that every store answers with, in the same words.
 */

import { ConflictError, LeaseLostError, StoreError, SubnetTakenError } from "../errors.ts";

export function subnetTaken(key: string): SubnetTakenError {
  return new SubnetTakenError(`the lease ${key} exists already: choose another subnet`, { details: { key } });
}

export function leaseGone(key: string): LeaseLostError {
  return new LeaseLostError(`the lease ${key} is gone from the store: acquire it again`, {
    details: { key },
  });
}

export function leaseChanged(key: string): LeaseLostError {
  return new LeaseLostError(`the lease ${key} was changed by another host: read it again`, {
    details: { key },
  });
}

export function changedMeanwhile(key: string): ConflictError {
  return new ConflictError(`${key} was changed by somebody else meanwhile: read it again`, {
    details: { key },
  });
}

/** True when a write failed without an answer that says whether it happened. */
export function isOutcomeUnknown(error: unknown): boolean {
  return error instanceof StoreError && error.details.outcomeUnknown === true;
}
