/** Asynchronous jobs that must not overlap. */

/** Runs jobs one after another, in the order in which they came. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `job` once all jobs before it have ended, failed ones too. Settles as the job does. */
  run<T>(job: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => job());
    // The caller gets the failure; the next job only waits for the end of this one.
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Resolves when all jobs so far have ended; never rejects. */
  async ended(): Promise<void> {
    await this.#last;
  }
}

/** Runs one job for many callers: those that come before it has begun share its next run. Runs do not overlap. */
export class SharedTurns {
  readonly #turns = new Turns();
  #next: Promise<void> | null = null;

  /** Runs `job`, or shares the run that waits. Settles as that run does. */
  run(job: () => Promise<void>): Promise<void> {
    this.#next ??= this.#turns.run(() => {
      this.#next = null;
      return job();
    });
    return this.#next;
  }

  /** Resolves when all runs so far have ended; never rejects. */
  ended(): Promise<void> {
    return this.#turns.ended();
  }
}
