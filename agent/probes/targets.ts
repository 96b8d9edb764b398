/** The targets that a network's peers are. Pure. */

import type { PreparedBackend } from "../../backends/backend.ts";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import type { ProbeTarget } from "./probe.ts";

/** Sorted by id. A peer without any public address has none. */
export function probeTargets(
  peers: Iterable<Lease>,
  backend: Pick<PreparedBackend, "devices" | "mtuBytes" | "pathTo">,
): readonly ProbeTarget[] {
  const targets = [...peers].flatMap((lease) => targetsOf(lease, backend));
  return targets.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function targetsOf(
  lease: Lease,
  backend: Pick<PreparedBackend, "devices" | "mtuBytes" | "pathTo">,
): readonly ProbeTarget[] {
  const addresses = lease.attrs.publicAddress;
  const path = backend.pathTo(lease);
  return entriesOf(lease.subnets).flatMap(([family, subnet]) => {
    const outer = addresses[family] ?? Object.values(addresses)[0];
    if (outer === undefined) return [];
    // The tunnel device carries the subnet's first address; without one it is the containers' bridge, if there is any.
    const isInnerCertain = backend.devices[family] !== undefined;
    const inner = isInnerCertain ? subnet.base : subnet.base.plus(1);
    const { mtuBytes } = backend;
    return [
      {
        id: `${lease.key} IPv${family}`,
        peer: lease.key,
        family,
        path,
        subnet,
        inner,
        isInnerCertain,
        outer,
        mtuBytes,
      },
    ];
  });
}
