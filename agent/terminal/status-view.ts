/** A daemon's status as text for people. Pure. */

import type { PathTraffic, PeerDetails } from "../../backends/backend.ts";
import { describeRepair } from "../../backends/firewall/repair-history.ts";
import { formatDuration } from "../../ipam/duration.ts";
import type { PathHealth } from "../probes/prober.ts";
import type { StatusReport } from "../report/status.ts";
import { type Cell, formatFields, formatTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

export interface StatusViewOptions {
  /** On the clock of the report's passes: milliseconds since the machine started. */
  readonly nowMs: number;
  /** List every peer, however many. */
  readonly listPeers: boolean;
  /** Default last: next to the prompt. */
  readonly problemsFirst?: boolean;
  readonly terminal: Terminal;
}

/** More peers than this are counted, not listed. */
const LISTED_PEERS = 16;

/** The report as lines; of the problems those in red make the host not ready. */
export function formatStatus(report: StatusReport, options: StatusViewOptions): string {
  const { terminal } = options;
  const { lease, network } = report;
  const fields = formatFields(
    [
      ["state", readiness(report)],
      ["lease", `${lease.key}, ${leaseState(report)}`],
      ["network", `${network.ranges.join(", ")} over ${backends(report)}`],
      ["interface", interfaceText(report)],
      ...report.devices.map(({ name, mtuBytes }) => ["device", `${name}, MTU ${mtuBytes}`] as const),
      ["store", report.store],
      ["peers", peerCounts(report)],
      ...(report.traffic === undefined ? [] : [["traffic", trafficText(report.traffic)] as const]),
      ["kernel", kernelState(report)],
      ["last pass", lastPass(report, options.nowMs)],
      ["repaired", counts(report.kernel.repaired) || "nothing since the start"],
      ["firewall", firewallText(report, options.nowMs)],
      ["version", report.version],
    ],
    terminal,
  );
  const parts = [fields, peerTable(report, options)];
  const problems = problemLines(report, terminal);
  const ordered = options.problemsFirst ? [problems, ...parts] : [...parts, problems];
  return ordered.filter((part) => part !== "").join("\n");
}

/** As in "host-gw, and over vxlan as long as hosts need it". */
function backends({ network: { backend, formerBackends = [] } }: StatusReport): string {
  if (formerBackends.length === 0) return backend;
  return `${backend}, and over ${formerBackends.join(", ")} as long as hosts need it`;
}

function readiness({ isReady }: StatusReport): Cell {
  return isReady ? { style: "green", text: "ready" } : { style: "red", text: "not ready" };
}

function leaseState({ lease }: StatusReport): string {
  if (lease.state !== "held") return lease.reason === null ? lease.state : `${lease.state}: ${lease.reason}`;
  const left = lease.secondsLeft === null ? "a reservation" : `${formatDuration(lease.secondsLeft)} left`;
  return lease.reason === null ? `held, ${left}` : `held, ${left}, but out of date in the store`;
}

function interfaceText({ interface: { name, publicAddress, reason } }: StatusReport): string {
  return `${name}, ${publicAddress} (${reason})`;
}

function peerCounts({ peers, refused }: StatusReport): string {
  const direct = peers.filter(({ path }) => path === "direct").length;
  const fallback = peers.filter(({ path }) => path === "fallback").length;
  const former = peers.filter(({ formerBackend }) => formerBackend !== undefined).length;
  const held = peers.filter(({ isHeld }) => isHeld).length;
  const notes = [
    ...(direct > 0 ? [`${direct} without a tunnel`] : []),
    ...(fallback > 0 ? [`${fallback} by the fall-back`] : []),
    ...(former > 0 ? [`${former} by a former backend`] : []),
    ...(held > 0 ? [`${held} vanished and kept for now`] : []),
    ...(refused.length > 0 ? [`${refused.length} more rejected`] : []),
  ];
  return notes.length === 0 ? `${peers.length}` : `${peers.length} (${notes.join(", ")})`;
}

function trafficText({ sent, received, dropped, icmpErrors }: PathTraffic): string {
  const [drops, errors] = [counts(dropped), counts(icmpErrors)];
  return [
    `sent ${sent.packets} packets, ${sent.bytes} B`,
    `received ${received.packets} packets, ${received.bytes} B`,
    `dropped ${drops || "none"}`,
    ...(errors ? [`ICMP errors sent: ${errors}`] : []),
  ].join("; ");
}

function kernelState({ kernel }: StatusReport): string {
  return `${kernel.desiredObjects} objects, ${kernel.isConverged ? "all as planned" : "not yet as planned"}`;
}

function lastPass({ kernel: { lastPass: pass, passes } }: StatusReport, nowMs: number): string {
  if (pass === null) return "none yet";
  const ago = formatDuration(Math.max(0, nowMs - pass.atMs) / 1000);
  const did = counts(pass.applied) || "nothing to do";
  const failed = pass.failed === 0 ? "" : `, ${pass.failed} failed`;
  return `${ago} ago, ${pass.durationMs.toFixed(1)} ms, ${did}${failed}; ${passes} in all`;
}

function firewallText({ firewall }: StatusReport, nowMs: number): string {
  const { choice, engine, isInSync, repairs, lastRepair } = firewall;
  if (choice === "none") return "left alone";
  if (engine === null) return firewall.note ?? "no engine yet";
  const state = `${engine}, ${isInSync ? "all as planned" : "not as planned"}`;
  if (lastRepair === null) return state;
  const ago = formatDuration(Math.max(0, nowMs - lastRepair.atMs) / 1000);
  const times = repairs === 1 ? "once" : `${repairs} times`;
  return `${state}; repaired ${times}, last ${ago} ago: ${describeRepair(lastRepair)}`;
}

function counts(byKind: Readonly<Partial<Record<string, number>>>): string {
  return Object.entries(byKind)
    .flatMap(([kind, count]) => (count ? [`${kind} ${count}`] : []))
    .join(", ");
}

function peerTable({ peers }: StatusReport, { listPeers, terminal }: StatusViewOptions): string {
  if (peers.length === 0) return "";
  const ordered = peers.toSorted((a, b) => Number(isBroken(b)) - Number(isBroken(a)));
  const listed = listPeers ? ordered : ordered.slice(0, LISTED_PEERS);
  const hasSessions = listed.some(({ details }) => details !== undefined);
  const isProbed = listed.some(({ health }) => health !== undefined);
  const isNamed = listed.some(({ host }) => host !== undefined);
  const rows = listed.map(({ key, host, publicAddress, path, formerBackend, isHeld, details, health }) => [
    key,
    ...(isNamed ? [host?.name ?? "-"] : []),
    publicAddress,
    formerBackend === undefined ? path : `${path} (${formerBackend})`,
    ...(isProbed ? [healthCell(health)] : []),
    ...(hasSessions ? sessionCells(details) : []),
    isHeld ? ({ style: "yellow", text: "kept for now" } as const) : "",
  ]);
  const titles = [...(isProbed ? ["ANSWERS"] : []), ...(hasSessions ? SESSION_TITLES : [])];
  const columns = ["PEER", ...(isNamed ? ["HOST"] : []), "ADDRESS", "PATH", ...titles, ""].map((title) => ({
    title,
  }));
  const more = peers.length - listed.length;
  return `${formatTable(columns, rows, terminal)}${more === 0 ? "" : `and ${more} more: --peers lists them\n`}`;
}

function isBroken({ health }: StatusReport["peers"][number]): boolean {
  return health !== undefined && health.cause !== null;
}

function healthCell(health: PathHealth | undefined): Cell {
  if (health === undefined) return "";
  const { state, roundTripMs, cause, lossShare } = health;
  if (cause !== null) return { style: "red", text: causeText(cause) };
  if (state === "unknown") return "not known yet";
  const lost = Math.round((lossShare ?? 0) * 100);
  const loss = lost === 0 ? "" : `, ${lost} % lost`;
  return `${roundTripMs === null ? "yes" : `${roundTripMs.toFixed(2)} ms`}${loss}`;
}

/** With the family where the other one works; a daemon of an older version does not tell. */
function causeText({ code, family = null }: NonNullable<PathHealth["cause"]>): string {
  return family === null ? code : `${code} (IPv${family})`;
}

const SESSION_TITLES = ["HANDSHAKE", "RECEIVED", "SENT"];

function sessionCells(details: PeerDetails | undefined): readonly string[] {
  if (details === undefined) return SESSION_TITLES.map(() => "");
  const { handshakeAgeSeconds: age, receivedBytes, sentBytes } = details;
  const handshake = age === null ? "none yet" : `${formatDuration(age)} ago`;
  return [handshake, ...[receivedBytes, sentBytes].map((bytes) => `${bytes} B`)];
}

function problemLines({ problems, blocking }: StatusReport, terminal: Terminal): string {
  if (problems.length === 0) return "";
  const lines = problems.map(
    (problem) => `  ${terminal.style(blocking.includes(problem) ? "red" : "yellow", problem)}\n`,
  );
  return `${terminal.style("bold", "problems")}\n${lines.join("")}`;
}
