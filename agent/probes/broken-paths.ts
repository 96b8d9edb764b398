/** Broken paths and reached limits as what a status shows: one finding for each cause that lies on this host. Pure. */

import { labelOf } from "../../ipam/hosts/host-label.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import { type Cause, type CauseCode, causeOf, isOfHost } from "./causes.ts";
import type { PathHealth } from "./prober.ts";

/** One thing that is wrong. */
export interface CauseFinding {
  readonly code: CauseCode;
  /** One sentence without the remedy. */
  readonly text: string;
  readonly remedy: string;
  /** The first of the peers that it concerns; null when it is not about peers. */
  readonly peer: LeaseKey | null;
  /** How many peers it concerns. */
  readonly peers: number;
}

export interface PathView {
  readonly peers: Iterable<LeaseKey>;
  /** Peers whose leases have vanished and that are kept for now. */
  readonly held: Pick<ReadonlySet<LeaseKey>, "has" | "size">;
  /** Null where paths are not probed. */
  readonly prober: { health(peer: LeaseKey): PathHealth } | null;
  /** The name of a peer's host; null where it is not known. */
  readonly hostNameOf: (peer: LeaseKey) => string | null;
  /** What is wrong with this host, whatever the path. */
  readonly limits: readonly Cause[];
  /** Why the store cannot be followed; null when it can. */
  readonly storeProblem: string | null;
}

/** With the same cause at more peers than this, they are shown as one. */
const MOST_ALIKE = 3;

/** The causes that lie on this host come first. */
export function causeFindings(view: PathView): readonly CauseFinding[] {
  const groups = new Map<CauseCode, (readonly [LeaseKey, Cause])[]>();
  for (const peer of view.peers) {
    const cause = causeAt(peer, view);
    if (cause === null) continue;
    const group = groups.get(cause.code) ?? [];
    group.push([peer, cause]);
    groups.set(cause.code, group);
  }
  const store = view.storeProblem === null ? [] : [causeOf("store-stale", view.storeProblem)];
  const host = [...store, ...view.limits].map(
    ({ code, text, remedy }): CauseFinding => ({ code, text, remedy, peer: null, peers: 0 }),
  );
  // What limits this host says more than the paths that suffer from it.
  for (const { code } of view.limits) groups.delete(code);
  return [...host, ...[...groups.values()].flatMap((group) => findingsOf(group, view)).toSorted(byScope)];
}

/** A finding as one sentence, with what to do. */
export function findingSentence({ code, text, remedy }: CauseFinding): string {
  return `${text} (${code}): ${remedy}`;
}

function causeAt(peer: LeaseKey, { held, prober }: PathView): Cause | null {
  const health = prober?.health(peer);
  if (health === undefined) return null;
  if (health.cause !== null || health.state !== "good") return health.cause;
  // Agents do not end together: where several leases have vanished, the store has lost them.
  if (held.has(peer) && held.size === 1)
    return causeOf("agent-gone", "answers, but its lease has vanished: its agent renews it no more");
  return health.isAgentQuiet
    ? causeOf("agent-gone", "answers, but its agent, which used to probe this host, does so no more")
    : null;
}

function findingsOf(
  group: readonly (readonly [LeaseKey, Cause])[],
  { hostNameOf }: PathView,
): readonly CauseFinding[] {
  const [first] = group;
  if (first === undefined) return [];
  const isOne = first[1].scope === "host" || group.length > MOST_ALIKE;
  const shown = isOne ? [first] : group;
  return shown.map(([peer, cause]) =>
    findingOf({ peer, cause, label: labelOf(peer, hostNameOf(peer)), peers: isOne ? group.length : 1 }),
  );
}

interface Found {
  readonly peer: LeaseKey;
  readonly label: string;
  readonly cause: Cause;
  readonly peers: number;
}

function findingOf({ peer, label, cause: { code, scope, text, remedy }, peers }: Found): CauseFinding {
  const others = peers === 1 ? "" : `, and ${peers - 1} more peers are concerned`;
  const unreached =
    peers === 1 ? `peer ${label} is not reached` : `${peers} of the peers are not reached, such as ${label}`;
  const sentence = scope === "host" ? `${text}; ${unreached}` : `peer ${label} ${text}${others}`;
  return { code, text: sentence, remedy, peer, peers };
}

function byScope(left: CauseFinding, right: CauseFinding): number {
  const rank = ({ code }: CauseFinding): number => (isOfHost(code) ? 0 : 1);
  return rank(left) - rank(right);
}
