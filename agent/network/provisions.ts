/** What backends make on this host before they are prepared, each once per daemon and network. */

import type { ProvisionContext } from "../../backends/backend.ts";
import type { Logger } from "../../ipam/log.ts";
import type { NetworkSettings } from "./network-settings.ts";

export class Provisions implements ProvisionContext {
  readonly stateDir: string;
  readonly network: string | null;
  readonly keyFile: string | null;
  readonly logger: Logger;
  readonly #made = new Map<string, Promise<unknown>>();

  constructor(
    { stateDir, name, wireguardKeyFile }: Pick<NetworkSettings, "stateDir" | "name" | "wireguardKeyFile">,
    logger: Logger,
  ) {
    this.stateDir = stateDir;
    this.network = name;
    this.keyFile = wireguardKeyFile;
    this.logger = logger;
  }

  /** A property, so that it may be taken out of the context. */
  readonly once = <T>(key: string, make: () => Promise<T>): Promise<T> => {
    const known = this.#made.get(key) as Promise<T> | undefined;
    if (known !== undefined) return known;
    const made = make();
    this.#made.set(key, made);
    made.catch(() => this.#made.delete(key));
    return made;
  };
}
