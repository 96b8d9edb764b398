/**
 * Passes queries on to the host's resolvers.
 *
 * A server that fails is followed by the next one at once, one that is silent after a second, and what was asked still
 * counts. Everything is over before Docker's embedded DNS gives up on us, which it does after 4 s.
 *
 * The order is always that of resolv.conf, as the C library has it: often the first server alone knows the names of a
 * site. One that was silent to a question may be cut off, or just slow for that name, so that it is still asked first.
 */

import type { Clock } from "../../ipam/clock.ts";
import { EXCHANGES } from "./exchange.ts";
import { encodeError, forClient, type Query, RCODE, type Transport } from "./message.ts";
import { QueryRace, type RaceTimes } from "./query-race.ts";
import type { Upstream } from "./resolv-conf.ts";
import { SilentServers } from "./silent-servers.ts";

export interface ForwarderTimes extends RaceTimes {
  /** How long a server that was silent is waited for less. */
  readonly suspectMs: number;
}

const TIMES: ForwarderTimes = { stepMs: 1000, suspectStepMs: 100, totalMs: 3500, suspectMs: 30_000 };

export interface ForwarderLimits {
  /** Queries at the same time: each holds a socket and some kilobytes. */
  readonly total: number;
  /** Of one client, so that one container cannot keep the others from their answers. */
  readonly perClient: number;
}

const LIMITS: ForwarderLimits = { total: 512, perClient: 64 };

export interface ForwarderOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly upstreams: () => readonly Upstream[];
  readonly times?: ForwarderTimes;
  readonly limits?: ForwarderLimits;
}

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #times: ForwarderTimes;
  readonly #limits: ForwarderLimits;
  readonly #openByClient = new Map<string, number>();
  readonly #silent: SilentServers;
  #open = 0;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#times = options.times ?? TIMES;
    this.#limits = options.limits ?? LIMITS;
    this.#silent = new SilentServers(options.clock, this.#times.suspectMs);
  }

  /** Queries that wait for an answer. */
  get open(): number {
    return this.#open;
  }

  /**
   * A server's answer, by the transport that the client uses: who gets a truncated answer asks again by TCP. REFUSED
   * without a server or beyond the limits, and SERVFAIL where none answers: then Docker asks its next server.
   * Never rejects. `client` is who asks.
   */
  async ask(query: Query, transport: Transport, client: string): Promise<Buffer> {
    const ofClient = this.#openByClient.get(client) ?? 0;
    const upstreams = this.#options.upstreams();
    if (upstreams.length === 0 || this.#open >= this.#limits.total || ofClient >= this.#limits.perClient)
      return encodeError(query, RCODE.refused);
    this.#open += 1;
    this.#openByClient.set(client, ofClient + 1);
    try {
      const race = new QueryRace({
        upstreams,
        ask: (upstream, signal) => EXCHANGES[transport](query, upstream, signal),
        times: this.#times,
        silent: this.#silent,
      });
      const answer = await race.run();
      return answer === null ? encodeError(query, RCODE.serverFailure) : forClient(answer, query);
    } finally {
      this.#open -= 1;
      const left = (this.#openByClient.get(client) ?? 1) - 1;
      if (left === 0) this.#openByClient.delete(client);
      else this.#openByClient.set(client, left);
    }
  }
}
