/** The host's devices by index and by name, as the kernel last told. No I/O. */

import type { Link } from "../netlink/link.ts";

export class DeviceTable {
  readonly #byIndex = new Map<number, Link>();
  readonly #byName = new Map<string, Link>();

  /** Takes a complete dump. */
  reset(links: Iterable<Link>): void {
    this.#byIndex.clear();
    this.#byName.clear();
    for (const link of links) this.set(link);
  }

  /** Notes a device; answers what was known under its index before. */
  set(link: Link): Link | undefined {
    const before = this.#byIndex.get(link.index);
    if (before !== undefined && before.name !== link.name) this.#byName.delete(before.name);
    this.#byIndex.set(link.index, link);
    this.#byName.set(link.name, link);
    return before;
  }

  delete(index: number): void {
    const link = this.#byIndex.get(index);
    if (link === undefined) return;
    this.#byIndex.delete(index);
    if (this.#byName.get(link.name) === link) this.#byName.delete(link.name);
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
