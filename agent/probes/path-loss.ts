/**
 * Packets that a path loses, and whether that is a cause of its own: echo requests and connections are counted apart,
 * because a firewall may limit pings alone. Pure.
 */

import { type Cause, causeOf } from "./causes.ts";
import { LossMeter } from "./loss-meter.ts";

/** Connections to try before loss is named: a firewall may limit pings alone. */
const LEAST_CONNECTIONS = 12;
/** Connections that get through where pings are lost lose less than this part of what those do. */
const FAR_LESS = 1 / 4;
/** Chance of that if both were lost alike, below which pings alone are limited; and where loss has been named. */
const UNLIKELY = { unnamed: 0.1, named: 1e-3 } as const;
/** Packets in a row without an answer that end a known loss: 80 percent give so many once in 7,000 times. */
const LEAST_SILENCE = 40;

export const LOSS = "packets-lost" satisfies Cause["code"];

export class PathLoss {
  readonly #pings = new LossMeter();
  readonly #connections = new LossMeter();
  /** Packets of all kinds through the tunnel since the last answer. */
  #silentPackets = 0;

  /** Share of the last pings that were lost, between 0 and 1; null before enough of them. */
  get share(): number | null {
    return this.#pings.share;
  }

  /** Pings were lost, too few to know a share of. */
  get isSuspect(): boolean {
    return this.#pings.isSuspect;
  }

  /** It may have ended. */
  get isPromising(): boolean {
    return this.#pings.isPromising;
  }

  /** More than one packet of a kind is missing: an examination needs more attempts. */
  get isLossy(): boolean {
    return this.#pings.lost > 1 || this.#connections.lost > 1;
  }

  /** Nothing has been answered for longer than loss explains. */
  get isOutage(): boolean {
    return this.#silentPackets >= LEAST_SILENCE;
  }

  /** Takes the outcome of any packet through the tunnel. */
  notePacket(isLost: boolean): void {
    this.#silentPackets = isLost ? this.#silentPackets + 1 : 0;
  }

  notePing(isLost: boolean): void {
    this.#pings.note(isLost);
  }

  noteConnection(isLost: boolean): void {
    this.#connections.note(isLost);
  }

  /** Begins again after a loss that has ended. */
  endIfOver(): void {
    if (this.#pings.hasEnded) this.#pings.end();
  }

  /** Forgets all: what was lost has had another reason. */
  clear(): void {
    this.#pings.clear();
    this.#connections.clear();
  }

  /**
   * The loss as a cause; null where it is too small, or of pings alone. `isNamed` tells whether it is the path's cause
   * already, `hasConnected` whether a connection was ever answered.
   */
  cause(isNamed: boolean, hasConnected: boolean): Cause | null {
    const { isBad, isStillBad, lost, packets } = this.#pings;
    if (!(isNamed ? isStillBad : isBad)) return null;
    if (hasConnected && this.#isOfPingsAlone(isNamed)) return null;
    return causeOf(LOSS, `answers, but ${lost} of the last ${packets} packets were lost`);
  }

  /** A firewall that limits pings takes no connection. Before enough connections were tried that may be so. */
  #isOfPingsAlone(isNamed: boolean): boolean {
    const { packets, lost } = this.#connections;
    const share = this.#pings.share ?? 0;
    if (lost > packets * share * FAR_LESS) return false;
    const chance = (1 - share) ** packets;
    return isNamed ? chance < UNLIKELY.named : packets < LEAST_CONNECTIONS || chance < UNLIKELY.unnamed;
  }
}
