/** Reports each change of readiness, to the log, the metrics and once to the service manager. */

import type { Logger } from "../../ipam/log.ts";
import type { AgentMetrics } from "../report/agent-metrics.ts";
import { isReady, type Problem } from "./problems.ts";

export interface ReadinessOptions {
  readonly logger: Logger;
  readonly metrics: Pick<AgentMetrics, "setReady">;
  /** For the log. */
  readonly describe: () => Readonly<Record<string, unknown>>;
  /** Called once, when this host is ready for the first time. */
  readonly onReady: () => void;
}

export class Readiness {
  readonly #options: ReadinessOptions;
  /** Null before this host was ready for the first time. */
  #wasReady: boolean | null = null;

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  /** Takes the present problems. */
  update(problems: readonly Problem[]): void {
    const { logger, metrics, describe, onReady } = this.#options;
    const blocker = problems.find(({ isBlocking }) => isBlocking);
    const ready = isReady(problems);
    const before = this.#wasReady;
    metrics.setReady(ready);
    if (ready === before || (!ready && before === null)) return;
    this.#wasReady = ready;
    if (!ready) logger.warn("not ready", { problem: blocker?.text });
    else logger.info(before === null ? "ready" : "ready again", describe());
    if (before === null) onReady();
  }
}
