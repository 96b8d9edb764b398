/** Whether the network's backend can run on this host, and which peers it cannot use from here. Pure. */

import type { HostFacts } from "../../backends/backend.ts";
import { MixedBackend } from "../../backends/mixed.ts";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import { parseMac } from "../../ipam/addresses/mac.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { TulleError } from "../../ipam/errors.ts";
import { decodeEntry } from "../../ipam/leases/lease-codec.ts";
import type { AuditedLease } from "../leases/lease-audit.ts";
import { familiesOf, optionsOf } from "../network/network-support.ts";
import { bad, type Finding, failed, ok } from "./finding.ts";

/** Stands for hardware addresses, which no check looks at. */
const NO_MAC = parseMac("00:00:00:00:00:00");

/** `leases` are those that every host accepts, less this host's own. */
export function backendFindings(
  network: NetworkConfig,
  host: HostFacts,
  leases: readonly AuditedLease[],
): readonly Finding[] {
  try {
    const backend = new MixedBackend(
      optionsOf(network).prepare(host, familiesOf(network), { macFor: () => NO_MAC }),
    );
    const unusable = leases
      .filter(({ problem, attrs }) => problem === null && attrs !== null)
      .flatMap(({ key, entry }) => {
        const reason = backend.rejectLocally(decodeEntry(entry));
        return reason === null ? [] : [`lease ${key}: ${reason}`];
      });
    const [first] = unusable;
    return [
      ok(
        "backend",
        `${backend.type} ${onInterfaces(host.uplinks)}, containers get an MTU of ${backend.mtuBytes}`,
      ),
      ...(first === undefined
        ? []
        : [
            bad(
              "warn",
              "backend",
              `this host cannot use ${unusable.length} of ${leases.length} leases, such as ${first}`,
              '"tulle status" lists them while tulled runs',
            ),
          ]),
    ];
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
    return [failed("backend", error)];
  }
}

function onInterfaces(uplinks: HostFacts["uplinks"]): string {
  const texts = entriesOf(uplinks).map(([, uplink]) => `${uplink.interface} (MTU ${uplink.mtuBytes})`);
  return `on ${[...new Set(texts)].join(", ")}`;
}
