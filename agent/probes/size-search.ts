/** Searches the largest packet that a path carries, by halves. Pure. */

import type { Family } from "../../ipam/addresses/ip.ts";
import { isAnswered, type Outcome, type Probe } from "./probe.ts";

/** The search ends when the answer is known this well. */
const STEP_BYTES = 8;
/** What every path must carry: RFC 791 (68, of which hosts make use from 576 on), RFC 8200 section 5. */
const LEAST_BYTES = { 4: 576, 6: 1280 } as const;

export class SizeSearch {
  #passes: number | null = null;
  /** The least size that is known not to pass. */
  #fails: number;
  #floor: number;
  #isAwaiting = false;

  /** `mtuBytes` does not pass. */
  constructor(family: Family, mtuBytes: number) {
    this.#fails = mtuBytes;
    this.#floor = Math.min(LEAST_BYTES[family], mtuBytes - 1);
  }

  /** Null while an answer is awaited, and at the end. */
  next(): Probe | null {
    if (this.#isAwaiting || this.isComplete) return null;
    this.#isAwaiting = true;
    return { kind: "size", bytes: this.#candidate };
  }

  note(bytes: number, outcome: Outcome): void {
    this.#isAwaiting = false;
    if (isAnswered(outcome)) this.#passes = bytes;
    else if (this.#passes === null) this.#fails = this.#floor = bytes;
    else this.#fails = bytes;
  }

  /** Null while nothing passed. */
  get passesBytes(): number | null {
    return this.#passes;
  }

  get isComplete(): boolean {
    if (this.#passes === null) return this.#fails <= this.#floor;
    return this.#fails - this.#passes <= STEP_BYTES;
  }

  /** The least size first: if that does not pass, no search is worth its packets. */
  get #candidate(): number {
    return this.#passes === null ? this.#floor : Math.floor((this.#passes + this.#fails) / 2);
  }
}
