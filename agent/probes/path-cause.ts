/** What is wrong with the paths to a peer, of which there is one for each family. Pure. */

import type { Family } from "../../ipam/addresses/ip.ts";
import type { Cause } from "./causes.ts";
import type { PathState } from "./path-watch.ts";

export interface PathCause extends Cause {
  readonly sinceMs: number;
  /** Of the packets that do not pass; null where it concerns every family that the peer has. */
  readonly family: Family | null;
  /** It concerns a part of the peer's subnet. */
  readonly isPartial?: true;
}

export interface FamilyPath {
  readonly family: Family;
  readonly state: PathState;
}

/** The cause of the first path that is bad; null where none is. */
export function pathCause(paths: readonly FamilyPath[]): PathCause | null {
  const bad = paths.flatMap(({ family, state }) => (state.state === "bad" ? [{ ...state, family }] : []));
  const [first] = bad;
  if (first === undefined) return null;
  const { cause, sinceMs, family } = first;
  const isWhole = bad.length === paths.length && bad.every((one) => one.cause.code === cause.code);
  return isWhole
    ? { ...cause, sinceMs, family: null }
    : { ...cause, text: withFamily(cause, family), sinceMs, family };
}

/** That of this host is a sentence, that of a peer the end of one. */
function withFamily({ scope, text }: Cause, family: Family): string {
  return scope === "host" ? `${text} (IPv${family})` : `over IPv${family} ${text}`;
}
