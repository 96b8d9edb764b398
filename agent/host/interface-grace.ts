/**
 * Keeps the tunnel on an interface that has lost its address for a short time, as while a DHCP client restarts or a
 * cable is pulled: hosts need not reach each other by the interface that could take its place, and a virtual address that
 * is left on it may move to another host.
 */

import { entriesOf, type Family } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import { InterfaceError } from "../../ipam/errors.ts";
import type { ChosenInterface, ChosenInterfaces } from "./choose-interface.ts";
import type { Followed } from "./follow-interfaces.ts";
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

  /** Keeps a family whose tunnel has to wait before it moves where it is in `before`. */
  hold(before: ChosenInterfaces, followed: Followed, host: HostSnapshot): Followed {
    const losses = entriesOf(followed.chosen).flatMap(([family, next]) =>
      lossOf(family, before[family], next, host),
    );
    const [first] = losses;
    if (first === undefined) {
      this.#sinceMs = null;
      return followed;
    }
    const nowMs = this.#clock.monotonicMs();
    this.#sinceMs ??= nowMs;
    if (nowMs - this.#sinceMs >= GRACE_MS) return followed;
    const kept = Object.fromEntries(losses.map(({ family, stays }) => [family, stays]));
    const failure = followed.failure ?? new InterfaceError(first.text, { retryable: true });
    return { chosen: { ...followed.chosen, ...kept }, failure };
  }
}

interface Loss {
  readonly family: Family;
  readonly stays: ChosenInterface;
  /** One sentence. */
  readonly text: string;
}

/** One where a substitute was chosen for an address that may come back. */
function lossOf(
  family: Family,
  before: ChosenInterface | undefined,
  after: ChosenInterface,
  { links, addresses }: HostSnapshot,
): readonly Loss[] {
  if (before === undefined || !isSubstitute(before, after, addresses)) return [];
  const { index, name, masterIndex } = before.link;
  // One that became a port of a bridge gets none back.
  if (!links.some((one) => one.index === index && one.masterIndex === masterIndex)) return [];
  const next = after.link.index === index ? `${after.address}` : after.link.name;
  const seconds = GRACE_MS / 1000;
  const text = `${name} has lost its IPv${family} address; without one for ${seconds} s, the tunnel moves to ${next}`;
  return [{ family, stays: before, text }];
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
