/** Cases for the judgement of a path: evidence, facts and what was seen of the tunnel, each changed by a few fields. */

import type { Case, LocalFacts } from "../../../../agent/probes/case.ts";
import type { Cause } from "../../../../agent/probes/causes.ts";
import { judge } from "../../../../agent/probes/judgement.ts";
import type { Evidence, Outcome } from "../../../../agent/probes/probe.ts";
import type { TunnelEvidence } from "../../../../agent/probes/tunnel-watch.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { TARGET } from "./target-fixture.ts";

export const YES: Outcome = { type: "answered", roundTripMs: 1 };
export const NO: Outcome = { type: "silent" };
export const DAMAGED: Outcome = { type: "damaged" };
export const failed = (text: string): Outcome => ({ type: "error", text });

export const REST = { syn: null, isLossy: false, passesBytes: null };
export const WELL: Evidence = { small: YES, full: YES, tcp: YES, outer: YES, ...REST };
export const SILENT: Evidence = { small: NO, full: NO, tcp: NO, outer: NO, ...REST };
export const NEVER = { inner: false, tcp: false, outer: false };
export const ALWAYS = { inner: true, tcp: true, outer: true };

export const FACTS: LocalFacts = {
  link: { name: "eth0", problem: null },
  obstacle: null,
  neighbour: "unknown",
  router: null,
  pathMtuBytes: null,
  neighbourMac: null,
  isNeighbourFixed: false,
  neighbourRefusals: 0,
  reversePathDrops: 0,
  checksumErrors: 0,
  tunnel: null,
  membershipProblem: null,
  isTunnelUnwatched: false,
  isNeighbourNew: false,
};
/** What is seen of a tunnel that is silent for no reason that shows. */
export const SEEN: TunnelEvidence = {
  sent: 6,
  received: 0,
  answers: 0,
  refusals: 0,
  flows: 0,
  handshakes: null,
  mismatch: null,
  otherSource: null,
  macs: ["52:54:00:00:00:01"],
  askedMs: 0,
  rejection: null,
};
export const facts = (given: Partial<LocalFacts>): LocalFacts => ({ ...FACTS, ...given });
export const seen = (given: Partial<TunnelEvidence>): LocalFacts => facts({ tunnel: { ...SEEN, ...given } });
export const late = (ms: number) => ({ ms, isLarge: true });
export const rejectedBy = (from: string): Outcome => ({
  ...{ type: "error", text: "host prohibited by an administrator" },
  from: Address.parse(from),
});
export const ROUTER = Address.parse("192.168.1.1");
export const DEAD_ROUTER = { router: ROUTER, neighbour: "silent" } as const;
export const DIVERTED = { obstacle: { text: "packets to 10.2.54.1 are discarded", isMissingRoute: false } };
/** The peer answers beside the tunnel. */
export const BESIDE: Evidence = { ...SILENT, outer: YES };

export const CASE: Case = {
  target: TARGET,
  evidence: WELL,
  facts: FACTS,
  late: null,
  taken: 0,
  before: ALWAYS,
  elsewhere: ALWAYS,
  isPeerUp: false,
  isPeerOnLink: false,
  isFirewallFound: false,
};
export const causeIn = (given: Partial<Case>): Cause | null => {
  const judged = judge({ ...CASE, ...given });
  return judged === "undecided" ? null : judged;
};
export const code = (given: Partial<Case>): string | null => {
  const judged = judge({ ...CASE, ...given });
  return judged === "undecided" ? judged : (judged?.code ?? null);
};
