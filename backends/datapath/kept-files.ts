/** Has the data path's descriptors held for the next run of the daemon, as long as they are the open ones. */

import type { KeptDescriptors } from "../kept-descriptors.ts";
import type { PathFile } from "./messages.ts";

export class KeptFiles {
  readonly #descriptors: KeptDescriptors;
  #received: Map<string, number>;
  #names: ReadonlySet<string>;

  /** @param names of the descriptors that the data path may have */
  constructor(descriptors: KeptDescriptors, names: readonly string[]) {
    this.#descriptors = descriptors;
    this.#received = new Map(
      names.flatMap((name) => {
        const fd = descriptors.take(name);
        return fd === null ? [] : [[name, fd] as const];
      }),
    );
    this.#names = new Set(this.#received.keys());
  }

  /** What a former run left, for the first caller, which has to adopt or close it. */
  takeReceived(): ReadonlyMap<string, number> {
    const received = this.#received;
    this.#received = new Map();
    return received;
  }

  /** These are open now. A device that is open cannot be opened again, so no copy outlives them. */
  changed(files: readonly PathFile[]): void {
    const adopted = new Set(files.filter(({ isAdopted }) => isAdopted).map(({ name }) => name));
    for (const name of this.#names) if (!adopted.has(name)) this.#descriptors.forget(name);
    for (const { name, fd, isAdopted } of files) if (!isAdopted) this.#descriptors.keep(name, fd);
    this.#names = new Set(files.map(({ name }) => name));
  }
}
