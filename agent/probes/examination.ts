/**
 * Finds out what is wrong with one target: which packets are answered and which are not. Pure.
 *
 * All kinds of probes first, then again those without an answer, so that one lost packet proves nothing. Where some are
 * answered, small packets go along with each attempt of the others: loss takes both alike, a fault the others alone. If
 * only large packets stay without an answer, a search for the largest that passes; if only TCP does, a segment whose
 * checksum no network card computes.
 */

import type { Family } from "../../ipam/addresses/ip.ts";
import { type Evidence, isAnswered, type Outcome, type Probe } from "./probe.ts";
import { SizeSearch } from "./size-search.ts";

type Kind = "small" | "full" | "outer" | "tcp" | "syn";

/** Those that every examination sends. */
const KINDS = ["small", "full", "outer", "tcp"] as const satisfies readonly Kind[];
/** Attempts of each kind where nothing inside is answered, and where loss is known. */
const ATTEMPTS = 2;
const LOSSY_ATTEMPTS = 4;
/**
 * Pairs of packets, one of each kind, of which all of the one kind stay unanswered, and none or few of the other. With a
 * loss of any share that takes both alike, the chance of either is below 1 in 10,000 (0.25^7, and less for the other).
 */
const PAIRS = 7;
const LOSSY_PAIRS = 12;
const MOST_LOST = 2;
/** The same for TCP with either checksum, after those. */
const SYN_PAIRS = 4;
/** Attempts follow each other at this distance, without waiting for the last of the answers. */
export const WAVE_MS = 300;

export interface ExaminationOptions {
  /** Of each kind of probe while nothing inside is answered. */
  readonly attempts?: number;
  /** Packets of this path were lost before. */
  readonly isLossy?: boolean;
}

export class Examination {
  readonly #family: Family;
  readonly #mtuBytes: number;
  readonly #least: number;
  readonly #isLossy: boolean;
  readonly #outcomes = new Map<Kind, Outcome>();
  readonly #attempts = new Map<Kind, number>();
  #queue: readonly Kind[] = [];
  #unsettled = 0;
  #waveMs = Number.NEGATIVE_INFINITY;
  #waves = 0;
  /** Probes without an answer. */
  readonly #unanswered = new Map<Kind, number>();
  #search: SizeSearch | null = null;

  constructor(
    family: Family,
    mtuBytes: number,
    { attempts = ATTEMPTS, isLossy = false }: ExaminationOptions = {},
  ) {
    this.#least = isLossy ? LOSSY_ATTEMPTS : attempts;
    this.#isLossy = isLossy;
    this.#family = family;
    this.#mtuBytes = mtuBytes;
  }

  /** The probe to send next; null while answers are awaited, and when nothing is left to find out. `nowMs` is monotonic. */
  next(nowMs: number): Probe | null {
    const isDue = this.#unsettled === 0 || nowMs - this.#waveMs >= WAVE_MS;
    if (this.#queue.length === 0 && isDue) {
      // Each kind is first as often as last: what limits packets takes the last ones.
      this.#queue = this.#waves % 2 === 0 ? this.#wave() : this.#wave().toReversed();
      this.#waves += 1;
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
    const { kind } = probe;
    if (!isAnswered(outcome)) this.#unanswered.set(kind, (this.#unanswered.get(kind) ?? 0) + 1);
    // One answer shows that a kind passes. Of segments with a checksum of their own, all are to be answered.
    const before = this.#outcomes.get(kind);
    const isAnswerKnown = before !== undefined && isAnswered(before) === (kind !== "syn");
    // What a router reports tells more than silence; it sends a few reports a second (icmp(7), icmp_ratelimit).
    const isTold = before?.type === "error" || before?.type === "damaged";
    const isFinal = isAnswerKnown || (isTold && outcome.type === "silent");
    if (!isFinal) this.#outcomes.set(kind, outcome);
  }

  /** Null before every kind of probe has had its attempts. It may get more exact later: see isComplete. */
  get evidence(): Evidence | null {
    const [small, full, outer, tcp] = KINDS.map((kind) => this.#outcomes.get(kind));
    if (!this.#isSettled || small === undefined || full === undefined) return null;
    if (outer === undefined || tcp === undefined) return null;
    const syn = this.#outcomes.get("syn") ?? null;
    const isLossy = this.#lost > MOST_LOST;
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
    const open = KINDS.filter((kind) => this.#attemptsOf(kind) < this.#limitOf(kind));
    if (open.length === 0) return this.#synWave();
    if (!this.#isInnerAnswered || !open.some(isPaired)) return open;
    const other = this.#isAnswered("small") ? "small" : "full";
    return open.includes(other) ? open : [other, ...open];
  }

  /** The kernel's segments have had all their attempts; those in flight may still be answered. */
  #synWave(): readonly Kind[] {
    const isTcpLost = this.#isAnswered("full") && !this.#isAnswered("tcp") && this.#lost <= MOST_LOST;
    const isOpen = isTcpLost && this.#attemptsOf("syn") < SYN_PAIRS && !this.#unanswered.has("syn");
    return this.#unsettled === 0 && isOpen ? ["tcp", "syn"] : [];
  }

  #attemptsOf(kind: Kind): number {
    return this.#attempts.get(kind) ?? 0;
  }

  #limitOf(kind: Kind): number {
    if (this.#isAnswered(kind)) return 0;
    if (!this.#isInnerAnswered || !isPaired(kind) || this.#lost > MOST_LOST) return this.#least;
    return this.#isLossy || this.#lost > 0 ? LOSSY_PAIRS : PAIRS;
  }

  /** Packets without an answer, of the kinds that were answered another time. */
  get #lost(): number {
    const answered = KINDS.filter((kind) => kind !== "outer" && this.#isAnswered(kind));
    return answered.reduce((sum, kind) => sum + (this.#unanswered.get(kind) ?? 0), 0);
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

/** Those that a fault may take alone. */
function isPaired(kind: Kind): boolean {
  return kind === "full" || kind === "tcp";
}
