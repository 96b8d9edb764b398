/** How many of the last packets through a tunnel were lost. Pure. */

/** Enough to tell a loss of some percent; at one packet in five seconds some minutes. */
const WINDOW = 40;
/** Below this many packets no share is known. */
const LEAST_PACKETS = 12;
/** Below this many lost ones, chance explains them. */
const LEAST_LOST = 4;
/** From this share on, users notice: TCP slows down to a part of its rate. */
const BAD_SHARE = 0.15;

export class LossMeter {
  #outcomes: boolean[] = [];

  note(isLost: boolean): void {
    this.#outcomes.push(isLost);
    if (this.#outcomes.length > WINDOW) this.#outcomes.shift();
  }

  /** Forgets all: what was lost has had another reason. */
  clear(): void {
    this.#outcomes = [];
  }

  get packets(): number {
    return this.#outcomes.length;
  }

  get lost(): number {
    return this.#outcomes.filter((isLost) => isLost).length;
  }

  /** Between 0 and 1; null before enough packets. */
  get share(): number | null {
    return this.packets < LEAST_PACKETS ? null : this.lost / this.packets;
  }

  get isBad(): boolean {
    return this.lost >= LEAST_LOST && (this.share ?? 0) >= BAD_SHARE;
  }

  /** Packets were lost, too few to know a share of. */
  get isSuspect(): boolean {
    return this.lost > 0 && this.share === null;
  }
}
