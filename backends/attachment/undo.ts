/** Takes back the finished steps of something that failed half-way, the last one first. */

export class Undo {
  readonly #steps: (() => unknown)[] = [];

  /** Records how to take back what was just done; a promise that the step returns is awaited. */
  push(step: () => unknown): void {
    this.#steps.push(step);
  }

  /** Takes everything back, including the steps before one that fails, and returns what failed. */
  async run(): Promise<readonly unknown[]> {
    const failures: unknown[] = [];
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }
}
