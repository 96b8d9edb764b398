/** Finds the network that a person means. Pure. */

import { ConfigError } from "../../ipam/errors.ts";
import type { NamedNetwork } from "../../ipam/named-networks/named-network.ts";

/** An id is recognised by this many of its first digits. */
const SHORTEST_ID = 4;

/** The network with this name, or whose id begins so. Throws ConfigError when there is none, or more than one. */
export function selectNetwork(networks: readonly NamedNetwork[], text: string): NamedNetwork {
  const named = networks.find(({ name }) => name === text);
  if (named !== undefined) return named;
  const found = networks.filter(({ id }) => text.length >= SHORTEST_ID && id.startsWith(text));
  const [first] = found;
  if (first === undefined) throw new ConfigError(`"${text}" names no network; "tulle network ls" lists them`);
  if (found.length > 1)
    throw new ConfigError(
      `"${text}" means several networks, ${found.map(({ name }) => name).join(", ")}; give a name`,
    );
  return first;
}
