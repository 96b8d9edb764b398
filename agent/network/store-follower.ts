/**
 * Follows the store: hands its messages to the peer table and to our lease, and lets vanished peers go in time.
 *
 * Messages are taken in batches: all that arrived while the last batch was processed. Of the network configurations in
 * a batch only the newest is read, and other work of the process gets its turn between two batches.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, isLate, Sleep } from "../../ipam/clock.ts";
import type { OwnLease } from "../../ipam/leases/own-lease.ts";
import type { PeerTable } from "../../ipam/leases/peer-table.ts";
import type { StoreMessage } from "../../ipam/stores/contracts.ts";
import type { AgentMetrics } from "../report/agent-metrics.ts";

export interface StoreFollowerOptions {
  readonly clock: Clock;
  readonly metrics: Pick<AgentMetrics, "noteMessage">;
  readonly peers: PeerTable;
  readonly lease: Pick<OwnLease, "observe" | "troubleMs">;
  /** Called after each batch, and when peers were removed. */
  readonly onChange: () => void;
  /** Called after a batch that named a network configuration. */
  readonly onConfig: () => void;
}

export class StoreFollower {
  readonly #options: StoreFollowerOptions;
  readonly #untilMessage: Sleep;
  readonly #untilExpiry: Sleep;
  #queue: StoreMessage[] = [];
  #isEnded = false;

  constructor(options: StoreFollowerOptions) {
    this.#options = options;
    this.#untilMessage = new Sleep(options.clock);
    this.#untilExpiry = new Sleep(options.clock);
  }

  /** Runs until `signal` fires or the messages end. Rejects with their error. */
  async run(messages: AsyncIterator<StoreMessage>, signal: AbortSignal): Promise<void> {
    await Promise.all([this.#receive(messages, signal), this.#process(signal), this.#expire(signal)]);
  }

  /** Tells the peer table whether the store can be followed: while it cannot, no peer is removed. */
  noteStore(isFollowed: boolean): void {
    this.#options.peers.noteStore(isFollowed, this.#options.clock.monotonicMs());
    this.#untilExpiry.wake();
  }

  async #receive(messages: AsyncIterator<StoreMessage>, signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        const { value: message, done } = await messages.next();
        if (done) return;
        this.#options.metrics.noteMessage(message);
        this.#queue.push(message);
        this.#untilMessage.wake();
      }
    } finally {
      this.#isEnded = true;
      this.#untilMessage.wake();
    }
  }

  async #process(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#queue.length === 0) {
        if (this.#isEnded) return;
        await this.#untilMessage.for(Number.POSITIVE_INFINITY, signal);
        continue;
      }
      this.#processBatch();
      await nextTurn();
    }
  }

  /** A function of its own: the one that waits would keep the last batch, which may be the whole network. */
  #processBatch(): void {
    const { peers, lease, clock, onChange, onConfig } = this.#options;
    const batch = withNewestConfig(this.#queue);
    this.#queue = [];
    for (const message of batch) {
      peers.suspectStore(lease.troubleMs);
      peers.apply(message, clock.monotonicMs());
      lease.observe(message);
    }
    if (Number.isFinite(peers.nextDeadlineMs)) this.#untilExpiry.wake();
    onChange();
    if (batch.some(namesConfig)) onConfig();
  }

  async #expire(signal: AbortSignal): Promise<void> {
    const { peers, lease, clock, onChange } = this.#options;
    while (!signal.aborted) {
      const dueMs = peers.nextDeadlineMs;
      await this.#untilExpiry.for(dueMs - clock.monotonicMs(), signal);
      const nowMs = clock.monotonicMs();
      // This process was stopped: leases that were put back meanwhile are read before a peer is removed.
      if (isLate(dueMs, nowMs)) peers.suspectStore(nowMs);
      // While this host cannot write its lost lease again, the hosts of vanished peers may be as unable to.
      peers.suspectStore(lease.troubleMs);
      if (peers.expire(clock.monotonicMs())) onChange();
    }
  }
}

/** The messages in their order, without configurations that a later message replaces. */
export function withNewestConfig(messages: readonly StoreMessage[]): readonly StoreMessage[] {
  const newest = messages.findLastIndex(namesConfig);
  return messages.map((message, index) => {
    if (message.type === "list") return message;
    const last = index < newest ? -1 : message.changes.findLastIndex(({ type }) => type === "config");
    const changes = message.changes.filter(({ type }, at) => type !== "config" || at === last);
    return changes.length === message.changes.length ? message : { ...message, changes };
  });
}

function namesConfig(message: StoreMessage): boolean {
  return message.type === "list" || message.changes.some(({ type }) => type === "config");
}
