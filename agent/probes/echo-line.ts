/** Echo requests in flight: which answer belongs to which request, and which request stays without one. */

import { NetlinkError } from "../../backends/netlink/errors.ts";
import type { EchoEvent, EchoPort, Egress } from "../../backends/probe/echo-port.ts";
import type { TunnelReport } from "../../backends/probe/network-report.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import type { Outcome } from "./probe.ts";

/** Longest time to wait for an answer. */
export const PATIENCE_MS = 1_000;
/** What comes later than this is not recognized any more. */
const LATEST_MS = 10_000;
/** Packets read at one wake-up: a flood must not hold the event loop. */
const MOST_READ = 64;
const SEQUENCES = 0x10000;

/** What the network reported of a tunnel packet. */
export type TunnelNotice = TunnelReport & { readonly from: Address };

/** What arrives without having been asked for. */
export interface EchoListener {
  notice(notice: TunnelNotice): void;
  /** An agent of another host probes this one from this address. */
  heard(from: Address): void;
}

export const DEAF: EchoListener = { notice: () => undefined, heard: () => undefined };

interface Pending {
  readonly target: Address;
  readonly sentMs: number;
  readonly settle: (outcome: Outcome) => void;
  readonly onLate: (roundTripMs: number) => void;
}

export interface EchoOptions {
  readonly egress?: Egress | null;
  /** Called when the answer arrives after `settle` was called for silence. */
  readonly onLate?: (roundTripMs: number) => void;
}

type EventOfRequest = Extract<EchoEvent, { readonly sequence: number }>;

export class EchoLine {
  readonly #port: EchoPort;
  readonly #now: () => number;
  /** By sequence, in the order of sending. */
  readonly #pending = new Map<number, Pending>();
  /** Those that were given up, the same way. */
  readonly #expired = new Map<number, Pending>();
  readonly #listener: EchoListener;
  #sequence: number;
  /** More arrives than is read at once: the rest waits for the next expire(). */
  #isFlooded = false;

  /** `now` is monotonic, in milliseconds. `first` is the first sequence number: hard to guess, so that no program answers ahead. */
  constructor(port: EchoPort, now: () => number, first: number, listener = DEAF) {
    this.#port = port;
    this.#listener = listener;
    this.#now = now;
    this.#sequence = first % SEQUENCES;
  }

  /** Sends a request of `packetBytes`. `settle` is called once, maybe before this returns. */
  send(
    target: Address,
    packetBytes: number,
    settle: (outcome: Outcome) => void,
    { egress = null, onLate = () => undefined }: EchoOptions = {},
  ): void {
    this.#sequence = (this.#sequence + 1) % SEQUENCES;
    const sequence = this.#sequence;
    // Many seconds later than anything waits for: the number of the one before is free.
    this.#pending.get(sequence)?.settle({ type: "silent" });
    this.#pending.set(sequence, { target, sentMs: this.#now(), settle, onLate });
    try {
      this.#port.send(target, sequence, packetBytes, egress);
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      this.#settle(sequence, { type: "error", text: error.errnoName });
    }
  }

  /** When expire() is to be called next, monotonic; in the past where more has arrived than is read at once, infinity for never. */
  get expiryMs(): number {
    if (this.#isFlooded) return Number.NEGATIVE_INFINITY;
    const [oldest] = this.#pending.values();
    return oldest === undefined ? Number.POSITIVE_INFINITY : oldest.sentMs + PATIENCE_MS;
  }

  /** Takes what arrives from now on. In a flood it reads only when expire() is called. */
  listen(): void {
    this.#isFlooded = false;
    this.#port.onReadable(() => this.receive());
  }

  /** Takes what has arrived, up to a limit. */
  receive(): void {
    if (this.#take(MOST_READ)) return;
    this.#isFlooded = true;
    this.#port.pause();
  }

  /**
   * Gives up those that have waited long enough, after taking what arrived for them: after a pause of the event loop timers
   * are due before sockets are read.
   */
  expire(): void {
    if (this.#isFlooded && this.#take(MOST_READ)) this.listen();
    const limitMs = this.#now() - PATIENCE_MS;
    const [oldest] = this.#pending.values();
    if (oldest === undefined || oldest.sentMs > limitMs) return;
    this.#take(MOST_READ + 2 * this.#pending.size);
    this.#forget();
    for (const [sequence, pending] of this.#pending) {
      if (pending.sentMs > limitMs) return;
      this.#expired.set(sequence, pending);
      this.#settle(sequence, { type: "silent" });
    }
  }

  #forget(): void {
    const limitMs = this.#now() - LATEST_MS;
    for (const [sequence, { sentMs }] of this.#expired) {
      if (sentMs > limitMs) return;
      this.#expired.delete(sequence);
    }
  }

  /** False when there may be more. */
  #take(most: number): boolean {
    for (let count = 0; count < most; count++) {
      const event = this.#next();
      if (event === null) return true;
      if (event.type === "tunnel report") this.#listener.notice(event);
      else if (event.type === "request") this.#listener.heard(event.from);
      else this.#note(event);
    }
    return false;
  }

  #note(event: EventOfRequest): void {
    const pending = this.#pending.get(event.sequence);
    // A reply from another address than was asked answers nothing.
    const about = event.type === "reply" ? event.from : event.target;
    if (pending === undefined && event.type === "reply" && !event.isDamaged)
      this.#noteLate(event.sequence, about);
    if (pending === undefined || !about.equals(pending.target)) return;
    this.#settle(event.sequence, this.#outcomeOf(event, pending));
  }

  #outcomeOf(event: EventOfRequest, { sentMs }: Pending): Outcome {
    if (event.type === "report")
      return { type: "error", text: `${event.text}, says ${event.from}`, from: event.from };
    return event.isDamaged ? { type: "damaged" } : { type: "answered", roundTripMs: this.#now() - sentMs };
  }

  #noteLate(sequence: number, from: Address): void {
    const expired = this.#expired.get(sequence);
    if (expired === undefined || !from.equals(expired.target)) return;
    this.#expired.delete(sequence);
    const roundTripMs = this.#now() - expired.sentMs;
    if (roundTripMs <= LATEST_MS) expired.onLate(roundTripMs);
  }

  #next(): EchoEvent | null {
    try {
      return this.#port.receive();
    } catch (error) {
      // An error that the kernel keeps for the socket, as of an interface that went down: it concerns no request.
      if (error instanceof NetlinkError) return null;
      throw error;
    }
  }

  #settle(sequence: number, outcome: Outcome): void {
    const pending = this.#pending.get(sequence);
    this.#pending.delete(sequence);
    pending?.settle(outcome);
  }
}
