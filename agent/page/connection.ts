/** The page's link to the daemon: a token where one is needed, then the stream. */

import type { PageData, PageUpdate } from "../page-server/page-data.ts";

export interface ConnectionEvents {
  onAll(data: PageData): void;
  onUpdate(update: PageUpdate): void;
  onState(state: "connecting" | "live" | "silent" | "lost" | "locked"): void;
  /** The daemon wants a token. */
  onDenied(): void;
}

const RETRY_MS = 3_000;
/** A daemon that hangs accepts connections and answers none. */
const ANSWER_WITHIN_MS = 10_000;
/** Three times what the daemon leaves between two events: a cable that is pulled ends no connection. */
const SILENT_MS = 15_000;
/** The first event of a large network takes its time on a slow line. */
const DEAD_MS = 60_000;
const LOOK_MS = 2_000;

export class Connection {
  readonly #events: ConnectionEvents;

  constructor(events: ConnectionEvents) {
    this.#events = events;
  }

  /** Opens the stream, and keeps it open. */
  async open(): Promise<void> {
    const status = await ask("/api/session").then(
      (response) => response.status,
      () => 0,
    );
    if (status === 401 || status === 429) return this.#events.onDenied();
    if (status === 204) return this.#stream();
    this.#retry();
  }

  /** Gives the token; answers what the daemon says of it, null when it is right. */
  async give(token: string): Promise<string | null> {
    try {
      const headers = { authorization: `Bearer ${token}` };
      const response = await ask("/api/session", { method: "POST", headers });
      if (response.status === 204) {
        this.#events.onState("connecting");
        return null;
      }
      return (await response.text()).trim();
    } catch {
      return "the daemon does not answer, or the token has characters that no token has";
    }
  }

  #stream(): void {
    const stream = new EventSource("/api/stream");
    let heardMs = performance.now();
    const end = (): void => {
      stream.close();
      clearInterval(watch);
      this.#retry();
    };
    const watch = setInterval(() => {
      const silentMs = performance.now() - heardMs;
      if (silentMs > DEAD_MS) end();
      else if (silentMs > SILENT_MS && stream.readyState === EventSource.OPEN) this.#events.onState("silent");
    }, LOOK_MS);
    const take = (name: string, use: (data: unknown) => void): void =>
      stream.addEventListener(name, (event) => {
        heardMs = performance.now();
        this.#events.onState("live");
        use(JSON.parse((event as MessageEvent<string>).data));
      });
    take("all", (data) => this.#events.onAll(data as PageData));
    take("update", (data) => this.#events.onUpdate(data as PageUpdate));
    stream.addEventListener("error", () => {
      // The browser connects again on its own, unless the answer was an error.
      if (stream.readyState === EventSource.CLOSED) end();
      else this.#events.onState("lost");
    });
  }

  #retry(): void {
    this.#events.onState("lost");
    setTimeout(() => void this.open(), RETRY_MS);
  }
}

function ask(path: string, options: RequestInit = {}): Promise<Response> {
  return fetch(path, { ...options, signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
}

/** A list that is fetched when it is shown; null when it cannot be had now. */
export async function fetchList<T>(path: string): Promise<readonly T[] | null> {
  try {
    const response = await ask(path);
    return response.ok ? ((await response.json()) as { list: readonly T[] }).list : null;
  } catch {
    return null;
  }
}
