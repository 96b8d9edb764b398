/**
 * Removes from the store the networks that users of this host removed from the engine, unless a container somewhere uses
 * one: the engine ignores our refusal, so that such a network is put back.
 */

import { ConflictError, errorMessage } from "../../ipam/errors.ts";
import { errorFields } from "../../ipam/log.ts";
import type { DriverContext } from "./context.ts";
import type { NetworkId } from "./network-id.ts";

/** A container that another host has just removed may be in the store this long after its engine has said so. */
const LEAVING_MS = 1_000;

/** A network that is not as it should be, and why. */
export interface NetworkProblem {
  readonly name: string;
  readonly problem: string;
}

export class StoreRemovals {
  readonly #context: DriverContext;
  /** Removals that a container somewhere stands against, and since when. */
  readonly #contested = new Map<NetworkId, number>();

  constructor(context: DriverContext) {
    this.#context = context;
  }

  /** Returns what could not be removed yet, and why; null when nothing is left. Never rejects. */
  async carryOut(signal: AbortSignal): Promise<NetworkProblem | null> {
    const { state, catalogue, feed, logger } = this.#context;
    let kept: NetworkProblem | null = null;
    for (const id of [...state.removals]) {
      const name = feed.view.networks.get(id)?.name ?? id;
      try {
        // A user may have created it again meanwhile.
        if (!this.#isHere(id)) {
          await catalogue.remove(id, signal);
          await this.#untilOutOfView(id, signal);
          logger.info("network removed from the store", { network: name });
        }
      } catch (error) {
        const usedBy = error instanceof ConflictError ? error.details.usedBy : undefined;
        const pending = { name, problem: `cannot be removed from the store yet: ${errorMessage(error)}` };
        if (typeof usedBy !== "string") return pending;
        if (this.#mayEndSoon(id)) {
          kept ??= pending;
          continue;
        }
        await this.#tellPutBack(id, name, usedBy, error, signal);
      }
      const unrecorded = await this.#endRemoval(id, name);
      kept ??= unrecorded;
    }
    return kept;
  }

  /** Null once it is on the disk that nothing is left to do: the next start would do it again. */
  async #endRemoval(id: NetworkId, name: string): Promise<NetworkProblem | null> {
    const { state } = this.#context;
    this.#contested.delete(id);
    state.removals.delete(id);
    try {
      await state.saveNetworks();
      return null;
    } catch (error) {
      state.removals.add(id);
      return { name, problem: `was removed, which cannot be recorded yet: ${errorMessage(error)}` };
    }
  }

  #isHere(id: NetworkId): boolean {
    return [...this.#context.state.networks.values()].some(({ network }) => network === id);
  }

  #mayEndSoon(id: NetworkId): boolean {
    const { clock, feed } = this.#context;
    const nowMs = clock.monotonicMs();
    // The container in the store may be one of this host that has left.
    const isOutdated = feed.unpublished.includes(id);
    const sinceMs = isOutdated ? nowMs : (this.#contested.get(id) ?? nowMs);
    this.#contested.set(id, sinceMs);
    return nowMs - sinceMs < LEAVING_MS;
  }

  /** On this host by log and status, on all by a record, on which nothing depends. */
  async #tellPutBack(
    id: NetworkId,
    name: string,
    usedBy: string,
    reason: unknown,
    signal: AbortSignal,
  ): Promise<void> {
    const { notices, recordRestoration, logger } = this.#context;
    notices.add(name, `removed here and put back: ${errorMessage(reason)}`);
    try {
      await recordRestoration(id, usedBy, signal);
    } catch (error) {
      logger.warn("other hosts are not told that a network was put back", {
        network: name,
        ...errorFields(error),
      });
    }
  }

  /** The view follows the store a moment later: until then the network would be created here again. */
  async #untilOutOfView(id: NetworkId, signal: AbortSignal): Promise<void> {
    const { feed, changes } = this.#context;
    if (feed.storeProblem !== null) return;
    await changes.until(() => (feed.view.networks.has(id) ? null : true), 5_000, signal);
  }
}
