/** The page's link to the daemon: a token where one is needed, then the stream. */

import type { PageData, PageUpdate } from "../page-server/page-data.ts";

export interface ConnectionEvents {
  onAll(data: PageData): void;
  onUpdate(update: PageUpdate): void;
  onState(state: "connecting" | "live" | "lost" | "locked"): void;
  /** The daemon wants a token. */
  onDenied(): void;
}

const RETRY_MS = 3_000;

export class Connection {
  readonly #events: ConnectionEvents;

  constructor(events: ConnectionEvents) {
    this.#events = events;
  }

  /** Opens the stream, and keeps it open. */
  async open(): Promise<void> {
    this.#events.onState("connecting");
    const status = await fetch("/api/session").then(
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
      const response = await fetch("/api/session", { method: "POST", headers });
      if (response.status === 204) return null;
      return (await response.text()).trim();
    } catch {
      return "the daemon does not answer, or the token has characters that none has";
    }
  }

  #stream(): void {
    const stream = new EventSource("/api/stream");
    const take = (name: string, use: (data: unknown) => void): void =>
      stream.addEventListener(name, (event) => {
        this.#events.onState("live");
        use(JSON.parse((event as MessageEvent<string>).data));
      });
    take("all", (data) => this.#events.onAll(data as PageData));
    take("update", (data) => this.#events.onUpdate(data as PageUpdate));
    stream.addEventListener("error", () => {
      // The browser connects again on its own, unless the answer was an error.
      if (stream.readyState === EventSource.CLOSED) this.#retry();
      else this.#events.onState("lost");
    });
  }

  #retry(): void {
    this.#events.onState("lost");
    setTimeout(() => void this.open(), RETRY_MS);
  }
}

/** A list that is fetched when it is shown; null when it cannot be had now. */
export async function fetchList<T>(path: string): Promise<readonly T[] | null> {
  try {
    const response = await fetch(path);
    return response.ok ? ((await response.json()) as { list: readonly T[] }).list : null;
  } catch {
    return null;
  }
}
