/** Networks and containers of the fake Docker Engine, in the words of its API. Pure. */

import type { EngineContainer, EngineNetwork } from "./fake-engine-model.ts";

/** A network as the Engine API shows it, with those of the containers that use it. */
export function shownNetwork(
  { id, name, options, pools }: EngineNetwork,
  containers: Iterable<EngineContainer>,
): object {
  const isDefault = (options.ipamDriver ?? "default") === "default";
  const users = [...containers].filter(({ endpoints }) => endpoints.has(id));
  return {
    ...{ Id: id, Name: name, Driver: options.driver ?? "tulle", Internal: options.isInternal ?? false },
    ...{ Labels: options.labels ?? {}, Options: options.options ?? {} },
    IPAM: {
      Driver: options.ipamDriver ?? "default",
      Options: options.ipamOptions ?? null,
      Config: pools.map(({ subnet, gateway }, index) => ({
        Subnet: subnet,
        ...(!(isDefault && options.config?.[index]?.Subnet) && { Gateway: bare(gateway) }),
      })),
    },
    Containers: Object.fromEntries(
      users.map((user) => [
        user.endpoints.get(id)?.isConnecting ? `ep-${user.endpoints.get(id)?.id}` : user.id,
        {
          Name: user.name,
          EndpointID: user.endpoints.get(id)?.id,
          MacAddress: user.endpoints.get(id)?.mac ?? "",
          IPv4Address: user.endpoints.get(id)?.address,
        },
      ]),
    ),
  };
}

/** A container as the Engine API shows it; `nameOf`: of a network with this id. */
export function shownContainer(
  { id, name, endpoints, isRunning, restartPolicy, error }: EngineContainer,
  nameOf: (network: string) => string,
): object {
  const networks = [...endpoints].map(([network, endpoint]) => [
    nameOf(network),
    { NetworkID: network, EndpointID: endpoint.id, Aliases: [...endpoint.aliases, id.slice(0, 12)] },
  ]);
  return {
    ...{ Id: id, Name: `/${name}`, State: { Running: isRunning, Error: error } },
    HostConfig: { RestartPolicy: { Name: restartPolicy } },
    NetworkSettings: { Networks: Object.fromEntries(networks) },
  };
}

/** An address without its length. */
export function bare(address: string): string {
  return address.split("/", 1)[0] ?? "";
}
