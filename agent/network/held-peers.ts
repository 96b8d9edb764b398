/**
 * The peers that are held because the store may be at fault, kept over a restart: the listing alone would remove them.
 *
 * In <state-dir>/held.json while any is held, for other networks than the first in held-<name>.json. Times are those of
 * the kernel's monotonic clock; after a reboot they mean nothing, and the hold-down bounds the stay.
 */

import { join } from "node:path";
import { errorMessage } from "../../ipam/errors.ts";
import { removeIfPresent } from "../../ipam/files/folder.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import type { HeldPeer } from "../../ipam/leases/departures.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import { decodeEntry, formatLeaseValue } from "../../ipam/leases/lease-codec.ts";
import type { PeerTable } from "../../ipam/leases/peer-table.ts";
import type { Logger } from "../../ipam/log.ts";
import { type NetworkSettings, ownedName } from "./network-settings.ts";

/** A lease takes about 400 bytes. */
const MAX_BYTES = 1 << 24;

export class HeldPeers {
  readonly #path: string;
  readonly #logger: Logger;
  /** What the file names, or will once it is written. */
  #recorded: ReadonlyMap<LeaseKey, HeldPeer> = new Map();
  #text: string | null = null;
  #written: Promise<void> = Promise.resolve();

  constructor({ stateDir, name }: Pick<NetworkSettings, "stateDir" | "name">, logger: Logger) {
    this.#path = join(stateDir, `${ownedName("held", name)}.json`);
    this.#logger = logger;
  }

  /** Those that a former run held. A damaged record is logged and names none. */
  read(): readonly HeldPeer[] {
    try {
      const text = readOwnFile(this.#path, MAX_BYTES);
      const held = text === null ? [] : parseHeld(text);
      this.#recorded = byKey(held);
      return held;
    } catch (error) {
      this.#logger.warn("record of held peers is ignored", { path: this.#path, error: errorMessage(error) });
      return [];
    }
  }

  /**
   * Records those that are held now. While they return one by one the file follows at every halving only: it does no
   * harm to those that are in the store.
   */
  note({ heldPeers }: Pick<PeerTable, "heldPeers">): void {
    const isNew = heldPeers.some((peer) => !this.#isRecorded(peer));
    const isSmaller = heldPeers.length * 2 <= this.#recorded.size && this.#recorded.size > 0;
    if (!isNew && !isSmaller) return;
    this.#recorded = byKey(heldPeers);
    this.#text = heldPeers.length === 0 ? null : formatHeld(heldPeers);
    this.#written = this.#written.then(() => this.#write());
  }

  /** False also for one that was back meanwhile, maybe with another value. */
  #isRecorded({ lease, untilMs }: HeldPeer): boolean {
    const recorded = this.#recorded.get(lease.key);
    return recorded?.lease === lease && recorded.untilMs === untilMs;
  }

  /** Resolves when the file has what was noted last. Never rejects. */
  async settled(): Promise<void> {
    await this.#written;
  }

  async #write(): Promise<void> {
    try {
      if (this.#text === null) removeIfPresent(this.#path);
      else await replaceFile(this.#path, this.#text, { mode: 0o600 });
    } catch (error) {
      this.#logger.warn("held peers cannot be recorded; a restart would remove them", {
        path: this.#path,
        error: errorMessage(error),
      });
    }
  }
}

function byKey(held: readonly HeldPeer[]): ReadonlyMap<LeaseKey, HeldPeer> {
  return new Map(held.map((peer) => [peer.lease.key, peer]));
}

function formatHeld(held: readonly HeldPeer[]): string {
  const peers = held.map(({ lease, untilMs }) => ({
    key: lease.key,
    value: formatLeaseValue(lease.attrs),
    revision: String(lease.revision),
    createRevision: String(lease.createRevision),
    storeLeaseId: lease.storeLeaseId,
    untilMs,
  }));
  return `${JSON.stringify({ peers })}\n`;
}

function parseHeld(text: string): readonly HeldPeer[] {
  const root: unknown = JSON.parse(text);
  if (!isJsonObject(root) || !Array.isArray(root.peers)) throw new Error("it holds no list of peers");
  return root.peers.map((peer) => {
    if (!isJsonObject(peer)) throw new Error("a peer is not an object");
    return parsePeer(peer);
  });
}

function parsePeer({ key, value, revision, createRevision, storeLeaseId, untilMs }: JsonObject): HeldPeer {
  const lease = decodeEntry({
    key: String(key),
    value: String(value),
    revision: BigInt(String(revision)),
    createRevision: BigInt(String(createRevision)),
    storeLeaseId: storeLeaseId === null ? null : String(storeLeaseId),
  });
  if (typeof untilMs !== "number") throw new Error(`untilMs of ${lease.key} is not a number`);
  return { lease, untilMs };
}
