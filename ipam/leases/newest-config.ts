/** The newest valid network configuration, and what is wrong with what the store holds now. */

import type { NetworkConfig } from "../config/network-config.ts";
import { parseNetworkConfig } from "../config/network-config-parser.ts";
import { errorMessage } from "../errors.ts";

const MISSING =
  'the network configuration is missing in the store: this host keeps the one in force, but hosts that start wait for one; write it again with "tulle net init" or to <prefix>/config';

export class NewestConfig {
  #valid: NetworkConfig | null = null;
  #problem: string | null = null;

  /** Null before there is one. */
  get valid(): NetworkConfig | null {
    return this.#valid;
  }

  /** Why the newest one is not valid, or that there is none any more; null when it is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Takes what the store has; null for nothing, which leaves the last valid one in force. Returns whether another one is valid. */
  read(text: string | null): boolean {
    if (text === null) {
      if (this.#valid !== null) this.#problem = MISSING;
      return false;
    }
    this.#problem = null;
    if (text === this.#valid?.text) return false;
    try {
      this.#valid = parseNetworkConfig(text);
      return true;
    } catch (error) {
      this.#problem = errorMessage(error);
      return false;
    }
  }
}
