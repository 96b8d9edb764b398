/**
 * Tells what became of the interface that carries the tunnel: it vanished, was replaced, or got another address, MTU
 * or state. What that means for plan and lease is the agent's business.
 *
 * Level-triggered: a notice only says "look"; what is told is the difference between the last look and this one, so
 * that a DHCP client that takes an address away and puts it back a moment later is no news.
 */

import type { Clock } from "../../ipam/clock.ts";
import type { InterfaceAddress } from "../../ipam/ip.ts";
import type { Mac } from "../../ipam/mac.ts";
import { decodeAddress, encodeAddressDump } from "../netlink/address.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { ENODEV, NetlinkError } from "../netlink/errors.ts";
import { decodeLink, encodeGetLink, type Link } from "../netlink/link.ts";

/** What of the interface matters to a tunnel. */
export interface ParentFacts {
  readonly index: number;
  readonly mac: Mac | null;
  readonly mtuBytes: number;
  readonly isUp: boolean;
  /** All of its addresses that are not link-local, in the kernel's order. */
  readonly addresses: readonly InterfaceAddress[];
}

export type ParentChange =
  /** The kernel has removed the tunnel device with it. */
  | { readonly type: "vanished" }
  | { readonly type: "appeared"; readonly facts: ParentFacts }
  /** Another interface has its name: the tunnel device is gone, and the hardware address may be another. */
  | { readonly type: "replaced"; readonly facts: ParentFacts }
  | { readonly type: "addresses"; readonly facts: ParentFacts }
  | { readonly type: "mtu"; readonly facts: ParentFacts }
  | { readonly type: "state"; readonly facts: ParentFacts };

export interface ParentWatchOptions {
  /** Reads the interface as it is now; null when there is none. */
  readonly read: () => ParentFacts | null;
  readonly onChange: (changes: readonly ParentChange[]) => void;
  /** The interface could not be read, or onChange threw; the next notice tries again. */
  readonly onError: (error: unknown) => void;
  readonly clock: Clock;
  /** How long the interface must be left alone before changes are told. */
  readonly quietMs?: number;
  /** The longest that an interface without rest can put the telling off. */
  readonly patienceMs?: number;
}

const QUIET_MS = 200;
const PATIENCE_MS = 2000;

/** What differs, the gravest first; what follows from it is not listed beside it. */
export function compareParent(
  before: ParentFacts | null,
  after: ParentFacts | null,
): readonly ParentChange[] {
  if (before === null) return after === null ? [] : [{ type: "appeared", facts: after }];
  if (after === null) return [{ type: "vanished" }];
  if (before.index !== after.index) return [{ type: "replaced", facts: after }];
  const changes: ParentChange[] = [];
  if (addressText(before) !== addressText(after)) changes.push({ type: "addresses", facts: after });
  if (before.mtuBytes !== after.mtuBytes) changes.push({ type: "mtu", facts: after });
  if (before.isUp !== after.isUp) changes.push({ type: "state", facts: after });
  return changes;
}

/** `ip address show dev NAME`; null when there is no such interface. Throws NetlinkError. */
export function readParent(connection: NetlinkConnection, name: string): ParentFacts | null {
  const link = findLink(connection, name);
  if (link === null) return null;
  const { index, mac, mtuBytes, isUp } = link;
  const addresses = connection
    .dump(encodeAddressDump(index), decodeAddress)
    .filter(({ address }) => !address.isLinkLocal)
    .map(({ address, length }) => ({ address, length }));
  return { index, mac, mtuBytes, isUp, addresses };
}

export class ParentWatch {
  readonly #options: ParentWatchOptions;
  #known: ParentFacts | null;
  #nap: AbortController | null = null;
  #sinceMs: number | null = null;

  /** Takes what the interface is like now as known. */
  constructor(options: ParentWatchOptions) {
    this.#options = options;
    this.#known = options.read();
  }

  get facts(): ParentFacts | null {
    return this.#known;
  }

  /** Something happened to the interface; it is looked at once it has been quiet. */
  notice(): void {
    const { clock, onError, quietMs = QUIET_MS, patienceMs = PATIENCE_MS } = this.#options;
    this.#nap?.abort();
    const nap = new AbortController();
    this.#nap = nap;
    this.#sinceMs ??= clock.monotonicMs();
    const delayMs = Math.max(0, Math.min(quietMs, this.#sinceMs + patienceMs - clock.monotonicMs()));
    clock
      .sleep(delayMs, nap.signal)
      .then(() => this.look())
      .catch((error: unknown) => {
        // Another notice came, or stop().
        if (!nap.signal.aborted) onError(error);
      });
  }

  /** Looks now, and tells what changed since the last look. */
  look(): void {
    this.#nap = null;
    this.#sinceMs = null;
    const before = this.#known;
    this.#known = this.#options.read();
    const changes = compareParent(before, this.#known);
    if (changes.length > 0) this.#options.onChange(changes);
  }

  /** Forgets notices that have not been looked at. */
  stop(): void {
    this.#nap?.abort();
    this.#nap = null;
    this.#sinceMs = null;
  }
}

/** Order matters: the first address of a family is the one that a tunnel takes. */
function addressText({ addresses }: ParentFacts): string {
  return addresses.map(({ address, length }) => `${address}/${length}`).join(" ");
}

function findLink(connection: NetlinkConnection, name: string): Link | null {
  try {
    return connection.get(encodeGetLink({ name }), decodeLink);
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === ENODEV) return null;
    throw error;
  }
}
