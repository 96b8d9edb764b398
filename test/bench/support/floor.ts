/** The kernel's own floor: how long iproute2's batches take for the objects that a plan has. */

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import type { KernelObject } from "../../../backends/state/kinds/registry.ts";
import type { Lease, LeaseKey } from "../../../ipam/leases/lease.ts";
import { allPeers, OWN, peer } from "../../support/vxlan-fixture.ts";
import { VxlanHost } from "../../support/vxlan-host.ts";

export function peersUpTo(count: number): Map<LeaseKey, Lease> {
  return new Map(Array.from({ length: count }, (_, at) => peer(at + 2)).map((lease) => [lease.key, lease]));
}

/** Milliseconds of `ip -batch` and `bridge -batch`, in a namespace of their own. */
export async function batchFloor(peers: ReadonlyMap<LeaseKey, Lease>): Promise<number> {
  const host = new VxlanHost({ label: "floor" });
  const folder = `.lab/bench-kernel-${process.pid}`;
  mkdirSync(folder, { recursive: true });
  try {
    const { groups } = host.planner.plan({ own: OWN, peers: allPeers(peers) });
    const objects = [...groups].flatMap(([name, group]) => (name === "base" ? [] : group));
    const ids = new Map<string, number>();
    const commands = objects.map((object) => iproute2(object, ids));
    const order = ["neigh", "nexthop", "route"];
    const ip = order.flatMap((word) => commands.filter((command) => command.startsWith(word)));
    writeFileSync(`${folder}/ip`, ip.join("\n"));
    writeFileSync(`${folder}/bridge`, commands.filter((command) => command.startsWith("fdb")).join("\n"));
    host.sh(
      "ip link add flannel.1 type vxlan id 1 dstport 8472 local 192.168.50.1 dev under0 nolearning; ip addr add 10.2.1.0/32 dev flannel.1; ip link set flannel.1 up",
    );
    const startMs = performance.now();
    host.sh(`ip -batch ${folder}/ip && bridge -batch ${folder}/bridge`);
    return performance.now() - startMs;
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await host.dispose();
  }
}

function iproute2(object: KernelObject, ids: Map<string, number>): string {
  const idOf = (gateway: unknown): number => {
    const id = ids.get(`${gateway}`) ?? ids.size + 1;
    ids.set(`${gateway}`, id);
    return id;
  };
  switch (object.kind) {
    case "neighbour":
      return `neigh replace ${object.address} lladdr ${object.mac} dev ${object.device} nud permanent`;
    case "fdb":
      return `fdb replace ${object.mac} dev ${object.device} dst ${object.remote} self permanent`;
    case "nexthop":
      return `nexthop add id ${idOf(object.gateway)} via ${object.gateway} dev ${object.device} onlink proto 116`;
    case "route":
      return object.viaNexthop
        ? `route add ${object.destination} nhid ${idOf(object.gateway)} proto 116`
        : `route add ${object.destination} via ${object.gateway} dev ${object.device} onlink proto 116`;
    default:
      throw new Error(`no peer has a ${object.kind}`);
  }
}
