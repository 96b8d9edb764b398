/** Which addresses of a LAN's pool the engine's containers have, on networks of other drivers such as macvlan. */

import type { NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import type { EngineNetwork } from "./engine-model.ts";
import { DRIVER } from "./mirror-plan.ts";

/**
 * Addresses as text. `engine`: all networks of the engine. `read` reads one with its containers, null when it is gone;
 * what it rejects with is passed on.
 */
export async function lanAddresses(
  { pools }: NamedNetwork,
  engine: readonly EngineNetwork[],
  read: (dockerId: string) => Promise<EngineNetwork | null>,
): Promise<ReadonlySet<string>> {
  const used = new Set<string>();
  for (const { driver, ipamDriver, dockerId, subnets } of engine) {
    const isUser = subnets.some(({ subnet }) => pools[subnet.family]?.subnet.equals(subnet));
    if (driver === DRIVER || ipamDriver !== DRIVER || !isUser) continue;
    const { endpoints = [] } = (await read(dockerId)) ?? {};
    for (const { addresses } of endpoints)
      for (const address of Object.values(addresses)) used.add(`${address}`);
  }
  return used;
}
