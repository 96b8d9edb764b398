/**
 * Follows the engine's events: they only say what is to be read again. While dockerd does not run, this is the part that
 * looks for it, and wakes the others.
 */

import { Backoff, type Clock, pause } from "../../ipam/clock.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import type { DriverContext } from "./context.ts";
import type { EngineClient } from "./engine-client.ts";

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
/** Between two connections to one socket. */
const RETRY_MS = { baseMs: 250, maxMs: 5_000 };
/** Between two looks at the file of the socket: short while dockerd may be restarting. */
const LOOK_MS = 250;
const LATER_LOOK_MS = 1_000;
const RESTART_MS = 10_000;

export interface FollowerContext extends Pick<DriverContext, "clock" | "logger"> {
  readonly engine: Pick<EngineClient, "events" | "socketFile">;
}

/** Follows until `signal` fires, whenever dockerd runs. */
export async function followEngine(
  { engine, clock, logger }: FollowerContext,
  random: () => number,
  handlers: EngineEventHandlers,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff({ ...RETRY_MS, random });
  let tried: string | null = null;
  while (!signal.aborted) {
    const present = engine.socketFile();
    if (present !== tried) backoff.reset();
    tried = present;
    const onOpen = (): void => {
      backoff.reset();
      handlers.onFollowed();
    };
    try {
      for await (const event of engine.events(["network", "container"], signal, { onOpen }))
        dispatch(event, handlers);
    } catch (error) {
      logger.debug("events of the Docker Engine ended", { error });
    }
    await untilWorthTrying(engine, clock, { tried, retryMs: backoff.nextMs() }, signal);
  }
}

/** Waits until there is a socket that was not tried, or the one that was tried may have a listener again. */
async function untilWorthTrying(
  engine: Pick<EngineClient, "socketFile">,
  clock: Clock,
  { tried, retryMs }: { readonly tried: string | null; readonly retryMs: number },
  signal: AbortSignal,
): Promise<void> {
  const startMs = clock.monotonicMs();
  while (!signal.aborted) {
    const present = engine.socketFile();
    const waitedMs = clock.monotonicMs() - startMs;
    if (present !== null && (present !== tried || waitedMs >= retryMs)) return;
    const lookMs = waitedMs < RESTART_MS ? LOOK_MS : LATER_LOOK_MS;
    await pause(clock, lookMs, signal);
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
