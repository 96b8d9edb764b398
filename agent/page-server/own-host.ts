/** What the page shows of this host beside its place in the network. Pure. */

import { escapeText } from "../../ipam/escape.ts";
import type { NetworkSummary, StatusReport } from "../report/status.ts";
import type { OwnData } from "./page-data.ts";

const LONGEST_TEXT = 400;
const MOST_PROBLEMS = 50;

/** From what `tulle status` shows, without the sentences of `shownElsewhere`. */
export function ownData(
  { status, summary, isReady }: NetworkSummary,
  version: string,
  shownElsewhere: ReadonlySet<string>,
): OwnData {
  const problems = (status?.problems ?? []).filter((text) => !shownElsewhere.has(text));
  const left = problems.length - MOST_PROBLEMS;
  return {
    version,
    isReady,
    summary: escapeText(summary, LONGEST_TEXT),
    ranges: status?.network.ranges ?? [],
    backend: status?.network.backend ?? "",
    facts: (status === null ? [] : factsOf(status)).map(([name, value]) => [
      name,
      escapeText(value, LONGEST_TEXT),
    ]),
    problems: [
      ...problems.slice(0, MOST_PROBLEMS).map((text) => escapeText(text, LONGEST_TEXT)),
      ...(left > 0 ? [`${left} more problems; "tulle status" shows them`] : []),
    ],
  };
}

function factsOf({ lease, interface: uplink, devices, store, kernel, firewall, refused }: StatusReport) {
  const repaired = Object.entries(kernel.repaired).map(([kind, count]) => `${kind}: ${count}`);
  const facts: [string, string][] = [
    ["Lease", `${lease.key}, ${lease.state}${lease.reason === null ? "" : `: ${lease.reason}`}`],
    ["Lease ends", lease.secondsLeft === null ? "never: a reservation" : hoursOf(lease.secondsLeft)],
    ["Interface", `${uplink.name} (${uplink.publicAddress}): ${uplink.reason}`],
    ["Devices", devices.map(({ name, mtuBytes }) => `${name}, MTU ${mtuBytes}`).join("; ") || "none"],
    ["Store", store],
    ["Kernel", kernel.isConverged ? `as planned, ${kernel.desiredObjects} objects` : "being changed"],
    ["Repaired in the kernel", repaired.join(", ") || "nothing"],
    ["Firewall", `${firewall.engine ?? "none"}, ${firewall.isInSync ? "as planned" : "not as planned"}`],
    ["Repaired in the firewall", `${firewall.repairs} times`],
    ["Rejected leases", String(refused.length)],
  ];
  return facts;
}

/** In steps that change seldom. */
function hoursOf(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  if (minutes < 5) return "in less than 5 min unless it is renewed";
  if (minutes < 120) return `in about ${Math.round(minutes / 5) * 5} min unless it is renewed`;
  return `in about ${Math.round(minutes / 60)} h unless it is renewed`;
}
