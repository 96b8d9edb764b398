/**
 * The configuration that ADD used, kept for DEL: one file per attachment in `dataDir`, holding the configuration of the
 * delegate. DEL undoes what ADD did even when the network's configuration or the host's subnet changed since.
 *
 * Files are named `network:container:interface`, because none of the three may contain a colon. flannel names its
 * files after the container alone, so that a second attachment replaces the first one's. Such files are read, and the
 * first attachment's record has that name as well: a host can change over and back with containers running.
 */

import { linkSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Attachment } from "../../ipam/containers/attachment.ts";
import { hasCode } from "../../ipam/errors.ts";
import { RANDOM_NAME_LENGTH } from "../../ipam/files/draft.ts";
import { makeFolder, removeBeginningWith, removeIfPresent } from "../../ipam/files/folder.ts";
import { readRecord } from "../../ipam/files/read.ts";
import type { BackgroundSync } from "../../ipam/files/sync.ts";
import { replaceFileSync } from "../../ipam/files/write.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { IDENTIFIER, type Runtime } from "../protocol/call.ts";
import { CNI_CODES, CniError } from "../protocol/errors.ts";
import { withKnownNames } from "../protocol/spelling.ts";

/** Begins the names of files that are being written; no attachment's name begins so. */
const TEMPORARY = ":new:";

/** linux/limits.h: NAME_MAX */
const LONGEST_FILE_NAME_BYTES = 255;

/** The records of one network and runtime in the folder `dir`. The name of a network has no `@`. */
export function recordsOf(dir: string, network: string, runtime: Runtime): AttachmentStates {
  return new AttachmentStates(dir, runtime === "cni" ? network : `${runtime}@${network}`);
}

export class AttachmentStates {
  readonly #dir: string;
  readonly #network: string;

  constructor(dir: string, networkName: string) {
    this.#dir = dir;
    this.#network = networkName;
  }

  /**
   * Records an attachment before anything is made for it. With `sync`, the record is on the disk once that has finished.
   * Throws CniError 4 and what the file system throws.
   */
  write(attachment: Attachment, delegate: JsonObject, sync?: BackgroundSync): void {
    if (!this.#canBeRecorded(attachment)) {
      throw new CniError(
        CNI_CODES.badEnvironment,
        "CNI_CONTAINERID is too long for the name of a file; give a shorter one",
      );
    }
    makeFolder(this.#dir, 0o700);
    const name = this.#nameOf(attachment);
    const prefix = this.#pathOf(`${TEMPORARY}${name}:`);
    replaceFileSync(
      this.#pathOf(name),
      JSON.stringify(delegate),
      { mode: 0o600 },
      { prefix, isDurable: true, ...(sync !== undefined && { sync }) },
    );
    try {
      linkSync(this.#pathOf(name), this.#pathOf(attachment.containerId));
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    }
  }

  /**
   * The delegate's configuration as ADD used it; null when the record is absent or damaged. An id
   * from a damaged reservation may be any text, even a path: null for those that cannot be a file name.
   */
  read(attachment: Attachment): JsonObject | null {
    if (!this.#canBeRecorded(attachment)) return null;
    const own = parseObject(readRecord(this.#pathOf(this.#nameOf(attachment))));
    return own ?? this.#readFlannels(attachment.containerId);
  }

  /** Forgets an attachment; forgetting an unknown one is a success. */
  remove(attachment: Attachment): void {
    const { containerId } = attachment;
    if (!this.#canBeRecorded(attachment)) return;
    const name = this.#nameOf(attachment);
    if (this.#isSameFile(containerId, name) || this.#isFlannels(containerId)) {
      removeIfPresent(this.#pathOf(containerId));
    }
    for (const file of [name, TEMPORARY + name]) removeIfPresent(this.#pathOf(file));
    removeBeginningWith(this.#pathOf(`${TEMPORARY}${name}:`));
  }

  /** Every attachment of this network that has a record, finished or not. flannel's name no interface. */
  list(): readonly Attachment[] {
    const found = new Map<string, Attachment>();
    for (const file of this.#fileNames()) {
      const name = file.startsWith(TEMPORARY) ? file.slice(TEMPORARY.length) : file;
      const attachment = this.#attachmentOf(name);
      if (attachment !== null) found.set(this.#nameOf(attachment), attachment);
    }
    return [...found.values()];
  }

  #canBeRecorded(attachment: Attachment): boolean {
    const name = `${TEMPORARY}${this.#nameOf(attachment)}:`;
    const longest = LONGEST_FILE_NAME_BYTES - RANDOM_NAME_LENGTH;
    return IDENTIFIER.test(attachment.containerId) && name.length <= longest;
  }

  #attachmentOf(name: string): Attachment | null {
    const [network, containerId = "", interfaceName] = name.split(":");
    if (interfaceName !== undefined) return network === this.#network ? { containerId, interfaceName } : null;
    return IDENTIFIER.test(name) && this.#isFlannels(name) ? { containerId: name, interfaceName: "" } : null;
  }

  #nameOf({ containerId, interfaceName }: Attachment): string {
    return `${this.#network}:${containerId}:${interfaceName}`;
  }

  #readFlannels(containerId: string): JsonObject | null {
    const delegate = parseObject(readRecord(this.#pathOf(containerId)));
    return delegate?.name === this.#network ? delegate : null;
  }

  /** True for a record that flannel wrote for this network: ours have a second name. */
  #isFlannels(containerId: string): boolean {
    const links = statSync(this.#pathOf(containerId), { throwIfNoEntry: false })?.nlink;
    return links === 1 && this.#readFlannels(containerId) !== null;
  }

  #isSameFile(left: string, right: string): boolean {
    const [one, two] = [left, right].map((file) => statSync(this.#pathOf(file), { throwIfNoEntry: false }));
    return one !== undefined && one.ino === two?.ino;
  }

  #pathOf(file: string): string {
    return join(this.#dir, file);
  }

  #fileNames(): readonly string[] {
    try {
      return readdirSync(this.#dir);
    } catch (error) {
      if (hasCode(error, "ENOENT")) return [];
      throw error;
    }
  }
}

/** A power loss may leave less than the whole text: that counts as no record. */
function parseObject(text: string | null): JsonObject | null {
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? withKnownNames(value) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
