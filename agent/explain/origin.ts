/** Finds what a person means by the source: the host, one of its addresses, or a container by its address or name. */

import { RTN_LOCAL } from "../../backends/netlink/route.ts";
import { Address, type Family } from "../../ipam/addresses/ip.ts";
import { ConfigError, TulleError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import { isJsonObject, type JsonValue } from "../../ipam/json.ts";
import { listReserved, type ReservationFolders } from "../cni/reservations.ts";
import { EngineClient, EngineError } from "../docker-driver/engine-client.ts";
import { findContainer } from "./container.ts";
import type { KernelView } from "./kernel-view.ts";
import type { Origin } from "./way.ts";

export interface NamePlaces extends ReservationFolders {
  /** Of dockerd. */
  readonly engineSocket: string;
}

const ENGINE_TIMEOUT_MS = 5_000;
/** As container engines allow: what else a word may be is a mistyped address. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/;
const LIKE_ADDRESS = /^[\d.:/]+$|^[0-9A-Fa-f:.%/]*:[0-9A-Fa-f:.%/]*$/;

/** Throws ConfigError for a source that does not exist here or has no address of the family. */
export async function findOrigin(
  word: string,
  family: Family,
  kernel: KernelView,
  places: NamePlaces,
): Promise<Origin> {
  if (word === "host") return null;
  const address = Address.parseOrNull(word);
  if (address !== null) return originAt(address, family, kernel, word);
  const shown = escapeText(word, 100);
  if (LIKE_ADDRESS.test(word) || !NAME.test(word))
    throw new ConfigError(
      `the source "${shown}" is neither an address nor the name of a container; write "host" for this host`,
    );
  const addresses = await addressesOf(word, places);
  if (addresses.length === 0)
    throw new ConfigError(
      `no container of this host is named "${shown}", neither in Docker nor among the CNI plugin's reservations; give its address`,
    );
  const own = addresses.find((one) => one.family === family);
  if (own === undefined) throw mismatch(shown, family);
  return originAt(own, family, kernel, word);
}

function originAt(address: Address, family: Family, kernel: KernelView, word: string): Origin {
  const shown = escapeText(word, 100);
  if (address.family !== family) throw mismatch(shown, family);
  const found = kernel.lookup(address, {});
  if (found.type === "route" && found.route.type === RTN_LOCAL) return address;
  const container = findContainer(kernel, address);
  if (container !== null) return container;
  throw new ConfigError(
    `the source ${shown} is neither an address of this host nor that of a container on a bridge of it; run the command on the host of that container`,
  );
}

function mismatch(shown: string, family: Family): ConfigError {
  return new ConfigError(
    `the destination is an IPv${family} address, and the source ${shown} has none; give two of one family`,
  );
}

async function addressesOf(name: string, places: NamePlaces): Promise<readonly Address[]> {
  const ofDocker = await addressesInDocker(name, places.engineSocket);
  return ofDocker.length > 0 ? ofDocker : await reservedBy(name, places);
}

/** Empty where no engine answers or it does not know the name. */
async function addressesInDocker(name: string, socket: string): Promise<readonly Address[]> {
  try {
    const path = `/containers/${encodeURIComponent(name)}/json`;
    return readEndpoints(await new EngineClient(socket).call({ method: "GET", path }, ENGINE_TIMEOUT_MS));
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return [];
  }
}

function readEndpoints(answer: JsonValue): readonly Address[] {
  const settings = isJsonObject(answer) ? answer.NetworkSettings : null;
  const networks = isJsonObject(settings) ? settings.Networks : null;
  if (!isJsonObject(networks)) return [];
  return Object.values(networks).flatMap((endpoint) => {
    if (!isJsonObject(endpoint)) return [];
    return [endpoint.IPAddress, endpoint.GlobalIPv6Address].flatMap((text) =>
      typeof text === "string" && text !== "" ? (Address.parseOrNull(text) ?? []) : [],
    );
  });
}

/** Runtimes name containers by long ids, of which a person gives the start. */
const SHORTEST_ID = 4;

async function reservedBy(name: string, folders: ReservationFolders): Promise<readonly Address[]> {
  try {
    const reserved = await listReserved(folders);
    const exact = reserved.filter(({ containerId }) => containerId === name);
    if (exact.length > 0 || name.length < SHORTEST_ID) return exact.map(({ address }) => address);
    const found = reserved.filter(({ containerId }) => containerId.startsWith(name));
    const ids = new Set(found.map(({ containerId }) => containerId));
    if (ids.size > 1)
      throw new ConfigError(
        `${ids.size} containers of this host have ids that begin with "${name}"; give more of it`,
      );
    return found.map(({ address }) => address);
  } catch (error) {
    if (error instanceof ConfigError || !(error instanceof TulleError)) throw error;
    return [];
  }
}
