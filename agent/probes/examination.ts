/**
 * Finds out what is wrong with one target: which packets are answered and which are not. Pure.
 *
 * All kinds of probes first, then once more those without an answer, so that one lost packet proves nothing. If only
 * large packets stay without an answer, a search for the largest that passes.
 */

import type { Family } from "../../ipam/addresses/ip.ts";
import { type Evidence, isAnswered, type Outcome, type Probe } from "./probe.ts";
import { SizeSearch } from "./size-search.ts";

type Kind = "small" | "full" | "outer" | "tcp";

const KINDS: readonly Kind[] = ["small", "full", "outer", "tcp"];
const ATTEMPTS = 2;

export class Examination {
  readonly #family: Family;
  readonly #mtuBytes: number;
  readonly #outcomes = new Map<Kind, Outcome>();
  #unsent: readonly Kind[] = KINDS;
  #unsettled = KINDS.length;
  #attempt = 1;
  #search: SizeSearch | null = null;

  constructor(family: Family, mtuBytes: number) {
    this.#family = family;
    this.#mtuBytes = mtuBytes;
  }

  /** The probe to send next; null while answers are awaited, and when nothing is left to find out. */
  next(): Probe | null {
    const [kind, ...rest] = this.#unsent;
    if (kind === undefined) return this.#search?.next() ?? null;
    this.#unsent = rest;
    return { kind };
  }

  /** What became of a probe that `next` gave. */
  note(probe: Probe, outcome: Outcome): void {
    if (probe.kind === "size") {
      this.#search?.note(probe.bytes, outcome);
      return;
    }
    const former = this.#outcomes.get(probe.kind);
    if (former === undefined || !isAnswered(former)) this.#outcomes.set(probe.kind, outcome);
    this.#unsettled -= 1;
    if (this.#unsettled === 0) this.#endAttempt();
  }

  /** Null before every kind of probe has had its attempts. It may get more exact later: see isComplete. */
  get evidence(): Evidence | null {
    const [small, full, outer, tcp] = KINDS.map((kind) => this.#outcomes.get(kind));
    const isSettled = this.#unsettled === 0 && this.#unsent.length === 0;
    if (!isSettled || small === undefined || full === undefined) return null;
    if (outer === undefined || tcp === undefined) return null;
    return { small, full, outer, tcp, passesBytes: this.#search?.passesBytes ?? null };
  }

  /** Nothing is left to find out. */
  get isComplete(): boolean {
    return this.evidence !== null && (this.#search?.isComplete ?? true);
  }

  #endAttempt(): void {
    const open = KINDS.filter((kind) => !this.#isAnswered(kind));
    if (this.#attempt < ATTEMPTS && open.length > 0) {
      this.#attempt += 1;
      this.#unsent = open;
      this.#unsettled = open.length;
    } else if (this.#isAnswered("small") && !this.#isAnswered("full")) {
      this.#search = new SizeSearch(this.#family, this.#mtuBytes);
    }
  }

  #isAnswered(kind: Kind): boolean {
    const outcome = this.#outcomes.get(kind);
    return outcome !== undefined && isAnswered(outcome);
  }
}
