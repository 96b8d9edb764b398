/**
 * Keeps the tunnel on an interface that has lost its address for a short time, as while a DHCP client restarts or a
 * cable is pulled: hosts need not reach each other by the interface that could take its place, and a virtual address that
 * is left on it may move to another host.
 */

import { entriesOf, type Family } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import { InterfaceError } from "../../ipam/errors.ts";
import type { ChosenInterface, ChosenInterfaces } from "./choose-interface.ts";
import type { HostAddress, HostSnapshot } from "./host-snapshot.ts";

/** A DHCP client sends again after 4, 8, 16 and 32 s (RFC 2131, 4.1); a port of a switch may forward after 30 s only. */
const GRACE_MS = 60_000;

export class InterfaceGrace {
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** Since when an interface is without its address; null while all have one. */
  #sinceMs: number | null = null;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Throws a retryable InterfaceError while the tunnel has to wait before it moves from `before` to `after`. */
  requireMove(before: ChosenInterfaces, after: ChosenInterfaces, host: HostSnapshot): void {
    const [loss] = entriesOf(after).flatMap(([family, next]) => lossOf(family, before[family], next, host));
    if (loss === undefined) {
      this.#sinceMs = null;
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    this.#sinceMs ??= nowMs;
    if (nowMs - this.#sinceMs < GRACE_MS) throw new InterfaceError(loss, { retryable: true });
  }
}

/** One sentence when a substitute was chosen for an address that may come back. */
function lossOf(
  family: Family,
  before: ChosenInterface | undefined,
  after: ChosenInterface,
  { links, addresses }: HostSnapshot,
): readonly string[] {
  if (before === undefined || !isSubstitute(before, after, addresses)) return [];
  const { index, name, masterIndex } = before.link;
  // One that became a port of a bridge gets none back.
  if (!links.some((one) => one.index === index && one.masterIndex === masterIndex)) return [];
  const next = after.link.index === index ? `${after.address}` : after.link.name;
  const seconds = GRACE_MS / 1000;
  return [
    `${name} has lost its IPv${family} address; without one for ${seconds} s, the tunnel moves to ${next}`,
  ];
}

/** Another interface, or a virtual address on the same one, which another host may take over. */
function isSubstitute(
  before: ChosenInterface,
  after: ChosenInterface,
  addresses: readonly HostAddress[],
): boolean {
  if (after.link.index !== before.link.index) return after.insteadOf !== null;
  if (after.hasNetwork || !before.hasNetwork) return false;
  return !addresses.some(({ address }) => address.equals(before.address));
}
