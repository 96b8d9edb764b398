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
import { encodeError, forClient, type Query, RCODE, rcodeOf, type Transport } from "./message.ts";
import type { Upstream } from "./resolv-conf.ts";

export interface ForwarderTimes {
  /** How long a server is waited for until another one is asked as well, or the same one again. */
  readonly stepMs: number;
  /** The same for a server that was silent of late, where another was not. */
  readonly suspectStepMs: number;
  readonly totalMs: number;
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

/** How often a question is asked at least, if no server answers: datagrams get lost. */
const MIN_ATTEMPTS = 3;

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
  readonly #suspectUntilMs = new Map<string, number>();
  #open = 0;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#times = options.times ?? TIMES;
    this.#limits = options.limits ?? LIMITS;
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
      const answer = await this.#askAll(query, transport, upstreams);
      return answer === null ? encodeError(query, RCODE.serverFailure) : forClient(answer, query);
    } finally {
      this.#open -= 1;
      const left = (this.#openByClient.get(client) ?? 1) - 1;
      if (left === 0) this.#openByClient.delete(client);
      else this.#openByClient.set(client, left);
    }
  }

  /** The first good answer; a bad one, such as SERVFAIL, when no other came; null when there is none. */
  #askAll(query: Query, transport: Transport, upstreams: readonly Upstream[]): Promise<Buffer | null> {
    const end = new AbortController();
    return new Promise<Buffer | null>((resolve) => {
      const attempts = attemptsOf(upstreams);
      const failed = new Set<Upstream>();
      let badAnswer: Buffer | null = null;
      let timer: NodeJS.Timeout | undefined;
      let open = 0;
      const finish = (answer: Buffer | null): void => {
        clearTimeout(timer);
        clearTimeout(total);
        resolve(answer);
      };
      const total = setTimeout(() => finish(badAnswer), this.#times.totalMs);
      const askNext = (): void => {
        clearTimeout(timer);
        let upstream = attempts.shift();
        while (upstream !== undefined && failed.has(upstream)) upstream = attempts.shift();
        if (upstream === undefined) {
          if (open === 0) finish(badAnswer);
          return;
        }
        const asked = upstream;
        open += 1;
        const isBetterLeft = attempts.some((each) => !failed.has(each) && !this.#isSuspect(each));
        const isBrief = isBetterLeft && this.#isSuspect(asked);
        timer = setTimeout(
          () => {
            if (!isBrief) this.#suspect(asked);
            askNext();
          },
          isBrief ? this.#times.suspectStepMs : this.#times.stepMs,
        );
        const fail = (): void => {
          failed.add(asked);
          askNext();
        };
        EXCHANGES[transport](query, asked, end.signal).then(
          (answer) => {
            open -= 1;
            this.#suspectUntilMs.delete(asked.host);
            if (isGood(answer)) return finish(answer);
            badAnswer = answer;
            fail();
          },
          () => {
            open -= 1;
            if (!end.signal.aborted) fail();
          },
        );
      };
      askNext();
    }).finally(() => end.abort());
  }

  #isSuspect({ host }: Upstream): boolean {
    const untilMs = this.#suspectUntilMs.get(host);
    return untilMs !== undefined && untilMs > this.#options.clock.monotonicMs();
  }

  #suspect({ host }: Upstream): void {
    const nowMs = this.#options.clock.monotonicMs();
    // Bounded by what resolv.conf ever named; those of long ago go.
    for (const [each, untilMs] of this.#suspectUntilMs)
      if (untilMs <= nowMs) this.#suspectUntilMs.delete(each);
    this.#suspectUntilMs.set(host, nowMs + this.#times.suspectMs);
  }
}

/** Each server once, and again from the first on until there are enough attempts. */
function attemptsOf(upstreams: readonly Upstream[]): Upstream[] {
  const rounds = Math.ceil(MIN_ATTEMPTS / upstreams.length);
  return Array.from({ length: rounds }, () => upstreams).flat();
}

/** Another server may do better than one that answers so. */
function isGood(answer: Buffer): boolean {
  const rcode = rcodeOf(answer);
  return rcode !== RCODE.serverFailure && rcode !== RCODE.refused && rcode !== RCODE.notImplemented;
}
