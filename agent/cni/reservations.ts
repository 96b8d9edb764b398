/** Reserved container addresses of this host, and whether somebody still uses them. Changes nothing by itself. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { withReservations } from "../../cni-plugin/bridge/detach.ts";
import { findLink } from "../../cni-plugin/bridge/links.ts";
import { hostDeviceName } from "../../cni-plugin/bridge/pair.ts";
import { BOOT_ID_FILE } from "../../cni-plugin/ipam/boot.ts";
import type { Reservation } from "../../cni-plugin/ipam/reservations.ts";
import { AttachmentStates } from "../../cni-plugin/state.ts";
import type { Address } from "../../ipam/addresses/ip.ts";

/**
 * used: its device is there. gone: it died with an earlier boot, or its record is there and its device is not.
 * damaged: the file names no container. unknown: another plugin made it, whose device's name we cannot tell.
 */
export type Use = "used" | "gone" | "damaged" | "unknown";

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
export function listReserved(folders: ReservationFolders, network?: string): readonly ReservedAddress[] {
  const networks = network === undefined ? networksIn(folders.dataDir) : [network];
  const host = NetlinkConnection.open();
  try {
    return networks.flatMap((name) => reservedIn(folders, name, host));
  } finally {
    host.close();
  }
}

/** Frees addresses of one network, under its lock. */
export function releaseReserved({ dataDir }: ReservationFolders, network: string, address: Address): void {
  withReservations(dataDir, network, (store) => store.release(address));
}

/** A host that never had a container has no folder. */
function networksIn(dataDir: string): readonly string[] {
  if (!existsSync(dataDir)) return [];
  return readdirSync(dataDir, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
}

function reservedIn(
  { dataDir, stateDir }: ReservationFolders,
  network: string,
  host: NetlinkConnection,
): readonly ReservedAddress[] {
  const states = new AttachmentStates(stateDir, network);
  const bootId = readFileSync(BOOT_ID_FILE, "utf8").trim();
  const found = withReservations(dataDir, network, (store) => {
    const isOfEarlierBoot = ![null, bootId].includes(store.bootId());
    return store.list().map((reservation): ReservedAddress => {
      const hasDevice = findLink(host, hostDeviceName(network, reservation)) !== null;
      const isRecorded = states.read(reservation) !== null;
      return { ...reservation, network, use: useOf(reservation, hasDevice, isRecorded, isOfEarlierBoot) };
    });
  });
  return found ?? [];
}

function useOf(
  reservation: Reservation,
  hasDevice: boolean,
  isRecorded: boolean,
  isOfEarlierBoot: boolean,
): Use {
  if (reservation.containerId === "") return "damaged";
  if (hasDevice) return "used";
  return isRecorded || isOfEarlierBoot ? "gone" : "unknown";
}
