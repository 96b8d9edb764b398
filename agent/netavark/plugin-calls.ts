/** The calls of tulle-netavark, as methods of a plugin socket. */

import { join } from "node:path";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import { ConflictError } from "../../ipam/errors.ts";
import type { JsonObject } from "../../ipam/json.ts";
import type { NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import type { PluginMethod } from "../docker-driver/plugin-server.ts";
import { NAME_SERVER } from "../names/name-server-address.ts";
import type { PodmanContainers } from "./podman-containers.ts";
import { parseEndpointName, parseSetup } from "./requests.ts";

/** As tulle-netavark finds it (cni-plugin/netavark/daemon.ts). */
export function netavarkSocketPath(runDir: string): string {
  return join(runDir, "netavark.sock");
}

/** `open` starts named networks where they do not run, and resolves to null when that takes too long. */
export function netavarkMethods(
  open: (signal: AbortSignal) => Promise<PodmanContainers | null>,
): Readonly<Record<string, PluginMethod>> {
  const opened = async (signal: AbortSignal): Promise<PodmanContainers> => {
    const containers = await open(signal);
    if (containers !== null) return containers;
    throw new ConflictError(
      "named networks are being started on this host: see tulle status, and try again",
      {
        retryable: true,
      },
    );
  };
  return {
    "Netavark.Network": async (request, signal) =>
      describe(await (await opened(signal)).find(request.text("Network"), signal)),
    "Netavark.Setup": async (request, signal) => {
      const call = parseSetup(request);
      const { network, member, bridge, mtuBytes } = await (await opened(signal)).setup(call, signal);
      return {
        ...describe(network),
        ...{ Endpoint: member.endpoint, Bridge: bridge, MtuBytes: mtuBytes, Mac: member.mac },
        Addresses: entriesOf(member.addresses).map(
          ([family, address]) => `${address}/${network.pools[family]?.subnet.length}`,
        ),
        NameServers: network.isInternal ? [] : [NAME_SERVER.toString()],
        // A plugin that finds nothing here talks to a tulled without these rules.
        OutsideFamilies: network.isInternal ? [] : entriesOf(network.pools).map(([family]) => family),
      };
    },
    "Netavark.Teardown": async (request, signal) => {
      await (await opened(signal)).teardown(parseEndpointName(request));
      return {};
    },
  };
}

function describe({ id, name, isInternal, pools }: NamedNetwork): JsonObject {
  return {
    ...{ Id: id, Name: name, IsInternal: isInternal },
    Subnets: entriesOf(pools).map(([, { subnet }]) => `${subnet}`),
  };
}
