/** Whether this host's kernel routes packets to peers as tulled means them to go. */

import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { entriesOf, mapFamilies } from "../../ipam/addresses/ip.ts";
import type { ChosenInterfaces } from "../host/choose-interface.ts";
import type { Audit, AuditedLease } from "../leases/lease-audit.ts";
import type { StatusReport } from "../report/status.ts";
import { fullRoutingCheck, type NetworkView } from "../routing/peer-sample.ts";
import { checkRouting } from "../routing/routing-check.ts";
import { bad, type Finding, ok, skipped } from "./finding.ts";

/** Whether the kernel's rules and routes lead packets to peers as tulled means them to go. */
export function lookAtRoutes(
  connection: NetlinkConnection,
  audit: Audit | null,
  chosen: ChosenInterfaces | null,
  report: StatusReport | null,
): readonly Finding[] {
  if (audit === null || chosen === null)
    return [skipped("routes", "the store or the interface is not known")];
  const network = networkView(audit, chosen, report);
  const problems = checkRouting(connection, fullRoutingCheck(network));
  if (problems.length > 0)
    return problems.map(({ message, remedy }) => bad("fail", "routes", message, remedy));
  const what = report?.isReady ? "subnets and public addresses" : "public addresses";
  return [ok("routes", `${what} of ${network.peers.length} peers are routed as intended`)];
}

/** Subnets are checked only when a ready daemon has programmed their routes. */
function networkView(audit: Audit, chosen: ChosenInterfaces, report: StatusReport | null): NetworkView {
  const isProgrammed = report?.isReady ?? false;
  const own = audit.leases.find(({ key }) => key === report?.lease.key);
  const paths = new Map(report?.peers.map(({ key, path }) => [key, path]));
  const isPeer = ({ key, problem, attrs }: AuditedLease): boolean =>
    problem === null && attrs !== null && (isProgrammed ? paths.has(key) : !hasAddressOf(attrs, chosen));
  return {
    interfaces: mapFamilies(chosen, ({ link }) => link.name),
    sources: mapFamilies(chosen, ({ address }) => address),
    devices: isProgrammed ? (report?.devices.map(({ name }) => name) ?? []) : null,
    ownSubnets: own?.subnets ?? {},
    peers: audit.leases.filter(isPeer).map(({ key, subnets, attrs }) => ({
      key,
      subnets: subnets ?? {},
      publicAddresses: attrs?.publicAddress ?? {},
      path: paths.get(key) ?? "tunnel",
    })),
  };
}

export function hasAddressOf(attrs: NonNullable<AuditedLease["attrs"]>, chosen: ChosenInterfaces): boolean {
  return entriesOf(attrs.publicAddress).some(([family, address]) =>
    chosen[family]?.publicAddress.equals(address),
  );
}
