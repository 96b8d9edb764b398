/** What joins podman's containers to one kind of network. No I/O. */

import type { JsonObject } from "../../ipam/json.ts";
import type { PodmanContainer, PodmanNetwork } from "./request.ts";

/** Writes a line for people. */
export type Warn = (text: string) => void;

/** All of it throws CniError, or what the libraries throw. */
export interface NetworkDriver {
  /** The network's configuration as podman is to keep it: name, id and driver as they are given. */
  create(network: PodmanNetwork): Promise<JsonObject>;
  /** Makes the interface, or nothing at all, and returns netavark's StatusBlock. */
  setup(container: PodmanContainer, warn: Warn): Promise<JsonObject>;
  /** Removes what setup made, also half of it; absence is a success. */
  teardown(container: PodmanContainer, warn: Warn): Promise<void>;
}
