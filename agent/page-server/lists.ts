/** What the page fetches when it shows it: events, networks and containers. Pure. */

import { escapeText } from "../../ipam/escape.ts";
import type { JsonObject } from "../../ipam/json.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type { HostMembers, NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import type { ContainerData, EventData, NetworkData } from "./page-data.ts";

export const MOST_EVENTS_SHOWN = 200;
const MOST_CONTAINERS = 1_000;
const LONGEST_VALUE = 300;
const LEFT_OUT = new Set(["time", "level", "message"]);

/** The newest first. */
export function eventData(events: readonly JsonObject[]): readonly EventData[] {
  return events.slice(-MOST_EVENTS_SHOWN).reverse().map(oneEvent);
}

function oneEvent(event: JsonObject): EventData {
  const textOf = (value: unknown): string =>
    escapeText(typeof value === "string" ? value : JSON.stringify(value), LONGEST_VALUE);
  return {
    time: textOf(event.time ?? ""),
    level: textOf(event.level ?? ""),
    message: textOf(event.message ?? ""),
    fields: Object.entries(event)
      .filter(([name]) => !LEFT_OUT.has(name))
      .map(([name, value]) => [escapeText(name, 40), textOf(value)]),
  };
}

/** Sorted by name. */
export function networkData(view: NamedNetworksView | null): readonly NetworkData[] {
  if (view === null) return [];
  const networks = [...view.networks.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return networks.map((network) => oneNetwork(network, view));
}

function oneNetwork(network: NamedNetwork, { members, hosts }: NamedNetworksView): NetworkData {
  const here = [...(members.get(network.id)?.values() ?? [])];
  const all = here.flatMap((group) => containersOf(group, hosts.get(group.host)?.name ?? group.host));
  return {
    name: escapeText(network.name, 128),
    subnets: Object.values(network.pools)
      .map(({ subnet }) => subnet.toString())
      .join(", "),
    vni: network.vni,
    isInternal: network.isInternal,
    containers: all.slice(0, MOST_CONTAINERS),
    others: Math.max(0, all.length - MOST_CONTAINERS),
  };
}

function containersOf({ members }: HostMembers, host: string): readonly ContainerData[] {
  return members.map(({ names, container, endpoint, addresses, engine }) => ({
    name: escapeText(names[0] ?? container?.slice(0, 12) ?? endpoint.slice(0, 12), 128),
    host: escapeText(host, 64),
    addresses: Object.values(addresses).map(String).join(", "),
    engine,
  }));
}
