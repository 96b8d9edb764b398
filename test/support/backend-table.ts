/**
 * Every backend in every family that it carries, as rows of a table: a prepared backend, what the host has, and the peers
 * that hosts of this backend would publish.
 */

import type { BackendOptions, HostFacts, PreparedBackend } from "../../backends/backend.ts";
import { interfacesOf } from "../../backends/peers.ts";
import { backendFor } from "../../backends/registry.ts";
import type { Scope } from "../../backends/state/contract/kind.ts";
import type { LinkObject } from "../../backends/state/kinds/link.ts";
import { makeKeyPair } from "../../backends/wireguard/key.ts";
import {
  Address,
  entriesOf,
  type Family,
  mapFamilies,
  type PerFamily,
  Prefix,
} from "../../ipam/addresses/ip.ts";
import { parseMac } from "../../ipam/addresses/mac.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import type { JsonObject, JsonValue } from "../../ipam/json.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import { silentLogger } from "../../ipam/log.ts";

/** Where a peer is: `near` hosts are on the host's link, `far` ones behind a router. */
export type Place = "near" | "near, moved" | "far";

export interface BackendRow {
  /** `wireguard, IPv4 and IPv6, Mode auto` */
  readonly name: string;
  readonly families: readonly Family[];
  readonly type: string;
  readonly backend: PreparedBackend;
  readonly own: PerFamily<Prefix>;
  readonly scope: Scope;
  /** Where peers can be that this host can program. */
  readonly places: readonly Place[];
  /** The module that the kernel may lack. */
  readonly module: "ipip" | "wireguard" | null;
  /** The lease of host number `n` (2 to 250), which has another key or hardware address in each place. */
  peer(n: number, place?: Place): Lease;
}

/** Rows with as many families as their backends carry. */
export async function fullRows(): Promise<readonly BackendRow[]> {
  const rows = await backendRows();
  return rows.filter(({ families, type }) =>
    rows.every((other) => other.type !== type || other.families.length <= families.length),
  );
}

/** Every host of the tables has this interface. */
export const UPLINK = "under0";
export const UPLINK_LINK: LinkObject = {
  kind: "link",
  name: UPLINK,
  type: "",
  mac: null,
  mtuBytes: 1500,
  isUp: true,
};
/** Its addresses, as ip(8) takes them. */
export const UPLINK_ADDRESSES = ["192.168.50.1/16", "2001:db8:50::1/64"];

