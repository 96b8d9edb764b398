/**
 * Notices of networks that were removed on one host and put back, because a container of any host is in them.
 *
 * A notice is a leased record, for `tulle network ls`: an engine does not show why a network is there again.
 */

import { CodecError } from "../errors.ts";
import type { Records, StoreEntry } from "../stores/contracts.ts";
import { integerField, parseObject, textField } from "./fields.ts";
import type { HostId, NetworkId } from "./named-network.ts";
import { isHostId, isNetworkId } from "./record-names.ts";

const FOLDER = "named/restored/";
const TTL_SECONDS = 3600;
const MAX_TEXT = 253;

export interface Restoration {
  readonly network: NetworkId;
  /** Where it was removed and put back. */
  readonly host: HostId;
  readonly hostName: string;
  /** What uses it: a container and its host, for people. */
  readonly usedBy: string;
  /** Seconds since 1970. */
  readonly atSeconds: number;
}

/** Records a notice for an hour; a later one of the same host replaces it. Throws StoreError and ConflictError. */
export async function recordRestoration(
  records: Records,
  { network, host, hostName, usedBy, atSeconds }: Restoration,
  signal: AbortSignal,
): Promise<void> {
  const name = `${FOLDER}${network}/${host}`;
  const value = JSON.stringify({ hostName, usedBy, at: atSeconds });
  await records.write(name, value, await records.read(name, signal), signal, TTL_SECONDS);
}

/** The notices of the last hour; those that cannot be read are left out, because nothing depends on them. */
export async function listRestorations(
  records: Records,
  signal: AbortSignal,
): Promise<readonly Restoration[]> {
  return (await records.list(FOLDER, signal)).flatMap((entry) => decode(entry) ?? []);
}

function decode({ key, value }: StoreEntry): Restoration | null {
  const [network, host] = key.slice(FOLDER.length).split("/");
  if (!isNetworkId(network) || !isHostId(host)) return null;
  try {
    const root = parseObject(value);
    return {
      network,
      host,
      hostName: textField(root, "hostName", MAX_TEXT),
      usedBy: textField(root, "usedBy", 2 * MAX_TEXT),
      atSeconds: integerField(root, "at", 0, Number.MAX_SAFE_INTEGER),
    };
  } catch (error) {
    if (error instanceof CodecError) return null;
    throw error;
  }
}
