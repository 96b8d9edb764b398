/** Finds the lease that a person means. Pure. */

import { Address, entriesOf, Prefix } from "../../ipam/addresses/ip.ts";
import { ConfigError } from "../../ipam/errors.ts";
import type { AuditedLease } from "./lease-audit.ts";

/** A node id is recognised by this many of its first digits. */
const SHORTEST_NODE_ID = 4;

/**
 * The lease with this key (`10.2.54.0-24`), subnet (`10.2.54.0/24`), public address, node id, or with this address
 * in its subnet. Throws ConfigError when none is meant, or more than one.
 */
export function selectLease(leases: readonly AuditedLease[], text: string): AuditedLease {
  const exact = leases.find(({ key }) => key === text || key === text.replaceAll("/", "-"));
  if (exact !== undefined) return exact;
  const found = leases.filter((lease) => matches(lease, text));
  const [first] = found;
  if (first === undefined) {
    throw new ConfigError(
      `"${text}" names no lease: give a key, a subnet, a public address, a node id or an address in a subnet; "tulle leases" lists them`,
    );
  }
  if (found.length > 1) {
    throw new ConfigError(
      `"${text}" means several leases, ${found.map(({ key }) => key).join(", ")}; give one of these keys`,
    );
  }
  return first;
}

function matches({ subnets, attrs }: AuditedLease, text: string): boolean {
  if (text.length >= SHORTEST_NODE_ID && attrs?.nodeId?.startsWith(text)) return true;
  const known = [...entriesOf(subnets ?? {})].map(([, subnet]) => subnet);
  const prefix = Prefix.parseOrNull(text);
  if (prefix !== null) return known.some((subnet) => subnet.equals(prefix));
  const address = Address.parseOrNull(text);
  if (address === null) return false;
  const isPublic = [...entriesOf(attrs?.publicAddress ?? {})].some(([, own]) => own.equals(address));
  return isPublic || known.some((subnet) => subnet.contains(address));
}
