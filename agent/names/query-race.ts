/**
 * One query to the host's resolvers: the next one is asked when one fails, or as well when one is silent. The first good
 * answer ends it.
 */

import { RCODE, rcodeOf } from "./message.ts";
import type { Upstream } from "./resolv-conf.ts";
import type { SilentServers } from "./silent-servers.ts";

/** How often a question is asked at least, if no server answers: datagrams get lost. */
const MIN_ATTEMPTS = 3;

export interface RaceTimes {
  /** How long a server is waited for until another one is asked as well, or the same one again. */
  readonly stepMs: number;
  /** The same for a server that was silent of late, where another was not. */
  readonly suspectStepMs: number;
  readonly totalMs: number;
}

export interface QueryRaceOptions {
  /** In the order of resolv.conf; not empty. */
  readonly upstreams: readonly Upstream[];
  /** Sends the query to a server. Rejects when the server fails or `signal` fires. */
  readonly ask: (upstream: Upstream, signal: AbortSignal) => Promise<Buffer>;
  readonly times: RaceTimes;
  readonly silent: SilentServers;
}

export class QueryRace {
  readonly #options: QueryRaceOptions;
  readonly #attempts: Upstream[];
  readonly #failed = new Set<Upstream>();
  readonly #end = new AbortController();
  #settle: (answer: Buffer | null) => void = () => undefined;
  #badAnswer: Buffer | null = null;
  #open = 0;
  #step: NodeJS.Timeout | undefined;

  constructor(options: QueryRaceOptions) {
    this.#options = options;
    this.#attempts = attemptsOf(options.upstreams);
  }

  /** The first good answer; a bad one, such as SERVFAIL, when no other came; null when there is none. Call it once. */
  async run(): Promise<Buffer | null> {
    const total = setTimeout(() => this.#settle(this.#badAnswer), this.#options.times.totalMs);
    try {
      return await new Promise<Buffer | null>((resolve) => {
        this.#settle = resolve;
        this.#askNext();
      });
    } finally {
      clearTimeout(total);
      clearTimeout(this.#step);
      this.#end.abort();
    }
  }

  #askNext(): void {
    clearTimeout(this.#step);
    const upstream = this.#nextAttempt();
    if (upstream === undefined) {
      if (this.#open === 0) this.#settle(this.#badAnswer);
      return;
    }
    this.#open += 1;
    this.#waitFor(upstream);
    const { signal } = this.#end;
    this.#options.ask(upstream, signal).then(
      (answer) => this.#answered(upstream, answer),
      () => {
        this.#open -= 1;
        if (!signal.aborted) this.#fail(upstream);
      },
    );
  }

  #nextAttempt(): Upstream | undefined {
    let upstream = this.#attempts.shift();
    while (upstream !== undefined && this.#failed.has(upstream)) upstream = this.#attempts.shift();
    return upstream;
  }

  /** Asks the next server as well when this one is silent, soon where it was silent before and a better one is left. */
  #waitFor(upstream: Upstream): void {
    const { times, silent } = this.#options;
    const isBetterLeft = this.#attempts.some((each) => !this.#failed.has(each) && !silent.has(each));
    const isBrief = isBetterLeft && silent.has(upstream);
    const silence = (): void => {
      if (!isBrief) silent.add(upstream);
      this.#askNext();
    };
    this.#step = setTimeout(silence, isBrief ? times.suspectStepMs : times.stepMs);
  }

  #answered(upstream: Upstream, answer: Buffer): void {
    this.#open -= 1;
    this.#options.silent.delete(upstream);
    if (isGood(answer)) {
      this.#settle(answer);
      return;
    }
    this.#badAnswer = answer;
    this.#fail(upstream);
  }

  #fail(upstream: Upstream): void {
    this.#failed.add(upstream);
    this.#askNext();
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
