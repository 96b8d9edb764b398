/** The host's devices by index and by name, as the kernel last reported them. No I/O. */

import type { Link } from "../netlink/link/link.ts";

export class DeviceTable {
  readonly #byIndex = new Map<number, Link>();
  readonly #byName = new Map<string, Link>();
  /** Devices of our making whose first notifications are still on their way. */
  readonly #newborn = new Set<number>();

  /** Takes a complete dump. */
  reset(links: Iterable<Link>): void {
    this.#byIndex.clear();
    this.#byName.clear();
    for (const link of links) this.set(link);
  }

  /** Stores a device; returns the former one with its index. */
  set(link: Link): Link | undefined {
    const before = this.#byIndex.get(link.index);
    if (before !== undefined && before.name !== link.name) this.#byName.delete(before.name);
    this.#byIndex.set(link.index, link);
    this.#byName.set(link.name, link);
    return before;
  }

  /** Notes a device that we have just made and brought up. */
  setMade(link: Link): void {
    this.set(link);
    this.#newborn.add(link.index);
  }

  /**
   * True for the notification of a device's creation, which the kernel sends before the device is up: the table already
   * holds a newer state.
   */
  isOldNews(link: Link): boolean {
    if (link.isUp) this.#newborn.delete(link.index);
    return this.#newborn.has(link.index);
  }

  /** No notification from before now is on its way: a loss dropped them, or the monitor is new. */
  forgetNews(): void {
    this.#newborn.clear();
  }

  delete(index: number): void {
    this.#newborn.delete(index);
    const link = this.#byIndex.get(index);
    if (link === undefined) return;
    this.#byIndex.delete(index);
    if (this.#byName.get(link.name) === link) this.#byName.delete(link.name);
  }

  all(): Iterable<Link> {
    return this.#byIndex.values();
  }

  at(index: number): Link | undefined {
    return this.#byIndex.get(index);
  }

  /** The first device that `matches`, undefined when there is none. */
  find(matches: (link: Link) => boolean): Link | undefined {
    for (const link of this.#byIndex.values()) if (matches(link)) return link;
    return undefined;
  }

  /** Name of a device, empty when it is unknown or `index` is null. */
  nameOf(index: number | null): string {
    return index === null ? "" : (this.#byIndex.get(index)?.name ?? "");
  }

  /** Index of a device, null when there is none of this name. */
  indexOf(name: string): number | null {
    return this.#byName.get(name)?.index ?? null;
  }
}
