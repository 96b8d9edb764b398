/** The state of a change of the backend as a table and as JSON. Pure. */

import type { HostNames } from "../../ipam/hosts/host-directory.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { publicAddresses } from "../leases/lease-audit.ts";
import type { Migration } from "../leases/migration.ts";
import { hostNameOf, leaseToJson } from "./lease-view.ts";
import { formatTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

const COLUMNS = ["LEASE", "HOST", "ADDRESS", "BACKEND", "NODE", "REACHED BY"].map((title) => ({ title }));

/** Enough of a node id to distinguish hosts. */
const NODE_ID_DIGITS = 8;

/** The hosts with another backend, and what to do about them. */
export function formatMigration(
  { type, followed, behind }: Migration,
  hosts: HostNames,
  terminal: Terminal,
): string {
  if (behind.length === 0) return `all ${followed.length} hosts use ${type}\n`;
  const rows = behind.map(({ lease, lease: { key, attrs }, cutOff }) => [
    key,
    hostNameOf(lease, hosts),
    publicAddresses(attrs) || "-",
    attrs?.backendType || "-",
    attrs?.nodeId?.slice(0, NODE_ID_DIGITS) ?? "-",
    cutOff.length === 0 ? "all hosts" : `all but ${cutOff.length} of ${type}`,
  ]);
  const total = followed.length + behind.length;
  return `${formatTable(COLUMNS, rows, terminal)}\n${behind.length} of ${total} hosts do not use ${type} yet: ${adviceFor(behind)}\n`;
}

function adviceFor(behind: Migration["behind"]): string {
  const advice = "restart the daemon of each";
  if (behind.every(({ cutOff }) => cutOff.length === 0))
    return `${advice}; until then the others reach it by its former backend`;
  return `${advice}; until then some exchange no packets with hosts that have followed and do not have their backend`;
}

/** The same for programs. */
export function migrationToJson({ type, followed, behind }: Migration, hosts: HostNames): JsonObject {
  return {
    backend: type,
    followed: followed.length,
    behind: behind.map(({ lease, cutOff }) => ({
      ...leaseToJson(lease, hosts),
      cutOff: cutOff.map(({ key }) => key),
    })),
  };
}
