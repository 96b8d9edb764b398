/** The profiles of all hosts as a watch shows them, and which records are damaged. No I/O. */

import { CodecError } from "../errors.ts";
import { escapeText } from "../escape.ts";
import type { HostId } from "../named-networks/named-network.ts";
import type { EntryChange, RecordMessage, StoreEntry } from "../stores/contracts.ts";
import { decodeProfile, type HostProfile, parseProfileKey } from "./host-profile.ts";

export interface StoredProfile {
  readonly entry: StoreEntry;
  /** Null for one that cannot be read. */
  readonly profile: HostProfile | null;
}

export class ProfileTable {
  readonly #stored = new Map<HostId, StoredProfile>();
  /** Why a record does not count, by its key. */
  readonly #damaged = new Map<string, string>();

  get stored(): ReadonlyMap<HostId, StoredProfile> {
    return this.#stored;
  }

  /** One sentence about the damaged records; null when there are none. */
  get problem(): string | null {
    const [first, ...others] = this.#damaged;
    if (first === undefined) return null;
    const [key, reason] = first;
    const more = others.length === 0 ? "" : ` (and ${others.length} more like it)`;
    return `host record ${escapeText(key, 60)} is ignored: ${reason}${more}; delete it, its host writes it again`;
  }

  /** Null for a host without one. */
  profileOf(nodeId: string | null): HostProfile | null {
    return (nodeId === null ? undefined : this.#stored.get(nodeId as HostId))?.profile ?? null;
  }

  apply(message: RecordMessage): void {
    if (message.type === "list") {
      this.#stored.clear();
      this.#damaged.clear();
      for (const entry of message.entries) this.#put(entry);
    } else for (const change of message.changes) this.#change(change);
  }

  #change(change: EntryChange): void {
    if (change.type === "put") this.#put(change.entry);
    else this.#delete(change.key);
  }

  #delete(key: string): void {
    this.#damaged.delete(key);
    const host = parseProfileKey(key);
    if (host !== null) this.#stored.delete(host);
  }

  #put(entry: StoreEntry): void {
    const host = parseProfileKey(entry.key);
    this.#damaged.delete(entry.key);
    if (host === null) {
      this.#damaged.set(entry.key, "its name is not that of a host");
      return;
    }
    this.#stored.set(host, { entry, profile: this.#decode(entry) });
  }

  #decode({ key, value }: StoreEntry): HostProfile | null {
    try {
      return decodeProfile(value);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      this.#damaged.set(key, escapeText(error.message));
      return null;
    }
  }
}
