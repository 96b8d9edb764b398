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
  const onOpen = (): void => {
    backoff.reset();
    handlers.onFollowed();
  };
  let tried: Tried = { socket: null, retryMs: 0 };
  while (true) {
    const socket = await untilWorthTrying(engine, clock, tried, signal);
    if (socket === null) return;
    if (socket !== tried.socket) backoff.reset();
    try {
      for await (const event of engine.events(["network", "container"], signal, { onOpen }))
        dispatch(event, handlers);
    } catch (error) {
      logger.debug("events of the Docker Engine ended", { error });
    }
    tried = { socket, retryMs: backoff.nextMs() };
  }
}

interface Tried {
  /** As EngineClient.socketFile() names it. */
  readonly socket: string | null;
  readonly retryMs: number;
}

/**
 * Waits until there is a socket that was not tried, or the one that was tried may have a listener again. Looking at the
 * file costs nothing; a request without a socket would load the HTTP client on hosts that have no Docker. Null when the
 * signal fires.
 */
async function untilWorthTrying(
  engine: Pick<EngineClient, "socketFile">,
  clock: Clock,
  tried: Tried,
  signal: AbortSignal,
): Promise<string | null> {
  const startMs = clock.monotonicMs();
  while (!signal.aborted) {
    const socket = engine.socketFile();
    const waitedMs = clock.monotonicMs() - startMs;
    if (socket !== null && (socket !== tried.socket || waitedMs >= tried.retryMs)) return socket;
    const lookMs = waitedMs < RESTART_MS ? LOOK_MS : LATER_LOOK_MS;
    await pause(clock, lookMs, signal);
  }
  return null;
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
