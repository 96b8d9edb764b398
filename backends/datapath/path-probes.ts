/** Probes of a data path that wait for their answers. */

import { randomBytes } from "node:crypto";
import { NONCE_BYTES } from "./path-probe.ts";

/** More than answers take; the oldest are forgotten. */
const MOST_PENDING = 1_024;

interface Pending {
  readonly address: string;
  readonly onAnswer: () => void;
}

export class PathProbes {
  /** By nonce, in the order of sending. */
  readonly #pending = new Map<string, Pending>();

  /** Returns a nonce that no other host can guess, so that an answer proves that its sender got the request. */
  add(address: string, onAnswer: () => void): string {
    const nonce = randomBytes(NONCE_BYTES).toString("hex");
    this.#pending.set(nonce, { address, onAnswer });
    for (const oldest of this.#pending.keys()) {
      if (this.#pending.size <= MOST_PENDING) break;
      this.#pending.delete(oldest);
    }
    return nonce;
  }

  /** Takes an answer; one from another address than was asked answers nothing. */
  answered({ nonce, address }: { readonly nonce: string; readonly address: string }): void {
    const pending = this.#pending.get(nonce);
    if (pending?.address !== address) return;
    this.#pending.delete(nonce);
    pending.onAnswer();
  }
}
