/** A host with WireGuard and leases of its peers, for tests of the backend. */

import type { HostFacts, PreparedBackend } from "../../backends/backend.ts";
import { describe as describeObject, type KernelObject } from "../../backends/state/kinds/registry.ts";
import { makeKeyPair } from "../../backends/wireguard/key.ts";
import { wireguardBackend } from "../../backends/wireguard.ts";
import { Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { JsonObject, JsonValue } from "../../ipam/json.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import { silentLogger } from "../../ipam/log.ts";
import { ADDRESSES, hostFacts, OWN, OWN_MAC, peer as vxlanPeer } from "./vxlan-fixture.ts";

export const KEYS = makeKeyPair();
export const PEER_KEY = makeKeyPair().publicKey;
export const OTHER_KEY = makeKeyPair().publicKey;
export const PSK = Buffer.alloc(32, 7).toString("base64");
export const OWN_BOTH = { ...OWN, 6: Prefix.parse("fd00:2:0:1::/64") };
export const BOTH = hostFacts({}, ADDRESSES);

/** The backend prepared with options, as on a host. */
export async function prepare(
  options: JsonObject = {},
  host: HostFacts = hostFacts(),
  families: readonly Family[] = [4],
): Promise<PreparedBackend> {
  const provided = await wireguardBackend.parseOptions(options).provision?.({
    stateDir: "/nowhere",
    network: null,
    keyFile: null,
    logger: silentLogger,
    once: async <T>() => KEYS as T,
  });
  if (provided === undefined) throw new Error("no provision");
  return provided.prepare(host, families, { macFor: () => OWN_MAC });
}

/** A lease with WireGuard's data. */
export function peer(
  data: JsonValue = { PublicKey: PEER_KEY, Port: 51820 },
  changes: Partial<Lease["attrs"]> = {},
): Lease {
  const lease = vxlanPeer(4);
  return {
    ...lease,
    attrs: { ...lease.attrs, backendType: "wireguard", backendData: { 4: data }, ...changes },
  };
}

/** A lease of both families. */
export const dualPeer = (): Lease => {
  const data = (port: number) => ({ PublicKey: PEER_KEY, Port: port });
  const publicAddress = { 4: Address.parse("192.168.100.4"), 6: Address.parse("2001:db8:50::4") };
  const lease = peer(null, { publicAddress, backendData: { 4: data(51820), 6: data(51821) } });
  return { ...lease, subnets: { ...lease.subnets, 6: Prefix.parse("fd00:2:0:4::/64") } };
};

/** Objects as the log shows them. */
export const lines = (objects: readonly KernelObject[]) => objects.map(describeObject);
