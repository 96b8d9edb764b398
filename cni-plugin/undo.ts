/** Takes back the finished steps of something that failed half-way, the last one first. */

export class Undo {
  readonly #steps: (() => void)[] = [];

  /** Remembers how to take back what was just done. */
  push(step: () => void): void {
    this.#steps.push(step);
  }

  /** Takes everything back; a step that fails keeps no other from running. Answers what failed. */
  run(): readonly unknown[] {
    const failures: unknown[] = [];
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        step();
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }
}
