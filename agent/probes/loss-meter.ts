/**
 * How many of the last packets through a tunnel were lost. Pure.
 *
 * A path that was silent for a while and works again had an outage, which has other causes than loss: of packets lost one
 * after another only the first ones count, and none of an outage that is long enough to get a name of its own.
 */

/** Enough to tell a loss of some percent; at one packet in five seconds some minutes. */
const WINDOW = 40;
/** Below this many packets no share is known. */
const LEAST_PACKETS = 12;
/** With fewer lost ones, or fewer times that some were lost, chance or outages explain them. */
const LEAST_LOST = 4;
const LEAST_TIMES = 3;
/** Of those that are lost one after another. */
const MOST_COUNTED = 2;
/** So many lost one after another are an outage: a loss of 60 percent gives them once in 450 times. */
const OUTAGE_PACKETS = 12;
/** From this share on, users notice: TCP slows down to a part of its rate. */
const BAD_SHARE = 0.15;
/** Below this share a loss that was bad is so no longer: it must not come and go by chance. */
const TOLERABLE_SHARE = BAD_SHARE / 2;
/** Chance of so many answers in a row while the loss goes on, below which it has ended. */
const LEAST_CHANCE = 1e-4;
/** Answers in a row that make it worth looking more often. */
const PROMISING_RUN = 4;
/** Packets after such an end in which a new loss ends by the window alone: it may come and go. */
const WARY_PACKETS = 300;

/** Shared, because there are as many meters as peers. */
const NONE: readonly boolean[] = [];

export class LossMeter {
  #outcomes = NONE;
  /** Since the last answer. */
  #lostInRow = 0;
  #waryPackets = 0;

  note(isLost: boolean): void {
    this.#waryPackets = Math.max(0, this.#waryPackets - 1);
    this.#lostInRow = isLost ? this.#lostInRow + 1 : 0;
    if (this.#lostInRow === OUTAGE_PACKETS)
      this.#outcomes = this.#outcomes.slice(0, this.#outcomes.lastIndexOf(false) + 1);
    else if (this.#lostInRow <= MOST_COUNTED) this.#outcomes = [...this.#outcomes, isLost].slice(-WINDOW);
  }

  /** Forgets all: what was lost has had another reason. */
  clear(): void {
    this.#outcomes = NONE;
  }

  /** As many answers in a row as chance hardly gives while the loss goes on. The window alone takes a minute to show it. */
  get hasEnded(): boolean {
    const run = this.#run;
    const before = this.packets - run;
    return this.#waryPackets === 0 && before > 0 && (1 - this.lost / before) ** run < LEAST_CHANCE;
  }

  /** It may have ended. */
  get isPromising(): boolean {
    return this.#run >= PROMISING_RUN;
  }

  /** Begins again after a loss that has ended. */
  end(): void {
    this.clear();
    this.#waryPackets = WARY_PACKETS;
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
    const times = this.#outcomes.filter((isLost, index) => isLost && !this.#outcomes[index - 1]).length;
    return this.lost >= LEAST_LOST && times >= LEAST_TIMES && (this.share ?? 0) >= BAD_SHARE;
  }

  /** Of a loss that was bad. */
  get isStillBad(): boolean {
    return (this.share ?? 0) >= TOLERABLE_SHARE;
  }

  /** Answers since the last loss. */
  get #run(): number {
    return this.packets - 1 - this.#outcomes.lastIndexOf(true);
  }

  /** Packets were lost, too few to know a share of. */
  get isSuspect(): boolean {
    return this.lost > 0 && this.share === null;
  }
}
