/** Causes by name, as the daemon and the kernel's limits show them. Pure: the caller asks both. */

import type { CauseFinding } from "../probes/broken-paths.ts";
import { type Cause, isOfHost } from "../probes/causes.ts";
import type { StatusReport } from "../report/status.ts";
import { bad, type Finding, ok, skipped } from "./finding.ts";

/** What a report has of paths; a daemon of another version may leave out the causes. */
export type PathReport = Pick<StatusReport, "peers"> & Partial<Pick<StatusReport, "causes">>;

/** One finding for each cause; `limits` are what this host's kernel shows now, also without a daemon. */
export function causeFindings(report: PathReport | null, limits: readonly Cause[]): readonly Finding[] {
  const known: readonly Pick<CauseFinding, "code" | "text" | "remedy">[] = report?.causes ?? [];
  const more = limits.filter(({ code }) => known.every((cause) => cause.code !== code));
  const found = [...known, ...more].map(({ code, text, remedy }) =>
    bad(isOfHost(code) ? "fail" : "warn", "paths", `${text} (${code})`, remedy),
  );
  return found.length > 0 ? found : [wellFinding(report)];
}

function wellFinding(report: PathReport | null): Finding {
  if (report === null) return skipped("paths", "no daemon tells whether peers answer");
  const states = report.peers.flatMap(({ health }) => health?.state ?? []);
  if (report.peers.length > 0 && states.length === 0)
    return skipped("paths", "the daemon does not probe them (--probe-rate)");
  const good = states.filter((state) => state === "good").length;
  return ok("paths", `${good} of ${report.peers.length} peers answer, none is known to be broken`);
}
