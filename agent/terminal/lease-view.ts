/** Leases as a table, as fields and as JSON. Pure. */

import { mapFamilies } from "../../ipam/addresses/ip.ts";
import type { HostNames } from "../../ipam/hosts/host-directory.ts";
import type { HostProfile } from "../../ipam/hosts/host-profile.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { type AuditedLease, publicAddresses } from "../leases/lease-audit.ts";
import { escapeSentence } from "./error-line.ts";
import { type Cell, formatFields, formatTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** Enough of a node id to distinguish hosts. */
const NODE_ID_DIGITS = 8;

const COLUMNS = ["LEASE", "HOST", "ADDRESS", "BACKEND", "IDENTITY", "NODE", "KIND"].map((title) => ({
  title,
}));

/** A table, and below it a line for every lease that the daemons reject. */
export function formatLeases(leases: readonly AuditedLease[], hosts: HostNames, terminal: Terminal): string {
  if (leases.length === 0) return "no leases\n";
  const rows = leases.map((lease) => [
    lease.problem === null ? lease.key : { style: "red" as const, text: lease.key },
    hostNameOf(lease, hosts),
    publicAddresses(lease.attrs) || "-",
    lease.attrs?.backendType || "-",
    lease.identities.join(", ") || "-",
    lease.attrs?.nodeId?.slice(0, NODE_ID_DIGITS) ?? "-",
    kindOf(lease),
  ]);
  const problems = [...leases.map(({ problem }) => problem), hosts.problem].flatMap((problem) =>
    problem === null ? [] : [`! ${escapeSentence(problem)}\n`],
  );
  const separator = problems.length === 0 ? "" : "\n";
  return formatTable(COLUMNS, rows, terminal) + separator + problems.join("");
}

/** Everything about one lease. */
export function formatLease(lease: AuditedLease, hosts: HostNames, terminal: Terminal): string {
  const { entry, attrs } = lease;
  const host = profileOf(lease, hosts);
  return formatFields(
    [
      ["lease", lease.key],
      ["host", host === null ? "-" : `${host.name}, tulle ${host.version}, kernel ${host.kernel}`],
      ...(host === null ? [] : [["can run", host.backends.join(", ") || "no backend"] as const]),
      ["kind", kindOf(lease)],
      ...Object.values(lease.subnets ?? {}).map((subnet) => ["subnet", subnet.toString()] as const),
      ["address", publicAddresses(attrs) || "-"],
      ["backend", attrs?.backendType || "-"],
      ...Object.values(attrs?.backendData ?? {}).map((data) => ["data", JSON.stringify(data)] as const),
      ["node", attrs?.nodeId ?? "unknown: its host runs another agent"],
      ["store lease", entry.storeLeaseId ?? "none"],
      ["revision", `${entry.revision}, created at ${entry.createRevision}`],
      ["in use", useOf(lease)],
      ...(attrs === null ? [["value", entry.value] as const] : []),
    ],
    terminal,
  );
}

/** The same for programs; revisions are text because they may exceed a double's integers. */
export function leaseToJson(lease: AuditedLease, hosts: HostNames): JsonObject {
  const { entry, attrs } = lease;
  return {
    key: lease.key,
    host: profileToJson(profileOf(lease, hosts)),
    subnets: Object.values(mapFamilies(lease.subnets ?? {}, String)),
    publicAddresses: Object.values(mapFamilies(attrs?.publicAddress ?? {}, String)),
    backendType: attrs?.backendType ?? null,
    backendData: Object.values(attrs?.backendData ?? {}),
    identities: lease.identities,
    nodeId: attrs?.nodeId ?? null,
    isReservation: lease.isReservation,
    isAwaited: lease.isUnclaimed,
    storeLeaseId: entry.storeLeaseId,
    revision: entry.revision.toString(),
    createRevision: entry.createRevision.toString(),
    problem: lease.problem,
  };
}

/** For a cell; a dash for a host without a record. */
export function hostNameOf(lease: AuditedLease, hosts: HostNames): string {
  return profileOf(lease, hosts)?.name ?? "-";
}

function profileOf({ attrs }: AuditedLease, hosts: HostNames): HostProfile | null {
  return hosts.profileOf(attrs?.nodeId ?? null);
}

function profileToJson(profile: HostProfile | null): JsonObject | null {
  return profile === null ? null : { ...profile };
}

function useOf({ problem, isUnclaimed }: AuditedLease): Cell {
  if (problem !== null) return { style: "red", text: `no: ${problem}` };
  return isUnclaimed ? "not yet: its host has not joined" : "yes";
}

function kindOf({ isReservation, isUnclaimed }: AuditedLease): string {
  if (isUnclaimed) return "reserved, host not joined";
  return isReservation ? "reservation" : "lease";
}
