/** The targets that a network's peers are. Pure. */

import type { PreparedBackend, Tunnel } from "../../backends/backend.ts";
import type { MixedBackend } from "../../backends/mixed.ts";
import type { TunnelKind } from "../../backends/probe/tunnel-packet.ts";
import { entriesShared, type Family, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import type { ProbeTarget } from "./probe.ts";

export type ProbedBackend = Pick<MixedBackend, "devices" | "mtuBytes" | "pathTo"> & {
  carrierOf(lease: Lease, family: Family): Pick<PreparedBackend, "devices" | "tunnels">;
};

/**
 * Sorted by id. A peer without any public address has none, and none of a family that this host has no subnet of: the
 * network had it when the peer's agent started, and nothing is sent there.
 */
export function probeTargets(
  peers: Iterable<Lease>,
  backend: ProbedBackend,
  ownSubnets: PerFamily<Prefix>,
): readonly ProbeTarget[] {
  const targets = [...peers].flatMap((lease) => targetsOf(lease, backend, ownSubnets));
  return targets.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Joined, not a template: V8 keeps a template's pieces. */
export function targetId(peer: LeaseKey, family: Family): string {
  return [peer, `IPv${family}`].join(" ");
}

/** The id of the same peer's path of the other family, which the peer may not have. */
export function otherPathId({ peer, family }: ProbeTarget): string {
  return targetId(peer, family === 4 ? 6 : 4);
}

function targetsOf(
  lease: Lease,
  backend: ProbedBackend,
  ownSubnets: PerFamily<Prefix>,
): readonly ProbeTarget[] {
  const addresses = lease.attrs.publicAddress;
  return entriesShared(lease.subnets, ownSubnets).flatMap(([family, subnet]) => {
    const outer = addresses[family] ?? Object.values(addresses)[0];
    if (outer === undefined) return [];
    const path = backend.pathTo(lease, family);
    const { devices, tunnels } = backend.carrierOf(lease, family);
    // The tunnel device carries the subnet's first address; without one it is the containers' bridge, if there is any.
    const isInnerCertain = devices[family] !== undefined;
    const tunnel = path === "direct" ? undefined : tunnels[outer.family];
    return [
      {
        id: targetId(lease.key, family),
        peer: lease.key,
        family,
        path,
        subnet,
        inner: isInnerCertain ? subnet.base : subnet.base.plus(1),
        isInnerCertain,
        sendsProbes: lease.attrs.nodeId !== null,
        outer,
        mtuBytes: backend.mtuBytes,
        ...(tunnel === undefined ? NO_TUNNEL : description(tunnel)),
      },
    ];
  });
}

type TunnelDescription = Pick<ProbeTarget, "tunnel" | "tunnelKind">;

const NO_TUNNEL: TunnelDescription = { tunnel: null, tunnelKind: null };

/** Thousands of targets share one. */
const descriptions = new WeakMap<Tunnel, TunnelDescription>();

function description(tunnel: Tunnel): TunnelDescription {
  const known = descriptions.get(tunnel) ?? { tunnel: textOf(tunnel), tunnelKind: kindOf(tunnel) };
  descriptions.set(tunnel, known);
  return known;
}

function textOf(tunnel: Tunnel): string {
  return "port" in tunnel ? `UDP port ${tunnel.port}` : `IP protocol ${tunnel.protocol}`;
}

function kindOf(tunnel: Tunnel): TunnelKind {
  if (!("port" in tunnel)) return { port: null, format: "ip" };
  const format = tunnel.isAuthenticated ? "opaque" : tunnel.isChecked ? "ip" : "vxlan";
  return { port: tunnel.port, format };
}
