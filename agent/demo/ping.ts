/**
 * Echo requests from inside a namespace, on this program's own sockets: no ping(8) is needed.
 *
 * Requests go out and replies come in on the event loop. What blocks the loop delays both, hence it must not be
 * blocked while figures are taken.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { EchoSocket } from "../../backends/probe/echo-socket.ts";
import { Address } from "../../ipam/addresses/ip.ts";
import { TulleError } from "../../ipam/errors.ts";
import type { Namespace } from "./namespace.ts";

export interface PingReport {
  /** Number of requests. */
  readonly sent: number;
  /** Sequence numbers of those without a reply. */
  readonly lost: readonly number[];
  /** Of the replies, in milliseconds. */
  readonly roundTripMs: readonly number[];
}

/** Requests that go out until they are stopped. */
export interface RunningPing {
  /** Stops, and waits for the last replies, at most a second. */
  stop(): Promise<PingReport>;
}

const PAYLOAD = Buffer.alloc(56, "tulle");
const LAST_REPLY_MS = 1000;
const POLL_MS = 5;

/** Sends `count` requests, one every `intervalMs`, and waits at most a second for the last reply. */
export async function ping(
  source: Namespace,
  target: string,
  count: number,
  intervalMs: number,
): Promise<PingReport> {
  const series = new PingSeries(source, target);
  try {
    for (let sent = 0; sent < count; sent++) {
      series.send();
      if (sent + 1 < count) await sleep(intervalMs);
    }
    return await series.finish();
  } finally {
    series.close();
  }
}

/** Starts sending one request every `intervalMs`. */
export function startPing(source: Namespace, target: string, intervalMs: number): RunningPing {
  const series = new PingSeries(source, target);
  const timer = setInterval(() => series.send(), intervalMs);
  return {
    stop: async () => {
      clearInterval(timer);
      try {
        return await series.finish();
      } finally {
        series.close();
      }
    },
  };
}

/** One socket's requests and which of them were answered. A request that cannot be sent counts as lost. */
class PingSeries {
  readonly #socket: EchoSocket;
  readonly #sentMs: number[] = [];
  readonly #roundTripMs = new Map<number, number>();

  constructor(source: Namespace, target: string) {
    const netns = NetnsHandle.open(source.path);
    try {
      this.#socket = EchoSocket.open({ target: Address.parse(target), netns, id: process.pid & 0xffff });
    } finally {
      netns.close();
    }
    this.#socket.onReadable(() => this.#receive());
  }

  send(): void {
    const sequence = this.#sentMs.push(performance.now()) & 0xffff;
    unlessNetworkFails(() => this.#socket.send(sequence, PAYLOAD));
  }

  async finish(): Promise<PingReport> {
    const endMs = performance.now() + LAST_REPLY_MS;
    const sent = this.#sentMs.length;
    // What was lost before stays lost: only the last request may still be on its way.
    while (!this.#roundTripMs.has(sent) && performance.now() < endMs) await sleep(POLL_MS);
    const all = Array.from({ length: sent }, (_, index) => index + 1);
    return {
      sent,
      lost: all.filter((sequence) => !this.#roundTripMs.has(sequence)),
      roundTripMs: [...this.#roundTripMs.values()],
    };
  }

  close(): void {
    this.#socket.close();
  }

  #receive(): void {
    const nowMs = performance.now();
    unlessNetworkFails(() => {
      for (let reply = this.#socket.receive(); reply !== null; reply = this.#socket.receive()) {
        const sentMs = this.#sentMs[reply.sequence - 1];
        if (sentMs !== undefined && !this.#roundTripMs.has(reply.sequence)) {
          this.#roundTripMs.set(reply.sequence, nowMs - sentMs);
        }
      }
    });
  }
}

/** While a route is missing, the kernel reports that instead of a loss; the reply that does not come tells it. */
function unlessNetworkFails(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
  }
}
