/**
 * Takes this host from a former backend of its network to the present one without losing packets.
 *
 *   preparing   the present backend is made; the lease still asks for the former one, and names the present one too
 *   serving     the lease asks for the present one; hosts that have not followed are reached by the former one
 *   alone       no peer needs the former one any more, and nothing arrives by it: it goes
 *
 * What a lease asks for is in backends/mixed.ts. Level-triggered: each step looks at the facts of the moment.
 */

import { MixedBackend } from "../../backends/mixed.ts";
import { type Clock, pause } from "../../ipam/clock.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import type { Logger } from "../../ipam/log.ts";
import type { Attachment } from "./attachment.ts";

export interface ChangeOverOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly current: () => Attachment;
  readonly peers: () => Iterable<Lease>;
  /** Whether the present backend is in place on this host. */
  readonly isInPlace: () => boolean;
  /** Packets that have arrived by these devices, since an unknown moment; null where they cannot be read now. */
  readonly receivedPackets: (devices: readonly string[]) => number | null;
  /** Puts another attachment in force, made from the current one. */
  readonly turn: (change: (before: Attachment) => Attachment) => Promise<void>;
  /** Called when the former backends are gone. Never rejects. */
  readonly onAlone: () => Promise<void>;
}

const LOOK_MS = 250;

/** In this time peers learn from our lease what they need to receive by the present backend: a key, a hardware address. */
const PREPARE_MS = 2_000;

/**
 * A peer that follows sends by the former backend until it has acted on what we publish, which takes a busy or paused
 * host longer: so nothing may have arrived by it for this time.
 */
const LINGER_MS = 5_000;

/** What still arrives then is not traffic: keep-alives of WireGuard, or packets of a host that does not belong to us. */
const LINGER_MOST_MS = 60_000;

export class ChangeOver {
  readonly #options: ChangeOverOptions;

  constructor(options: ChangeOverOptions) {
    this.#options = options;
  }

  /** Runs until this host has its present backend alone, or `signal` fires. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { current, turn, logger, onAlone, isInPlace } = this.#options;
    const formers = current().backend.formerTypes;
    if (formers.length === 0) return;
    const { type } = current().backend;
    logger.info("the network changes its backend; former ones stay until no host needs them", {
      type,
      formers,
    });
    if (isPreparing(current())) {
      await this.#until(isInPlace, PREPARE_MS, signal);
      if (signal.aborted) return;
      await turn(serving);
      logger.info("peers are asked to use the present backend", { type });
    }
    await this.#until(this.#formerIsIdle(), LINGER_MS, signal);
    if (signal.aborted) return;
    await turn(alone);
    await onAlone();
    logger.info("no host needs a former backend any more", { type, formers });
  }

  /** A condition: that no peer needs the former backends, and nothing has arrived by them since the last look. */
  #formerIsIdle(): () => boolean {
    const { clock, current, peers, receivedPackets } = this.#options;
    let neededAtMs = clock.monotonicMs();
    let counted: number | null = null;
    return () => {
      const { backend } = current();
      const nowMs = clock.monotonicMs();
      const before = counted;
      counted = receivedPackets(backend.formerDevices);
      if (needsFormer(backend, peers())) neededAtMs = nowMs;
      if (neededAtMs === nowMs) return false;
      const isQuiet = counted !== null && counted === before;
      return isQuiet || nowMs - neededAtMs >= LINGER_MOST_MS;
    };
  }

  /** Waits until the condition has held for this long without a break. */
  async #until(isMet: () => boolean, lastingMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let sinceMs = clock.monotonicMs();
    while (!signal.aborted) {
      const nowMs = clock.monotonicMs();
      if (!isMet()) sinceMs = nowMs;
      else if (nowMs - sinceMs >= lastingMs) return;
      await pause(clock, LOOK_MS, signal);
    }
  }
}

/** Whether the lease still asks for a former backend. */
function isPreparing({ carriers, main }: Attachment): boolean {
  return main !== carriers[0].config;
}

function needsFormer(backend: MixedBackend, peers: Iterable<Lease>): boolean {
  for (const peer of peers) if (backend.formerTypeTo(peer) !== null) return true;
  return false;
}

/** With the present backend as the one that peers are asked for. The prepared backends stay the same objects. */
function serving(before: Attachment): Attachment {
  const [present, ...formers] = before.carriers;
  const backend = new MixedBackend(
    present.backend,
    formers.map((former) => former.backend),
    present.backend,
    before.backend.fallback,
  );
  return { ...before, backend, main: present.config };
}

/** With the present backend only. */
function alone(before: Attachment): Attachment {
  const [present] = before.carriers;
  return {
    ...before,
    backend: new MixedBackend(present.backend, [], present.backend, before.backend.fallback),
    carriers: [present],
    main: present.config,
  };
}
