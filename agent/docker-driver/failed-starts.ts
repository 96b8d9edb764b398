/**
 * Starts containers with a restart policy that failed because of us: our socket was absent, or we could not answer yet.
 * dockerd does not try them again.
 *
 * A failure is known by the engine's words for it. One that we may have overcome meanwhile is tried with back-off.
 */

import { Backoff, pause, Sleep } from "../../ipam/clock.ts";
import { errorFields } from "../../ipam/log.ts";
import type { DriverContext } from "./context.ts";
import {
  decodeListedContainers,
  type EngineContainer,
  type ListedContainer,
  type ListedNetwork,
} from "./engine-model.ts";
import { RETRIED } from "./plugin-server.ts";

const TIMEOUT_MS = 5_000;
/** Starting a container takes dockerd some time, and ours on top of it. */
const START_TIMEOUT_MS = 60_000;
const EVERY_MS = 60_000;
/** After an event: dockerd writes down why a container did not start a moment later. */
const SETTLE_MS = 1_000;
const RETRY_MS = { baseMs: 1_000, maxMs: 15_000 };

/**
 * What dockerd writes when it cannot reach our socket, measured of 20.10 and 28.5: that a plugin that it never saw is not
 * found, or the path of the socket. Our own errors and names of containers have the word as well.
 */
const OUR_ABSENCE = /plugin "?tulle"?(?![\w-])|(?:\/|%2F)tulle\.sock/;
const RESTARTING = new Set(["always", "unless-stopped", "on-failure"]);

export interface FailedStartsOptions {
  readonly context: DriverContext;
  readonly random: () => number;
  /** Null for a container that is gone. */
  readonly inspect: (container: string) => Promise<EngineContainer | null>;
}

export class FailedStarts {
  readonly #options: FailedStartsOptions;
  readonly #idle: Sleep;
  /** By container: the failure that was told last. */
  #told = new Map<string, string>();

  constructor(options: FailedStartsOptions) {
    this.#options = options;
    this.#idle = new Sleep(options.context.clock);
  }

  /** The engine runs again, or a container ended. */
  wake(): void {
    this.#idle.wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { context, random } = this.#options;
    const backoff = new Backoff({ ...RETRY_MS, random });
    while (!signal.aborted) {
      const isLeft = await this.#startAll();
      if (!isLeft) backoff.reset();
      if (isLeft) await pause(context.clock, backoff.nextMs(), signal);
      else {
        await this.#idle.for(EVERY_MS, signal);
        await pause(context.clock, SETTLE_MS, signal);
      }
    }
  }

  /** True when one is left that may start later. */
  async #startAll(): Promise<boolean> {
    const { engine, logger } = this.#options.context;
    const filters = encodeURIComponent(JSON.stringify({ status: ["exited", "created"] }));
    const path = `/containers/json?all=1&filters=${filters}`;
    let isLeft = false;
    const told = new Map<string, string>();
    try {
      const listed = decodeListedContainers(await engine.call({ method: "GET", path }, TIMEOUT_MS));
      // A host may have hundreds of stopped containers, and this follows the end of each container.
      for (const { id } of listed.filter((each) => this.#mayBeOurs(each))) {
        const container = await this.#options.inspect(id);
        if (container === null || !this.#isOurFault(container)) continue;
        const failure = await this.#start(container);
        if (failure === null) continue;
        isLeft = true;
        told.set(id, failure);
        if (this.#told.get(id) !== failure)
          logger.warn("container that failed because of tulled cannot be started; retried", {
            container: container.name,
            error: failure,
          });
      }
      this.#told = told;
    } catch (error) {
      // The engine does not run, or is busy; its events wake us.
      logger.debug("containers that failed because of tulled are not known", errorFields(error));
    }
    return isLeft;
  }

  /** Why it does not start; null when it does. */
  async #start({ id, name }: EngineContainer): Promise<string | null> {
    const { engine, logger } = this.#options.context;
    try {
      await engine.call({ method: "POST", path: `/containers/${id}/start` }, START_TIMEOUT_MS);
      logger.info("container started that failed because of tulled", { container: name });
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #mayBeOurs({ networks }: ListedContainer): boolean {
    const mayBe = (network: ListedNetwork): boolean => network.dockerId === "" || this.#isOurs(network);
    return networks.length === 0 || networks.some(mayBe);
  }

  /** By its id, or by its name: a network that was replaced is found by that. */
  #isOurs({ name, dockerId }: ListedNetwork): boolean {
    const { state, feed } = this.#options.context;
    return (
      state.networks.has(dockerId) ||
      [...feed.view.networks.values()].some((network) => network.name === name)
    );
  }

  #isOurFault({ isRunning, error, restartPolicy, networks }: EngineContainer): boolean {
    const isOnOurs = networks.some((network) => this.#isOurs(network));
    return !isRunning && RESTARTING.has(restartPolicy) && isPassing(error) && isOnOurs;
  }
}

/** Whether a start with this error may succeed once tulled serves, or reaches its store. */
export function isPassing(error: string): boolean {
  return OUR_ABSENCE.test(error) || error.includes(RETRIED);
}
