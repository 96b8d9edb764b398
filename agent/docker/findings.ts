/** Warnings for an administrator before dockerd takes over a subnet, one sentence each. Pure. */

import { entriesOf, type InterfaceAddress, mapFamilies, Prefix } from "../../ipam/addresses/ip.ts";
import type { SubnetEnv } from "../../ipam/config/subnet-env.ts";
import type { JsonObject } from "../../ipam/json.ts";
import type { BridgeFacts, RouteFact } from "./bridge-facts.ts";

/** Docker's default bridge. */
export const DOCKER_BRIDGE = "docker0";

/** True when the bridge has other addresses than subnet.env gives: dockerd must restart to move it. */
export function isBridgeElsewhere(
  { subnets }: Pick<SubnetEnv, "subnets">,
  { addresses }: Pick<BridgeFacts, "addresses">,
): boolean {
  if (addresses === null) return false;
  return [...entriesOf(subnets)].some(([, wanted]) => !addresses.some((each) => isSameAddress(each, wanted)));
}

/** Findings about the bridge and the routes around it. */
export function bridgeFindings(env: SubnetEnv, facts: BridgeFacts): string[] {
  const findings: string[] = [];
  if (isBridgeElsewhere(env, facts)) {
    const global = facts.addresses?.filter(({ address }) => !address.isLinkLocal) ?? [];
    const now = global.map(({ address, length }) => `${address}/${length}`).join(", ") || "none";
    findings.push(`${DOCKER_BRIDGE} has the address ${now}; a restart of dockerd moves it`);
    if (facts.portCount > 0) {
      findings.push(
        `${facts.portCount} container(s) run on the old subnet: a restart of dockerd stops them, ` +
          "those with a restart policy come back with new addresses",
      );
    }
  }
  const subnets = Object.values(
    mapFamilies(env.subnets, ({ address, length }) => Prefix.of(address, length)),
  );
  return [...findings, ...subnets.flatMap((subnet) => routeFindings(subnet, facts.routes))];
}

/** Findings about other settings of daemon.json, which stay as they are. */
export function settingFindings(settings: JsonObject): string[] {
  const findings: string[] = [];
  if (settings["live-restore"] === true) {
    findings.push(
      `"live-restore" is on: ${DOCKER_BRIDGE} moves only when dockerd starts without running containers`,
    );
  }
  if (settings["firewall-backend"] === "nftables") {
    findings.push(
      '"firewall-backend" is nftables: Docker drops what other hosts\' containers send unless ' +
        '"bridge-accept-fwmark" lets it in; see docs/docker.md',
    );
  }
  return findings;
}

/**
 * A route that takes the containers' packets to another device, or whose destinations the bridge takes over. Wider
 * routes through a gateway do no harm: the bridge's route is the longer match.
 */
function routeFindings(subnet: Prefix, routes: readonly RouteFact[]): string[] {
  return routes
    .filter(({ device }) => device !== DOCKER_BRIDGE && !device.startsWith("flannel"))
    .filter(({ destination, gateway }) =>
      destination.length >= subnet.length
        ? subnet.contains(destination)
        : gateway === null && destination.contains(subnet),
    )
    .map(({ destination, device, gateway }) => {
      const way = [
        ...(gateway === null ? [] : [`via ${gateway}`]),
        ...(device === "" ? [] : [`dev ${device}`]),
      ];
      const route = `${destination} ${way.join(" ")}`;
      if (destination.length >= subnet.length) {
        // A route without a gateway is a network of this host, which people want to keep.
        const remedy = gateway === null ? "give the containers another Network or subnet" : "delete it";
        return `the route ${route} diverts packets for containers in ${subnet}: ${remedy}`;
      }
      return `${route} covers ${subnet}: hosts there with an address in ${subnet} cannot be reached`;
    });
}

function isSameAddress(left: InterfaceAddress, right: InterfaceAddress): boolean {
  return left.length === right.length && left.address.equals(right.address);
}
