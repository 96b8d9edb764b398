/** Which hosts have followed a change of the backend in the network configuration, by their leases. Pure. */

import { ConfigError } from "../../ipam/errors.ts";
import { type Audit, type AuditedLease, NO_CONFIG } from "./lease-audit.ts";

export interface Migration {
  /** `Backend.Type` of the network configuration. */
  readonly type: string;
  /** Leases of hosts that have this backend. */
  readonly followed: readonly AuditedLease[];
  /** Leases of hosts with another one. */
  readonly behind: readonly BehindLease[];
}

export interface BehindLease {
  readonly lease: AuditedLease;
  /** Hosts that have followed and do not have its backend any more, or never had: they exchange no packets with it. */
  readonly cutOff: readonly AuditedLease[];
}

/**
 * Reservations whose host never joined, and leases that cannot be read, belong to neither side. Throws ConfigError where
 * no configuration can be used.
 */
export function migrationOf({ leases, config, configProblem }: Audit): Migration {
  if (config === null) throw new ConfigError(configProblem ?? NO_CONFIG);
  const joined = leases.filter(({ attrs, isUnclaimed }) => attrs !== null && !isUnclaimed);
  const followed = joined.filter(({ hasPresentBackend }) => hasPresentBackend);
  const behind = joined
    .filter(({ hasPresentBackend }) => !hasPresentBackend)
    .map((lease) => ({ lease, cutOff: followed.filter((other) => !haveCommonBackend(lease, other)) }));
  return { type: config.backend.type, followed, behind };
}

function haveCommonBackend(one: AuditedLease, other: AuditedLease): boolean {
  const theirs = typesOf(other);
  return typesOf(one).some((type) => theirs.includes(type));
}

/** All types of backend by which the host can be reached. */
function typesOf({ attrs }: AuditedLease): readonly string[] {
  if (attrs === null) return [];
  return [attrs, ...(attrs.otherBackends ?? [])].map(({ backendType }) => backendType);
}
