/** Reserved container addresses of this host, and whether they are in use. */

import { existsSync, readdirSync } from "node:fs";
import { hasPort, openAddresses } from "../../cni-plugin/host/addresses.ts";
import { recordsOf } from "../../cni-plugin/host/state.ts";
import { RUNTIMES } from "../../cni-plugin/protocol/call.ts";
import type { Reservation } from "../../ipam/containers/addresses.ts";
import { OUTSIDE } from "../../ipam/containers/outside.ts";

/**
 * used: its device exists, or ADD may still be making it. gone: it died with an earlier boot, or tulle made it and its
 * device does not exist. damaged: the file names no container. unknown: another plugin made it, so that the name of its
 * device is unknown.
 */
export type Use = "used" | "gone" | "damaged" | "unknown";

/** ADD reserves the address before it makes the device. */
const LONGEST_ADD_MS = 60_000;

export interface ReservedAddress extends Reservation {
  readonly network: string;
  readonly use: Use;
}

export interface ReservationFolders {
  /** The `dataDir` of `ipam`. */
  readonly dataDir: string;
  /** The `dataDir` of the plugin itself, with its records. */
  readonly stateDir: string;
}

/** Every reservation of one network, or of all. Throws what the file system throws. */
export async function listReserved(
  folders: ReservationFolders,
  network?: string,
): Promise<readonly ReservedAddress[]> {
  const networks = networksIn(folders.dataDir).filter((name) => network === undefined || name === network);
  const reserved: ReservedAddress[] = [];
  // One after another: each waits for its folder's lock.
  for (const name of networks) reserved.push(...(await reservedIn(folders, name)));
  return reserved;
}

/** Frees an address, under its network's lock, unless it changed hands since it was listed. */
export async function releaseReserved(
  { dataDir }: ReservationFolders,
  reserved: ReservedAddress,
): Promise<void> {
  await openAddresses(dataDir, reserved.network).release([reserved]);
}

/** A host that never had a container has no folder. */
function networksIn(dataDir: string): readonly string[] {
  if (!existsSync(dataDir)) return [];
  return readdirSync(dataDir, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() && !entry.name.startsWith(".") ? [entry.name] : [],
  );
}

async function reservedIn(
  { dataDir, stateDir }: ReservationFolders,
  network: string,
): Promise<readonly ReservedAddress[]> {
  const records = RUNTIMES.map((runtime) => recordsOf(stateDir, network, runtime));
  const addresses = openAddresses(dataDir, network);
  const earlier = new Set((await addresses.listOfEarlierBoots()).map(({ address }) => `${address}`));
  const startedMs = Date.now() - LONGEST_ADD_MS;
  return (await addresses.list()).map((reservation) => {
    // There tulle-netavark alone reserves, without records.
    const isRecorded =
      network === OUTSIDE.network || records.some((states) => states.read(reservation) !== null);
    const isOfEarlierBoot = earlier.has(`${reservation.address}`);
    const mayBeMade = isRecorded && !isOfEarlierBoot && addresses.madeMs(reservation.address) > startedMs;
    const isUsed = mayBeMade || hasPort(network, reservation);
    const use = useOf(reservation, isUsed, isRecorded, isOfEarlierBoot);
    return { ...reservation, network, use };
  });
}

function useOf(
  reservation: Reservation,
  isUsed: boolean,
  isRecorded: boolean,
  isOfEarlierBoot: boolean,
): Use {
  if (reservation.containerId === "") return "damaged";
  if (isUsed) return "used";
  return isRecorded || isOfEarlierBoot ? "gone" : "unknown";
}
