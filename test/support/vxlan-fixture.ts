/** A VXLAN network's plan for tests: a host, its peers as flanneld would publish them, and the scope. */

import type { HostFacts, PreparedBackend, Uplink } from "../../backends/backend.ts";
import { interfacesOf } from "../../backends/peers.ts";
import type { Scope } from "../../backends/state/contract/kind.ts";
import { vxlanBackend } from "../../backends/vxlan.ts";
import { Address, mapFamilies, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { parseMac } from "../../ipam/addresses/mac.ts";
import type { JsonObject } from "../../ipam/json.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import { type PeerUpdate, PeerUpdates } from "../../ipam/leases/peer-update.ts";

export const OWN = { 4: Prefix.parse("10.2.1.0/24") };
const NETWORKS = { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") };
export const OWN_MAC = parseMac("02:00:00:00:00:01");

const ADDRESS = Address.parse("192.168.50.1");
export const ADDRESSES = { 4: ADDRESS, 6: Address.parse("2001:db8:50::1") };

/** A host on the interface under0, with what differs from the usual in each of its families. */
export function hostFacts(
  overrides: Partial<Uplink> & { readonly hasIpv6?: boolean } = {},
  addresses: PerFamily<Address> = { 4: ADDRESS },
): HostFacts {
  const { hasIpv6 = true, ...changes } = overrides;
  const uplinks = mapFamilies(addresses, (address, family) => ({
    interface: "under0",
    mtuBytes: 1500,
    address,
    publicAddress: address,
    onLinkPrefixes: [Prefix.of(address, family === 4 ? 24 : 64)],
    ...changes,
  }));
  const networks = mapFamilies(addresses, (_, family) => NETWORKS[family]);
  return { uplinks, networks, hasIpv6 };
}

export function prepareVxlan(options: JsonObject = {}, host: HostFacts = hostFacts()): PreparedBackend {
  return vxlanBackend.parseOptions(options).prepare(host, [4], { macFor: () => OWN_MAC });
}

export function scopeOf(backend: PreparedBackend, host: HostFacts = hostFacts()): Scope {
  const sysctls = backend.planBase(OWN).flatMap((object) => (object.kind === "sysctl" ? [object.path] : []));
  return {
    devices: new Set(Object.values(backend.devices)),
    sharedDevices: new Set(interfacesOf(host)),
    nexthopDevices: new Set([...Object.values(backend.devices), ...backend.nexthopDevices]),
    networks: [Prefix.parse("10.0.0.0/8")],
    sysctls: new Set(sysctls),
  };
}

/** Peer number `n` (2 .. 64767): subnet 10.<2 + n/256>.<n%256>.0/24, public address 192.168.x.y or 192.169.x.y. */
export function peer(
  n: number,
  overrides: { readonly mac?: string; readonly publicAddress?: string } = {},
): Lease {
  const subnet = Prefix.parse(`10.${2 + Math.floor(n / 256)}.${n % 256}.0/24`);
  const hex = n.toString(16).padStart(4, "0");
  const mac = overrides.mac ?? `02:00:00:01:${hex.slice(0, 2)}:${hex.slice(2)}`;
  const high = Math.floor(n / 256);
  const publicAddress =
    overrides.publicAddress ?? `192.${168 + Math.floor(high / 156)}.${100 + (high % 156)}.${n % 256}`;
  return {
    key: `${subnet.base}-24`,
    subnets: { 4: subnet },
    attrs: {
      publicAddress: { 4: Address.parse(publicAddress) },
      backendType: "vxlan",
      backendData: { 4: { VNI: 1, VtepMAC: mac } },
      nodeId: null,
    },
    revision: BigInt(n),
    createRevision: BigInt(n),
    storeLeaseId: "1",
    isLeaving: false,
  };
}

function updatesOf(peers: ReadonlyMap<LeaseKey, Lease>, changed: ReadonlySet<LeaseKey>): PeerUpdates {
  return new PeerUpdates({ isSynced: true, peers, takeChanged: () => changed });
}

/** All peers. */
export function allPeers(peers: ReadonlyMap<LeaseKey, Lease>): PeerUpdate {
  return taken(updatesOf(peers, new Set()));
}

/** What came, changed or went. */
export function changedPeers(peers: ReadonlyMap<LeaseKey, Lease>, ...keys: readonly LeaseKey[]): PeerUpdate {
  const updates = updatesOf(peers, new Set(keys));
  updates.take();
  return taken(updates);
}

function taken(updates: PeerUpdates): PeerUpdate {
  const update = updates.take();
  if (update === null) throw new Error("the table was not listed");
  return update;
}

export function peerMap(...leases: readonly Lease[]): Map<LeaseKey, Lease> {
  return new Map(leases.map((lease) => [lease.key, lease]));
}
