/**
 * Runs what the backend has beside the kernel's objects, as long as its base objects are in place.
 *
 * One runner at a time: another prepared backend gets a new one, once the former has ended.
 */

import type {
  BackendRunner,
  PathTraffic,
  PreparedBackend,
  RunnerDeps,
  RunnerTarget,
} from "../../backends/backend.ts";
import { errorMessage } from "../../ipam/errors.ts";

type RunningBackend = Pick<PreparedBackend, "startRunner">;

export class RunnerHost {
  readonly #deps: RunnerDeps;
  #isOpen = false;
  #backend: RunningBackend | null = null;
  #target: RunnerTarget | null = null;
  #runner: BackendRunner | null = null;
  #startFailure: string | null = null;
  #turn: Promise<void> = Promise.resolve();

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
  }

  /** What is wrong with the runner, one sentence each. */
  get problems(): readonly string[] {
    if (this.#startFailure !== null) return [this.#startFailure];
    return this.#runner?.problems ?? [];
  }

  /** What the runner has counted; null without one that carries packets. */
  get traffic(): PathTraffic | null {
    return this.#runner?.traffic ?? null;
  }

  /** What is to be carried out, and by which backend. */
  follow(backend: RunningBackend, target: () => RunnerTarget): void {
    if (backend.startRunner === null && this.#backend?.startRunner == null) return;
    this.#target = target();
    if (backend === this.#backend) {
      this.#runner?.follow(this.#target);
      return;
    }
    this.#backend = backend;
    void this.#replace();
  }

  /** The base objects are in place: the runner may start. */
  open(): void {
    this.#isOpen = true;
    if (this.#backend !== null) void this.#replace();
  }

  /** Ends the runner for good. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#backend = null;
    await this.#replace();
  }

  #replace(): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      await this.#end();
      if (this.#isOpen) this.#start();
      this.#deps.onChange();
    });
    return this.#turn;
  }

  async #end(): Promise<void> {
    const former = this.#runner;
    this.#runner = null;
    try {
      await former?.stop();
    } catch (error) {
      this.#deps.faults.failed("ending the data path", error);
    }
  }

  #start(): void {
    this.#startFailure = null;
    try {
      this.#runner = this.#backend?.startRunner?.(this.#deps) ?? null;
      if (this.#target !== null) this.#runner?.follow(this.#target);
    } catch (error) {
      this.#runner = null;
      this.#startFailure = errorMessage(error);
      this.#deps.faults.failed("starting the data path", error);
    }
  }
}
