/** Follows the engine's events: they only say what is to be read again. */

import { Backoff } from "../../ipam/clock.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import type { DriverContext } from "./context.ts";

export interface EngineEventHandlers {
  /** The events are followed from now on; what happened before is unknown. */
  readonly onFollowed: () => void;
  readonly onNetwork: () => void;
  /** Something happened to a container: its full id. */
  readonly onContainer: (container: string) => void;
}

/** What changes a container's names or interfaces. */
const CONTAINER_ACTIONS = new Set(["start", "rename", "die", "destroy"]);
const RETRY_MS = { baseMs: 250, maxMs: 5_000 };

/** Follows until `signal` fires, whenever dockerd runs. */
export async function followEngine(
  { engine, clock, logger }: Pick<DriverContext, "engine" | "clock" | "logger">,
  random: () => number,
  handlers: EngineEventHandlers,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff({ ...RETRY_MS, random });
  while (!signal.aborted) {
    const onOpen = (): void => {
      backoff.reset();
      handlers.onFollowed();
    };
    try {
      for await (const event of engine.events(["network", "container"], signal, onOpen))
        dispatch(event, handlers);
    } catch (error) {
      logger.debug("events of the Docker Engine ended", { error });
    }
    await clock.sleep(backoff.nextMs(), signal).catch(() => undefined);
  }
}

function dispatch(event: JsonObject, { onNetwork, onContainer }: EngineEventHandlers): void {
  const actor = isJsonObject(event.Actor) ? event.Actor : {};
  const attributes = isJsonObject(actor.Attributes) ? actor.Attributes : {};
  if (event.Type === "network") {
    onNetwork();
    const container = attributes.container;
    if (typeof container === "string") onContainer(container);
  } else if (CONTAINER_ACTIONS.has(String(event.Action)) && typeof actor.ID === "string") {
    onContainer(actor.ID);
  }
}
