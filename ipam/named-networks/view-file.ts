/**
 * What this host knows of named networks, on its disk: right at a start while the store is away.
 *
 * It holds the records as they were in the store, and this host's own members. A lost or damaged file costs nothing but
 * that: everything in it is read from the store again.
 */

import { join } from "node:path";
import { CodecError, errorMessage } from "../errors.ts";
import { makeFolder } from "../files/folder.ts";
import { readOwnFile } from "../files/read.ts";
import { replaceFile } from "../files/write.ts";
import { isJsonObject, type JsonValue } from "../json.ts";
import type { Logger } from "../log.ts";
import type { StoreEntry } from "../stores/contracts.ts";
import { listField, objectField, parseObject, textField } from "./fields.ts";
import { decodeMember } from "./member-codec.ts";
import type { Member, NetworkId } from "./named-network.ts";
import { isNetworkId } from "./record-names.ts";

/** 100,000 members. */
const MAX_BYTES = 64 << 20;
const MAX_ENTRIES = 1_000_000;

export interface KeptView {
  readonly entries: readonly StoreEntry[];
  readonly own: ReadonlyMap<NetworkId, readonly Member[]>;
}

export class ViewFile {
  readonly #path: string;
  readonly #logger: Logger;

  constructor(stateDir: string, logger: Logger) {
    makeFolder(stateDir, 0o700);
    this.#path = join(stateDir, "named-networks.json");
    this.#logger = logger;
  }

  /** Null when there is none, or it cannot be read. */
  read(): KeptView | null {
    try {
      const text = readOwnFile(this.#path, MAX_BYTES);
      return text === null ? null : decodeView(text);
    } catch (error) {
      this.#logger.warn("the record of named networks is unusable and is read from the store again", {
        path: this.#path,
        error: errorMessage(error),
      });
      return null;
    }
  }

  /** Throws what the file system throws. */
  async write(view: KeptView): Promise<void> {
    await replaceFile(this.#path, encodeView(view), { mode: 0o600 });
  }
}

function encodeView({ entries, own }: KeptView): string {
  return JSON.stringify({
    entries: entries.map(({ key, value, revision, createRevision }) => ({
      key,
      value,
      revision: revision.toString(),
      createRevision: createRevision.toString(),
    })),
    own: Object.fromEntries(own),
  });
}

function decodeView(text: string): KeptView {
  const root = parseObject(text);
  const own = new Map<NetworkId, readonly Member[]>();
  for (const [network, members] of Object.entries(objectField(root, "own"))) {
    if (!isNetworkId(network) || !Array.isArray(members)) throw new CodecError("own is not by network");
    own.set(network, members.map(decodeMember));
  }
  return { entries: listField(root, "entries", MAX_ENTRIES).map(decodeEntry), own };
}

function decodeEntry(value: JsonValue): StoreEntry {
  if (!isJsonObject(value)) throw new CodecError("an entry is not an object");
  return {
    key: textField(value, "key", MAX_BYTES),
    value: textField(value, "value", MAX_BYTES),
    revision: revisionField(textField(value, "revision", 30)),
    createRevision: revisionField(textField(value, "createRevision", 30)),
    storeLeaseId: null,
  };
}

function revisionField(text: string): bigint {
  if (!/^\d+$/.test(text)) throw new CodecError(`"${text}" is not a revision`);
  return BigInt(text);
}
