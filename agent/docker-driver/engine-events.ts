/** Follows the engine's events: they only say what is to be read again. */

import { Backoff } from "../../ipam/clock.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import type { DriverContext } from "./context.ts";

/** Something happened to a network: it was made or removed, or a container was connected or disconnected. */
export interface NetworkEvent {
  readonly action: string;
  /** The engine's id. */
  readonly network: string;
  /** Null where the engine does not tell. */
  readonly driver: string | null;
}

export interface EngineEventHandlers {
  /** The events are followed from now on; what happened before is unknown. */
  readonly onFollowed: () => void;
  readonly onNetwork: (event: NetworkEvent) => void;
  /** Something happened to a container: its full id. */
  readonly onContainer: (container: string, action: string) => void;
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
  const { type, container } = isJsonObject(actor.Attributes) ? actor.Attributes : {};
  const [action, id] = [String(event.Action), actor.ID];
  if (typeof id !== "string") return;
  if (event.Type === "network") {
    onNetwork({ action, network: id, driver: typeof type === "string" ? type : null });
    if (typeof container === "string") onContainer(container, action);
  } else if (CONTAINER_ACTIONS.has(action)) onContainer(id, action);
}
