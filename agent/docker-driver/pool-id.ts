/**
 * PoolIDs: what dockerd keeps with a network and gives back in each request for an address. They carry our own key, so
 * that a request can be answered without further knowledge:
 *
 *     tulle/<id>/<family>     a family of the named network, or of the draft, with this id
 */

import type { Family } from "../../ipam/addresses/ip.ts";
import { ConfigError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import { isNetworkId, type NetworkId } from "./network-id.ts";

export interface PoolId {
  readonly id: NetworkId;
  readonly family: Family;
}

export function formatPoolId({ id, family }: PoolId): string {
  return `tulle/${id}/${family}`;
}

/** Throws ConfigError for a PoolID that is not ours. */
export function parsePoolId(text: string): PoolId {
  const [word, id = "", family, ...rest] = text.split("/");
  if (word === "tulle" && isNetworkId(id) && (family === "4" || family === "6") && rest.length === 0)
    return { id, family: family === "4" ? 4 : 6 };
  throw new ConfigError(`PoolID "${escapeText(text, 80)}" is not a pool of this driver: remove the network`);
}
