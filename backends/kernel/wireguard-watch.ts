/**
 * Reports what other programs do to WireGuard devices: the kernel announces no change of a key, a port or a peer, because
 * the generic netlink family "wireguard" has no multicast group (drivers/net/wireguard/netlink.c). Every few seconds each
 * device is read, and listed as a whole.
 */

import { type Clock, Sleep } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import type { KernelObject } from "../state/kinds/registry.ts";
import type { KernelEvent } from "./port.ts";

/** Between two readings, so that drift is repaired within seconds. */
const INTERVAL_MS = 2_000;
/** Among thousands of peers a reading takes tens of milliseconds: readings take at most one part in this many of the time … */
const COST_SHARE = 100;
/** … as long as that leaves readings this often. */
const MAX_INTERVAL_MS = 10_000;

export interface WireguardWatchOptions {
  /** What is on a device; empty when it is gone or of another type. Throws NetlinkError. */
  readonly read: (device: string) => readonly KernelObject[];
  readonly clock: Clock;
  readonly onEvents: (events: readonly KernelEvent[]) => void;
}

export class WireguardWatch {
  readonly #options: WireguardWatchOptions;
  readonly #devices = new Set<string>();
  readonly #sleep: Sleep;
  readonly #abort = new AbortController();
  #isRunning = false;

  constructor(options: WireguardWatchOptions) {
    this.#options = options;
    this.#sleep = new Sleep(options.clock);
  }

  /** Reads the device from now on, until it is gone or of another type. Idempotent. */
  follow(device: string): void {
    this.#devices.add(device);
    if (!this.#isRunning && !this.#abort.signal.aborted) void this.#run();
  }

  /** Ends all readings. Idempotent. */
  close(): void {
    this.#abort.abort();
  }

  /** Runs while it follows a device. */
  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#abort;
    this.#isRunning = true;
    let pauseMs = INTERVAL_MS;
    while (this.#devices.size > 0) {
      await this.#sleep.for(pauseMs, signal);
      if (signal.aborted) return;
      const startMs = clock.monotonicMs();
      for (const device of this.#devices) this.#read(device);
      const costMs = clock.monotonicMs() - startMs;
      pauseMs = Math.min(MAX_INTERVAL_MS, Math.max(INTERVAL_MS, costMs * COST_SHARE));
    }
    this.#isRunning = false;
  }

  #read(device: string): void {
    const { read, onEvents } = this.#options;
    try {
      const objects = read(device);
      if (objects.length === 0) this.#devices.delete(device);
      else onEvents([{ type: "listing", device, kinds: ["wg-device", "wg-peer"], objects }]);
    } catch (error) {
      // The dump that this asks for fails with the reason, and is retried with back-off.
      onEvents([{ type: "resync", reason: `${device} cannot be read: ${errorMessage(error)}` }]);
    }
  }
}
