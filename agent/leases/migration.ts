/** Which hosts have followed a change of the backend in the network configuration, by their leases. Pure. */

import { ConfigError } from "../../ipam/errors.ts";
import type { Audit, AuditedLease } from "./lease-audit.ts";

export interface Migration {
  /** `Backend.Type` of the network configuration. */
  readonly type: string;
  /** Leases of hosts that have this backend. */
  readonly followed: readonly AuditedLease[];
  /** Leases of hosts with another one: neither side programs the other. */
  readonly behind: readonly AuditedLease[];
}

/**
 * Reservations whose host never joined, and leases that cannot be read, belong to neither side. Throws ConfigError where
 * no configuration can be used.
 */
export function migrationOf({ leases, config, leaseType, configProblem }: Audit): Migration {
  if (config === null) throw new ConfigError(configProblem ?? "the network has no configuration");
  const joined = leases.filter(({ attrs, isUnclaimed }) => attrs !== null && !isUnclaimed);
  const hasFollowed = ({ attrs }: AuditedLease): boolean => attrs?.backendType === leaseType;
  return {
    type: config.backend.type,
    followed: joined.filter(hasFollowed),
    behind: joined.filter((lease) => !hasFollowed(lease)),
  };
}