const NETWORKS = { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") };
const OWN = { 4: Prefix.parse("10.2.1.0/24"), 6: Prefix.parse("fd00:2:0:1::/64") };
const OWN_MAC = parseMac("02:00:00:00:00:01");
const KEYS = makeKeyPair();

const ALL: readonly (readonly Family[])[] = [[4], [6], [4, 6]];

/** Which options are tried in which families. */
const ROWS: readonly (readonly [JsonObject, readonly (readonly Family[])[]])[] = [
  [{ Type: "vxlan" }, ALL],
  [{ Type: "vxlan", DirectRouting: true }, [[4, 6]]],
  [{ Type: "host-gw" }, ALL],
  [{ Type: "ipip" }, [[4]]],
  [{ Type: "ipip", DirectRouting: true }, [[4]]],
  [{ Type: "wireguard", PSK: Buffer.alloc(32, 7).toString("base64") }, ALL],
  [{ Type: "wireguard", Mode: "auto", PersistentKeepaliveInterval: 25 }, [[4, 6]]],
  [{ Type: "udp" }, ALL],
  [{ Type: "alloc" }, ALL],
  [{ Type: "extension" }, ALL],
];

/** The rows, prepared. */
export async function backendRows(): Promise<readonly BackendRow[]> {
  const rows = ROWS.flatMap(([options, sets]) => sets.map((families) => prepareRow(options, families)));
  return Promise.all(rows);
}

async function prepareRow(options: JsonObject, families: readonly Family[]): Promise<BackendRow> {
  const pick = <T>(of: PerFamily<T>): PerFamily<T> =>
    Object.fromEntries(entriesOf(of).filter(([family]) => families.includes(family)));
  const config = parseNetworkConfig(JSON.stringify(configOf(options, families)));
  const host = hostOf(pick(NETWORKS));
  const parsed = backendFor(config).parseOptions(options);
  const backend = (await provided(parsed)).prepare(host, families, { macFor: () => OWN_MAC });
  const own = pick(OWN);
  const peer = (n: number, place: Place = "near") => peerOf(backend, families, n, place);
  const isProgrammable = (lease: Lease) =>
    backend.rejectPeer(lease) === null && backend.rejectLocally(lease) === null;
  const { Type, ...others } = options;
  const type = String(Type);
  const inWords = [type, families.map((family) => `IPv${family}`).join(" and "), ...wordsOf(others)];
  return {
    name: inWords.join(", "),
    families,
    type,
    backend,
    own,
    scope: scopeOf(backend, host, own),
    module: type === "ipip" || type === "wireguard" ? type : null,
    places: PLACES.filter((place) => isProgrammable(peer(2, place))),
    peer,
  };
}

function wordsOf(options: JsonObject): string[] {
  return Object.entries(options).map(([key, value]) =>
    value === true || key === "PSK" ? key : `${key} ${value}`,
  );
}

function configOf(options: JsonObject, families: readonly Family[]): JsonObject {
  return {
    ...(families.includes(4) ? { Network: String(NETWORKS[4]) } : { EnableIPv4: false }),
    ...(families.includes(6) ? { EnableIPv6: true, IPv6Network: String(NETWORKS[6]) } : {}),
    Backend: options,
  };
}

function hostOf(networks: PerFamily<Prefix>): HostFacts {
  const uplinks = mapFamilies(networks, (_, family) => {
    const [text = "", length] = (UPLINK_ADDRESSES[family === 4 ? 0 : 1] ?? "").split("/");
    const address = Address.parse(text);
    return {
      interface: UPLINK,
      mtuBytes: 1500,
      address,
      publicAddress: address,
      onLinkPrefixes: [Prefix.of(address, Number(length))],
    };
  });
  return { uplinks, networks, hasIpv6: true };
}

async function provided(options: BackendOptions): Promise<BackendOptions> {
  const provision = options.provision?.({
    stateDir: "/nowhere",
    network: null,
    keyFile: null,
    logger: silentLogger,
    once: async <T>() => KEYS as T,
  });
  return (await provision) ?? options;
}

/** As agent/network/scope.ts has it for a host without a past. */
function scopeOf(backend: PreparedBackend, host: HostFacts, own: PerFamily<Prefix>): Scope {
  const devices = new Set(Object.values(backend.devices));
  const base = backend.planBase(own);
  return {
    devices,
    sharedDevices: new Set(interfacesOf(host)),
    nexthopDevices: new Set([...devices, ...backend.nexthopDevices]),
    networks: Object.values(host.networks),
    sysctls: new Set(base.flatMap((object) => (object.kind === "sysctl" ? [object.path] : []))),
  };
}

const PUBLIC: Readonly<Record<Place, readonly [string, string]>> = {
  near: ["192.168.60.", "2001:db8:50::60:"],
  "near, moved": ["192.168.61.", "2001:db8:50::61:"],
  far: ["198.51.100.", "2001:db8:99::"],
};

const PLACES = Object.keys(PUBLIC) as readonly Place[];

function peerOf(backend: PreparedBackend, families: readonly Family[], n: number, place: Place): Lease {
  const perFamily = <T>(of: (family: Family) => T) =>
    Object.fromEntries(families.map((family) => [family, of(family)])) as PerFamily<T>;
  const subnets = perFamily((family) =>
    Prefix.parse(family === 4 ? `10.2.${n}.0/24` : `fd00:2:0:${n.toString(16)}::/64`),
  );
  const data = dataOf(backend.type, n, place);
  return {
    key: `host-${n}`,
    subnets,
    attrs: {
      publicAddress: perFamily((family) => {
        const [four, six] = PUBLIC[place];
        return Address.parse(family === 4 ? `${four}${n}` : `${six}${n.toString(16)}`);
      }),
      backendType: backend.leaseType,
      backendData: data === null ? {} : perFamily(() => data),
      nodeId: null,
    },
    revision: 1n,
    createRevision: 1n,
    storeLeaseId: "1",
    isLeaving: false,
  };
}

function dataOf(type: string, n: number, place: Place): JsonValue | null {
  const variant = PLACES.indexOf(place);
  const hex = n.toString(16).padStart(2, "0");
  if (type === "vxlan") return { VNI: 1, VtepMAC: `02:00:00:00:0${variant + 1}:${hex}` };
  if (type === "wireguard")
    return { PublicKey: Buffer.alloc(32, `${n}-${variant};`).toString("base64"), Port: 51_820 + variant };
  return type === "extension" ? `host ${n}` : null;
}
