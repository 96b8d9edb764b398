/** What is seen of the paths that are examined, and of those that are bad until the next examination. */

import type { Inspection } from "./local-facts.ts";
import type { ProbeTarget } from "./probe.ts";

export interface Look {
  readonly inspection: Inspection;
  /** Since the examination began, the peer has answered by its other family. */
  isPeerUp: boolean;
  /** The link answered for the peer itself. */
  isOnLink: boolean;
  /** Answers through the tunnel since its packets are watched. */
  taken: number;
}

export class Looks {
  readonly #inspect: (target: ProbeTarget) => Inspection;
  /** By the targets' ids. */
  readonly #looks = new Map<string, Look>();

  constructor(inspect: (target: ProbeTarget) => Inspection) {
    this.#inspect = inspect;
  }

  /** Begins one unless there is one. */
  begin(target: ProbeTarget): Look {
    const look = this.#looks.get(target.id) ?? {
      ...{ inspection: this.#inspect(target), isPeerUp: false, isOnLink: false, taken: 0 },
    };
    this.#looks.set(target.id, look);
    return look;
  }

  get(id: string): Look | undefined {
    return this.#looks.get(id);
  }

  end(id: string): void {
    this.#looks.get(id)?.inspection.end();
    this.#looks.delete(id);
  }

  /** An answer through the tunnel has reached this process. */
  noteTaken(id: string): void {
    const look = this.#looks.get(id);
    if (look !== undefined) look.taken += 1;
  }
}
