/** Which address Docker's settings give its bridge. Reads files, writes none. */

import { existsSync } from "node:fs";
import { type InterfaceAddress, parseInterfaceAddress } from "../../ipam/addresses/ip.ts";
import { TulleError } from "../../ipam/errors.ts";
import { parseDaemonJson } from "./daemon-json.ts";
import { readText } from "./file-change.ts";
import { DROP_IN } from "./service-command.ts";

export interface GivenBridge {
  /** The drop-in of `tulle docker setup` is there, which takes the address from subnet.env. */
  readonly hasDropIn: boolean;
  /** Of daemon.json; null for none, and for what dockerd would reject. */
  readonly bip: InterfaceAddress | null;
}

const DROP_IN_FILE = `/etc/systemd/system/docker.service.d/${DROP_IN}`;
const DAEMON_JSON = "/etc/docker/daemon.json";

/** Throws CodecError for a daemon.json that is damaged. */
export async function givenBridge(daemonJson = DAEMON_JSON, dropIn = DROP_IN_FILE): Promise<GivenBridge> {
  const { bip } = parseDaemonJson((await readText(daemonJson)) ?? "", daemonJson);
  return { hasDropIn: existsSync(dropIn), bip: typeof bip === "string" ? parseOrNull(bip) : null };
}

function parseOrNull(text: string): InterfaceAddress | null {
  try {
    return parseInterfaceAddress(text);
  } catch (error) {
    if (error instanceof TulleError) return null;
    throw error;
  }
}
