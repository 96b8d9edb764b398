/** What an explanation consists of. Types, and the list that grows while the packet's way is followed. */

import { CAUSES, type CauseCode } from "../probes/causes.ts";

/** `doubt`: it depends on what is not known. `stop`: the packet goes no further. */
export type StepState = "ok" | "doubt" | "stop";

export interface Step {
  /** One word: what was looked up. */
  readonly subject: string;
  readonly text: string;
  readonly state: StepState;
}

/**
 * `delivered`: to this host or a container of it. `leaves`: to another host. `diverted`: it leaves, but not by the way that
 * tulled made. `dropped`: here, or where this host knows of. `unknown`: what happens is not known.
 */
export type Outcome = "delivered" | "leaves" | "diverted" | "dropped" | "unknown";

export interface Ending {
  readonly outcome: Outcome;
  /** A sentence that begins with the packet. */
  readonly text: string;
  /** Of the catalogue of causes; null where none fits. */
  readonly cause: CauseCode | null;
  /** Null where nothing is to be done. */
  readonly remedy: string | null;
}

export interface Explanation {
  readonly steps: readonly Step[];
  readonly end: Ending;
  /** What may change the outcome, in the order in which the packet meets it; the end's text names it too. */
  readonly doubts: readonly string[];
}

/** Ends the way of the packet; caught where the explanation is put together. */
export class WayEnded extends Error {
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(ending.text);
    this.ending = ending;
  }
}

function remedyOf(cause: CauseCode | null): string | null {
  return cause === null ? null : CAUSES[cause];
}

export class Steps {
  readonly #steps: Step[] = [];
  readonly #doubts: string[] = [];

  get all(): readonly Step[] {
    return this.#steps;
  }

  /** What the outcome depends on, in the order in which the packet meets it. */
  get doubts(): readonly string[] {
    return this.#doubts;
  }

  ok(subject: string, text: string): void {
    this.#steps.push({ subject, text, state: "ok" });
  }

  /** `unless` names what may change the outcome; null where the step is only not known. */
  doubt(subject: string, text: string, unless: string | null = null): void {
    this.#steps.push({ subject, text, state: "doubt" });
    if (unless !== null) this.#doubts.push(unless);
  }

  /** Says why the packet goes no further, and ends its way. Without a remedy that of the cause is given. */
  stop(subject: string, text: string, why: { readonly cause?: CauseCode; readonly remedy?: string }): never {
    this.#steps.push({ subject, text, state: "stop" });
    const cause = why.cause ?? null;
    const remedy = why.remedy ?? remedyOf(cause);
    throw new WayEnded({ outcome: "dropped", text: `the packet is lost here: ${text}`, cause, remedy });
  }

  /** Says that the packet leaves, but not by the network's way, and ends it. Null: the cause's remedy. */
  divert(subject: string, text: string, remedy: string | null): never {
    this.#steps.push({ subject, text, state: "stop" });
    const cause = "path-diverted";
    throw new WayEnded({
      outcome: "diverted",
      text: `the packet does not take the network's way: ${text}`,
      cause,
      remedy: remedy ?? CAUSES[cause],
    });
  }

  end(outcome: "delivered" | "leaves" | "unknown", text: string, remedy: string | null = null): never {
    throw new WayEnded({ outcome, text, cause: null, remedy });
  }

  /** Ends the way of a packet that leaves, although it is known not to arrive. */
  endBadly(text: string, cause: CauseCode, remedy: string = CAUSES[cause]): never {
    throw new WayEnded({ outcome: "dropped", text, cause, remedy });
  }
}
