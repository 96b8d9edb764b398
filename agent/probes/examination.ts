/**
 * Finds out what is wrong with one target: which packets are answered and which are not. Pure.
 *
 * All kinds of probes first, then once more those without an answer, so that one lost packet proves nothing. Where some are
 * answered, the others get more attempts, and small packets go along with large ones to tell a limit of size from loss. If
 * only large packets stay without an answer, a search for the largest that passes; if only TCP does, a segment whose
 * checksum no network card computes.
 */

import type { Family } from "../../ipam/addresses/ip.ts";
import { type Evidence, isAnswered, type Outcome, type Probe } from "./probe.ts";
import { SizeSearch } from "./size-search.ts";

type Kind = "small" | "full" | "outer" | "tcp" | "syn";

/** Those that every examination sends. */
const KINDS = ["small", "full", "outer", "tcp"] as const satisfies readonly Kind[];
/** Where nothing inside is answered, and where something is. */
const ATTEMPTS = 2;
const MOST_ATTEMPTS = 3;
/** Attempts follow each other at this distance, without waiting for the last of the answers. */
const WAVE_MS = 300;
/** Small packets that may be lost while large ones are tried, for the size to be the reason. */
const MOST_LOST = 0;

export class Examination {
  readonly #family: Family;
  readonly #mtuBytes: number;
  readonly #outcomes = new Map<Kind, Outcome>();
  readonly #attempts = new Map<Kind, number>();
  #queue: readonly Kind[] = [];
  #unsettled = 0;
  #waveMs = Number.NEGATIVE_INFINITY;
  /** Small packets without an answer. */
  #lost = 0;
  #search: SizeSearch | null = null;

  constructor(family: Family, mtuBytes: number) {
    this.#family = family;
    this.#mtuBytes = mtuBytes;
  }

  /** The probe to send next; null while answers are awaited, and when nothing is left to find out. `nowMs` is monotonic. */
  next(nowMs: number): Probe | null {
    const isDue = this.#unsettled === 0 || nowMs - this.#waveMs >= WAVE_MS;
    if (this.#queue.length === 0 && isDue) {
      this.#queue = this.#wave();
      this.#waveMs = nowMs;
    }
    const [kind, ...rest] = this.#queue;
    if (kind === undefined) return this.#searched()?.next() ?? null;
    this.#queue = rest;
    this.#attempts.set(kind, (this.#attempts.get(kind) ?? 0) + 1);
    this.#unsettled += 1;
    return { kind };
  }

  /** What became of a probe that `next` gave. */
  note(probe: Probe, outcome: Outcome): void {
    if (probe.kind === "size") {
      this.#search?.note(probe.bytes, outcome);
      return;
    }
    this.#unsettled -= 1;
    if (probe.kind === "small" && !isAnswered(outcome)) this.#lost += 1;
    if (!this.#isAnswered(probe.kind)) this.#outcomes.set(probe.kind, outcome);
  }

  /** Null before every kind of probe has had its attempts. It may get more exact later: see isComplete. */
  get evidence(): Evidence | null {
    const [small, full, outer, tcp] = KINDS.map((kind) => this.#outcomes.get(kind));
    if (!this.#isSettled || small === undefined || full === undefined) return null;
    if (outer === undefined || tcp === undefined) return null;
    const syn = this.#outcomes.get("syn") ?? null;
    const isLossy = isAnswered(small) && this.#lost > MOST_LOST;
    return { small, full, outer, tcp, syn, isLossy, passesBytes: this.#search?.passesBytes ?? null };
  }

  /** Nothing is left to find out. */
  get isComplete(): boolean {
    return this.#isSettled && (this.#searched()?.isComplete ?? true);
  }

  get #isSettled(): boolean {
    return this.#unsettled === 0 && this.#queue.length === 0 && this.#wave().length === 0;
  }

  /** What the next attempt consists of; empty when all have been made. */
  #wave(): readonly Kind[] {
    const open = KINDS.filter((kind) => this.#mayRepeat(kind, this.#limitOf(kind)));
    if (open.length > 0) return open.includes("full") && !open.includes("small") ? ["small", ...open] : open;
    // The kernel's segments have had all their attempts; those in flight may still be answered.
    const isTcpLost = this.#unsettled === 0 && this.#isInnerAnswered && !this.#isAnswered("tcp");
    return isTcpLost && this.#mayRepeat("syn", ATTEMPTS) ? ["syn"] : [];
  }

  #limitOf(kind: Kind): number {
    return this.#isInnerAnswered && (kind === "full" || kind === "tcp") ? MOST_ATTEMPTS : ATTEMPTS;
  }

  #mayRepeat(kind: Kind, limit: number): boolean {
    return !this.#isAnswered(kind) && (this.#attempts.get(kind) ?? 0) < limit;
  }

  /** The search for what passes, begun when only large packets stayed without an answer. */
  #searched(): SizeSearch | null {
    const isWanted = this.#isSettled && this.#isAnswered("small") && !this.#isAnswered("full");
    if (isWanted) this.#search ??= new SizeSearch(this.#family, this.#mtuBytes);
    return this.#search;
  }

  get #isInnerAnswered(): boolean {
    return this.#isAnswered("small") || this.#isAnswered("full");
  }

  #isAnswered(kind: Kind): boolean {
    const outcome = this.#outcomes.get(kind);
    return outcome !== undefined && isAnswered(outcome);
  }
}
