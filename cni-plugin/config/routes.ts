/** Routes of the container, between the form of results and that of attachments. No I/O. */

import type { ContainerRoute } from "../../backends/attachment/spec.ts";
import { Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { Allocation } from "../../ipam/containers/ranges.ts";
import type { JsonObject, JsonValue } from "../../ipam/json.ts";
import { CNI_CODES, CniError } from "../protocol/errors.ts";
import type { CniResult, ResultIp, ResultRoute } from "../protocol/result.ts";
import type { AddressConfig } from "./address-config.ts";

/** The configured routes and, where asked for, a default route per family that has none. */
export function routesFor(
  configured: readonly ResultRoute[],
  allocations: readonly Allocation[],
  isDefaultGateway: boolean,
): readonly ResultRoute[] {
  if (!isDefaultGateway) return configured;
  const missing = allocations.filter(
    ({ gateway: { family } }) => !configured.some((route) => isDefaultOf(route, family)),
  );
  return [
    ...configured,
    ...missing.map(({ gateway }) => ({
      destination: Prefix.of(Address.of(gateway.family, 0n), 0),
      gateway,
      extras: {},
    })),
  ];
}

/** Rejects a default route past the gateway where `isDefaultGateway` asks for one by it. Throws CniError 7. */
export function requireOwnDefault({ routes, request }: AddressConfig): void {
  const gateways = request.rangeSets.flat().map(({ gateway }) => gateway);
  for (const { destination, gateway } of routes) {
    if (destination.length > 0 || gateway === null || gateways.some((own) => own.equals(gateway))) continue;
    throw new CniError(
      CNI_CODES.invalidConfig,
      `isDefaultGateway: true is wrong; ipam.routes has a default route by ${gateway}, keep one of the two`,
    );
  }
}

/** A result as it was given, with the gateway of each route spelled out: of its family's first address that has one. */
export function withGateways(given: JsonObject, { ips, routes }: CniResult): JsonObject {
  const list = given.routes;
  if (!Array.isArray(list)) return given;
  const spelled = list.map((route: JsonObject, index) => {
    const gateway = routes[index] && gatewayOf(routes[index], ips);
    return gateway ? { ...route, gw: String(gateway) } : route;
  });
  return { ...given, routes: spelled };
}

function gatewayOf({ destination, gateway, extras }: ResultRoute, ips: readonly ResultIp[]): Address | null {
  const isDirect = (numberOr(extras.scope) ?? 0) > 0;
  if (gateway !== null || isDirect) return gateway;
  return ips.find((ip) => ip.gateway?.family === destination.family)?.gateway ?? null;
}

/** What a route of a result asks of the kernel. */
export function toContainerRoute({ destination, gateway, extras }: ResultRoute): ContainerRoute {
  const fields = {
    scope: numberOr(extras.scope),
    table: numberOr(extras.table),
    metric: numberOr(extras.priority),
    mtuBytes: numberOr(extras.mtu),
    advertisedMss: numberOr(extras.advmss),
  };
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return { destination, gateway, ...Object.fromEntries(given) };
}

function isDefaultOf({ destination, gateway }: ResultRoute, family: Family): boolean {
  return destination.family === family && destination.length === 0 && gateway !== null;
}

function numberOr(value: JsonValue | undefined): number | undefined {
  return typeof value === "number" ? value : undefined;
}
