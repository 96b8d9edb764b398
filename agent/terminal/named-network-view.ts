/** Named networks, their addresses and containers as text and as JSON. Pure. */

import { entriesOf, mapFamilies } from "../../ipam/addresses/ip.ts";
import { formatDuration } from "../../ipam/duration.ts";
import type { JsonObject } from "../../ipam/json.ts";
import type { NamedNetwork, Pool } from "../../ipam/named-networks/named-network.ts";
import type { AuditedAddress } from "../named-networks/address-audit.ts";
import type { Overview, PlacedMember } from "../named-networks/overview.ts";
import { type Cell, type Column, formatFields, formatTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

const SHORT_ID = 12;

const NETWORK_COLUMNS: readonly Column[] = [
  { title: "NAME" },
  { title: "ID" },
  { title: "VNI", align: "right" },
  { title: "SUBNETS" },
  { title: "HOSTS", align: "right" },
  { title: "CONTAINERS", align: "right" },
  { title: "OPTIONS" },
];

const CONTAINER_COLUMNS: readonly Column[] = [
  { title: "CONTAINER" },
  { title: "NETWORK" },
  { title: "ADDRESSES" },
  { title: "HOST" },
  { title: "MAC" },
  { title: "ENGINE" },
  { title: "ID" },
];

const ADDRESS_COLUMNS: readonly Column[] = [
  { title: "ADDRESS" },
  { title: "NETWORK" },
  { title: "HOST" },
  { title: "STATE" },
  { title: "CONTAINER" },
];

/** The table of all networks, and below it what is wrong with some. */
export function formatNetworks(overview: Overview, nowSeconds: number, terminal: Terminal): string {
  const rows = overview.networks.map((network) => {
    const { hosts, containers } = countsOf(network, overview);
    return [
      network.name,
      network.id.slice(0, SHORT_ID),
      String(network.vni),
      subnetsOf(network).join(", "),
      String(hosts),
      String(containers),
      optionsOf(network).join(", ") || "-",
    ];
  });
  const damaged = overview.damaged.map(({ title, problem }) => `${title}: ${problem}`);
  const restored = overview.restorations.map(({ network, hostName, usedBy, atSeconds }) => {
    const name = overview.networks.find(({ id }) => id === network)?.name ?? network;
    const ago = formatDuration(Math.max(0, nowSeconds - atSeconds));
    return `network ${name}: removed on host ${hostName} ${ago} ago and put back, because ${usedBy} uses it`;
  });
  const notes = [...damaged, ...restored].map((text) => `${terminal.style("yellow", text)}\n`);
  return formatTable(NETWORK_COLUMNS, rows, terminal) + notes.join("");
}

export function formatNetwork(network: NamedNetwork, overview: Overview, terminal: Terminal): string {
  const { hosts, containers } = countsOf(network, overview);
  const fields: readonly (readonly [string, Cell])[] = [
    ["network", network.name],
    ["id", network.id],
    ["VNI", String(network.vni)],
    ...entriesOf(network.pools).flatMap(([family, pool]) => poolFields(family, pool)),
    ["outside access", network.isInternal ? "no (internal)" : "yes"],
    ["broadcast", network.hasBroadcast ? "to every host with containers" : "off"],
    ["MTU", network.mtuBytes === null ? "as the underlay allows" : String(network.mtuBytes)],
    ...Object.entries(network.labels).map(([key, value]) => ["label", `${key}=${value}`] as const),
    ...Object.entries(network.options).map(([key, value]) => ["option", `${key}=${value}`] as const),
    ["created", new Date(Math.min(network.createdSeconds * 1000, 8.64e15)).toISOString()],
    ["hosts", String(hosts)],
    ["containers", String(containers)],
  ];
  const members = membersOf(network, overview);
  const table = members.length === 0 ? "" : `\n${formatContainers(members, terminal)}`;
  return formatFields(fields, terminal) + table;
}

export function networkToJson(network: NamedNetwork, overview: Overview): JsonObject {
  const { id, name, vni, isInternal, hasBroadcast, mtuBytes, labels, options, createdSeconds } = network;
  return {
    ...{ id, name, vni, isInternal, hasBroadcast, mtuBytes, labels, options, createdSeconds },
    pools: Object.values(
      mapFamilies(network.pools, ({ subnet, allocation, gateway, excluded }, family) => ({
        family,
        subnet: subnet.toString(),
        allocation: allocation.toString(),
        gateway: gateway.toString(),
        excluded: excluded.map(String),
      })),
    ),
    hosts: countsOf(network, overview).hosts,
    containers: membersOf(network, overview).map(containerToJson),
    restorations: overview.restorations
      .filter((restoration) => restoration.network === id)
      .map(({ host, hostName, usedBy, atSeconds }) => ({ host, hostName, usedBy, atSeconds })),
  };
}

export function formatContainers(members: readonly PlacedMember[], terminal: Terminal): string {
  const rows = members.map(({ network, hostName, isHostHere, member }): readonly Cell[] => [
    member.names[0] ?? "-",
    network.name,
    addressesOf(member).join(", ") || "-",
    isHostHere ? hostName : { style: "yellow", text: `${hostName} (away)` },
    member.mac,
    member.engine,
    (member.container ?? member.endpoint).slice(0, SHORT_ID),
  ]);
  return formatTable(CONTAINER_COLUMNS, rows, terminal);
}

export function containerToJson({ network, host, hostName, isHostHere, member }: PlacedMember): JsonObject {
  const { container, endpoint, engine, names, mac } = member;
  return {
    ...{ container, endpoint, engine, names, mac },
    addresses: addressesOf(member),
    network: network.name,
    networkId: network.id,
    ...{ host, hostName, isHostHere },
  };
}

export function formatAddresses(
  addresses: readonly AuditedAddress[],
  overview: Overview,
  terminal: Terminal,
): string {
  const rows = addresses.map((audited): readonly Cell[] => {
    const { network, held, user, problem } = audited;
    return [
      held.address.toString(),
      network?.name ?? held.network,
      held.holder?.name ?? "-",
      problem === null ? stateOf(audited, overview) : { style: "red", text: problem },
      user === null ? "-" : (user.member.names[0] ?? user.member.container ?? user.member.endpoint),
    ];
  });
  return formatTable(ADDRESS_COLUMNS, rows, terminal);
}

export function addressToJson(audited: AuditedAddress, overview: Overview): JsonObject {
  const { network, held, user, problem } = audited;
  return {
    address: held.address.toString(),
    network: network?.name ?? null,
    networkId: held.network,
    host: held.holder?.host ?? null,
    hostName: held.holder?.name ?? null,
    state: stateOf(audited, overview),
    container: user?.member.container ?? null,
    names: user?.member.names ?? [],
    problem,
  };
}

function stateOf({ held, user }: AuditedAddress, { hosts }: Overview): string {
  if (held.holder !== null && !hosts.has(held.holder.host)) return "host away";
  return user === null ? "reserve" : "used";
}

function poolFields(family: number, pool: Pool): readonly (readonly [string, string])[] {
  const { subnet, allocation, gateway, excluded } = pool;
  return [
    [`IPv${family} subnet`, subnet.toString()],
    ...(allocation.equals(subnet) ? [] : [[`IPv${family} range`, allocation.toString()] as const]),
    [`IPv${family} gateway`, gateway.toString()],
    ...(excluded.length === 0 ? [] : [[`IPv${family} excluded`, excluded.join(", ")] as const]),
  ];
}

function countsOf(network: NamedNetwork, overview: Overview): { hosts: number; containers: number } {
  const members = membersOf(network, overview);
  return { hosts: new Set(members.map(({ host }) => host)).size, containers: members.length };
}

function membersOf(network: NamedNetwork, { members }: Overview): readonly PlacedMember[] {
  return members.filter((placed) => placed.network.id === network.id);
}

function subnetsOf({ pools }: NamedNetwork): readonly string[] {
  return entriesOf(pools).map(([, { subnet }]) => subnet.toString());
}

function addressesOf({ addresses }: PlacedMember["member"]): readonly string[] {
  return entriesOf(addresses).map(([, address]) => address.toString());
}

function optionsOf({ isInternal, hasBroadcast, mtuBytes }: NamedNetwork): readonly string[] {
  return [
    ...(isInternal ? ["internal"] : []),
    ...(hasBroadcast ? ["broadcast"] : []),
    ...(mtuBytes === null ? [] : [`mtu ${mtuBytes}`]),
  ];
}
