/** The state of a change of the backend as a table and as JSON. Pure. */

import type { JsonObject } from "../../ipam/json.ts";
import { publicAddresses } from "../leases/lease-audit.ts";
import type { Migration } from "../leases/migration.ts";
import { leaseToJson } from "./lease-view.ts";
import { formatTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

const COLUMNS = ["LEASE", "ADDRESS", "BACKEND", "NODE"].map((title) => ({ title }));

/** Enough of a node id to distinguish hosts. */
const NODE_ID_DIGITS = 8;

/** The hosts with another backend, and what to do about them. */
export function formatMigration({ type, followed, behind }: Migration, terminal: Terminal): string {
  if (behind.length === 0) return `all ${followed.length} hosts use ${type}\n`;
  const rows = behind.map(({ key, attrs }) => [
    key,
    publicAddresses(attrs) || "-",
    attrs?.backendType || "-",
    attrs?.nodeId?.slice(0, NODE_ID_DIGITS) ?? "-",
  ]);
  const total = followed.length + behind.length;
  const advice = "restart the daemon of each; until then it exchanges no packets with the others";
  return `${formatTable(COLUMNS, rows, terminal)}\n${behind.length} of ${total} hosts do not use ${type} yet: ${advice}\n`;
}

/** The same for programs. */
export function migrationToJson({ type, followed, behind }: Migration): JsonObject {
  return { backend: type, followed: followed.length, behind: behind.map(leaseToJson) };
}
