/** The sizes that a packet meets on its way: what fits where, and what is lost. Pure. */

interface Hop {
  readonly name: string;
  readonly mtuBytes: number;
  /** Headers of tunnels around the packet there. */
  readonly addedBytes: number;
}

export class MtuPath {
  readonly #hops: Hop[] = [];
  #addedBytes = 0;

  /** A device or route that the packet passes. */
  pass(name: string, mtuBytes: number): void {
    this.#hops.push({ name, mtuBytes, addedBytes: this.#addedBytes });
  }

  /** A tunnel puts headers around it. */
  wrap(bytes: number): void {
    this.#addedBytes += bytes;
  }

  /** The largest packet of the source; null before anything was passed. */
  get sentBytes(): number | null {
    return this.#hops[0]?.mtuBytes ?? null;
  }

  /** The largest packet of the source that fits everywhere. */
  get fitsBytes(): number | null {
    const sizes = this.#hops.map(({ mtuBytes, addedBytes }) => mtuBytes - addedBytes);
    return sizes.length === 0 ? null : Math.min(...sizes);
  }

  /** The largest that fits before any tunnel: the kernel tells the source of larger ones (ICMP). */
  get toldBytes(): number | null {
    const sizes = this.#hops.filter(({ addedBytes }) => addedBytes === 0).map(({ mtuBytes }) => mtuBytes);
    return sizes.length === 0 ? null : Math.min(...sizes);
  }

  /** `cni0 1450, flannel.1 1450, eth0 1500 - 50` */
  describe(): string {
    return this.#hops
      .map(
        ({ name, mtuBytes, addedBytes }) =>
          `${name} ${mtuBytes}${addedBytes === 0 ? "" : ` - ${addedBytes}`}`,
      )
      .join(", ");
  }
}
