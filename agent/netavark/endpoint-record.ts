/** What is remembered of podman's containers on named networks, and its file: JSON in the state directory. */

import { join } from "node:path";
import { Address } from "../../ipam/addresses/ip.ts";
import { CodecError, errorMessage } from "../../ipam/errors.ts";
import { makeFolder } from "../../ipam/files/folder.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
import { isJsonObject, type JsonValue } from "../../ipam/json.ts";
import type { Logger } from "../../ipam/log.ts";
import { decodeMember } from "../../ipam/named-networks/member-codec.ts";
import type { Member, NetworkId } from "../../ipam/named-networks/named-network.ts";
import { isNetworkId } from "../../ipam/named-networks/record-names.ts";
import { SharedTurns } from "../../ipam/turns.ts";

/** One interface of a container. */
export interface PodmanEndpoint {
  readonly network: NetworkId;
  readonly member: Member;
  /** The container's address on the bridge to the outside; null without one. */
  readonly outside: Address | null;
}

const MAX_BYTES = 32 << 20;

export class EndpointFile {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #writes = new SharedTurns();

  /** Throws what the file system throws when the folder cannot be made. */
  constructor(stateDir: string, logger: Logger) {
    makeFolder(stateDir, 0o700);
    this.#path = join(stateDir, "netavark-endpoints.json");
    this.#logger = logger;
  }

  /** Empty without a file, and where it is damaged: containers are then found again when they are restarted. */
  read(): readonly PodmanEndpoint[] {
    try {
      const text = readOwnFile(this.#path, MAX_BYTES);
      return text === null ? [] : decode(text);
    } catch (error) {
      this.#logger.warn("the record of podman's containers is damaged; started without it", {
        path: this.#path,
        error: errorMessage(error),
      });
      return [];
    }
  }

  /** Resolves when what `read` returns at the time of the write is on the disk. One write serves many callers. */
  save(read: () => Iterable<PodmanEndpoint>): Promise<void> {
    return this.#writes.run(() =>
      replaceFile(this.#path, JSON.stringify({ version: 1, endpoints: [...read()] }), { mode: 0o600 }),
    );
  }
}

/** Throws CodecError, AddressError. */
function decode(text: string): readonly PodmanEndpoint[] {
  const root: unknown = JSON.parse(text);
  if (!isJsonObject(root) || !Array.isArray(root.endpoints)) throw new CodecError("it has no endpoints");
  return root.endpoints.map((value: JsonValue) => {
    if (!isJsonObject(value) || !isNetworkId(value.network)) throw new CodecError("network is not an id");
    const { network, member = null, outside } = value;
    return {
      network,
      member: decodeMember(member),
      outside: typeof outside === "string" ? Address.parse(outside) : null,
    };
  });
}
