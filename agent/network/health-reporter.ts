/** Reports a network's broken paths to all hosts, as long as the network is joined and its paths are probed. */

import type { LeaseKey } from "../../ipam/leases/lease.ts";
import { errorFields, type Logger } from "../../ipam/log.ts";
import type { Records } from "../../ipam/stores/contracts.ts";
import { HealthWriter } from "../health-records/health-writer.ts";
import type { BadPath } from "../health-records/record.ts";
import type { PathHealth } from "../probes/prober.ts";
import type { Runtime } from "./runtime.ts";

interface HealthReporterOptions {
  readonly runtime: Pick<Runtime, "clock" | "logger">;
  readonly records: Records;
  readonly nodeId: () => string;
  readonly peers: () => Iterable<LeaseKey>;
  readonly health: (peer: LeaseKey) => PathHealth;
}

/** A stop waits no longer for the store. */
const WITHDRAWAL_MS = 1_000;

export class HealthReporter {
  readonly #writer: HealthWriter;
  readonly #logger: Logger;

  /** Null where paths are not probed. */
  static of(
    prober: { health(peer: LeaseKey): PathHealth } | null,
    options: Omit<HealthReporterOptions, "health">,
  ): HealthReporter | null {
    if (prober === null) return null;
    return new HealthReporter({ ...options, health: (peer) => prober.health(peer) });
  }

  private constructor({ runtime, records, nodeId, peers, health }: HealthReporterOptions) {
    this.#logger = runtime.logger;
    this.#writer = new HealthWriter({
      ...{ ...runtime, records, nodeId },
      badPaths: () => badPathsOf(peers(), health),
    });
  }

  /** A path turned bad or good, or peers have changed. */
  changed(): void {
    this.#writer.changed();
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#writer.run(signal);
  }

  /** Call it once, after run() has ended. */
  async close(): Promise<void> {
    try {
      await this.#writer.withdraw(AbortSignal.timeout(WITHDRAWAL_MS));
    } catch (error) {
      this.#logger.warn("health record stays in the store until this host starts again", errorFields(error));
    }
  }
}

/** Sorted by peer. */
function badPathsOf(peers: Iterable<LeaseKey>, health: (peer: LeaseKey) => PathHealth): readonly BadPath[] {
  const bad = [...peers].flatMap((peer) => {
    const { cause } = health(peer);
    return cause === null ? [] : [{ peer, cause: cause.code, seen: cause.text }];
  });
  return bad.sort((a, b) => (a.peer < b.peer ? -1 : 1));
}
