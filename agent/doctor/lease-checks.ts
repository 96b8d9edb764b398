/** What the leases say about this host. Pure: a listing in, findings out. */

import { type Address, entriesOf, type PerFamily } from "../../ipam/addresses/ip.ts";
import type { Audit, AuditedLease } from "../leases/lease-audit.ts";
import { bad, type Finding, ok } from "./finding.ts";

export interface OwnHost {
  /** Null before tulled's first start. */
  readonly nodeId: string | null;
  readonly publicAddresses: PerFamily<Address>;
}

/** Our own lease, rivals for our public address, and how the others are. */
export function leaseFindings({ leases }: Audit, host: OwnHost): readonly Finding[] {
  const own = leases.find((lease) => isOwn(lease, host));
  const rivals = leases.filter((lease) => lease !== own && hasOurAddress(lease, host));
  const wrong = leases.filter(({ problem }) => problem !== null);
  return [
    own === undefined
      ? ok("own lease", "this host has none yet; it gets one when tulled starts")
      : ok("own lease", `${own.key}${own.isReservation ? ", a reservation" : ""}`),
    ...rivals.map(rivalFinding),
    wrong.length === 0
      ? ok("leases", `${leases.length} in all, none of them wrong`)
      : bad(
          "warn",
          "leases",
          `${wrong.length} of ${leases.length} cannot be used`,
          '"tulle lease check" says which and why',
        ),
  ];
}

function rivalFinding({ key, attrs, isAwaited }: AuditedLease): Finding {
  if (isAwaited) return ok("address", `lease ${key} is reserved for this host's public address`);
  if (attrs?.nodeId === null) {
    return bad(
      "warn",
      "address",
      `lease ${key} has this host's public address and was made by flanneld`,
      "tulled adopts it; make sure that flanneld no longer runs here",
    );
  }
  return bad(
    "warn",
    "address",
    `lease ${key} has this host's public address but another node id`,
    "if two hosts have this address give one another --public-ip; a reinstalled host adopts the lease",
  );
}

function isOwn({ attrs }: AuditedLease, { nodeId }: OwnHost): boolean {
  return nodeId !== null && attrs?.nodeId === nodeId;
}

function hasOurAddress({ attrs }: AuditedLease, { publicAddresses }: OwnHost): boolean {
  return [...entriesOf(attrs?.publicAddress ?? {})].some(([family, address]) =>
    publicAddresses[family]?.equals(address),
  );
}
