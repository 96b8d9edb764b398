/** Checks of this host's lease and of the others. Pure. */

import { type Address, entriesOf, type PerFamily } from "../../ipam/addresses/ip.ts";
import type { Audit, AuditedLease } from "../leases/lease-audit.ts";
import type { StatusReport } from "../report/status.ts";
import { bad, type Finding, ok } from "./finding.ts";

export interface OwnHost {
  /** Null before tulled's first start. */
  readonly nodeId: string | null;
  readonly publicAddresses: PerFamily<Address>;
  /** What a running daemon says of its lease; null without one. */
  readonly reported: StatusReport["lease"] | null;
}

/** Our own lease, other leases with our public address, and the state of the rest. */
export function leaseFindings({ leases }: Audit, host: OwnHost): readonly Finding[] {
  const own = leases.find((lease) => isOwn(lease, host));
  const sharers = leases.filter((lease) => lease !== own && hasOurAddress(lease, host));
  const wrong = leases.filter((lease) => lease !== own && lease.problem !== null);
  const [first] = wrong;
  return [
    ownFinding(own, host),
    ...sharers.map(sharedAddressFinding),
    first === undefined
      ? ok("leases", `${leases.length} in all, none rejected`)
      : bad(
          "warn",
          "leases",
          `${wrong.length} of ${leases.length} are rejected, such as ${first.problem}`,
          '"tulle lease check" lists them with reasons',
        ),
  ];
}

/** The problem names its remedy. */
function ownFinding(own: AuditedLease | undefined, { reported }: OwnHost): Finding {
  if (reported !== null && reported.state !== "held") {
    const message = `${reported.key} is lost: ${reported.reason ?? reported.state}`;
    return { verdict: "fail", subject: "own lease", message, remedy: null };
  }
  if (own === undefined) return ok("own lease", "this host has none yet; tulled acquires one at its start");
  if (own.problem !== null)
    return { verdict: "fail", subject: "own lease", message: own.problem, remedy: null };
  return ok("own lease", `${own.key}${own.isReservation ? ", a reservation" : ""}`);
}

function sharedAddressFinding({ key, attrs, isUnclaimed }: AuditedLease): Finding {
  if (isUnclaimed) return ok("address", `lease ${key} is reserved for this host's public address`);
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
    "if two hosts have this address, set another --public-ip on one of them; a reinstalled host adopts the lease",
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
