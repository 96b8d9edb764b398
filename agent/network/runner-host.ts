/**
 * Runs what the backends have beside the kernel's objects, as long as their base objects are in place.
 *
 * One runner for each prepared backend that has one. A backend that is prepared again gets a new one, once all that are
 * no longer wanted have ended.
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

/** What one backend runs. */
interface Slot {
  target: RunnerTarget;
  /** Null before it starts, and when it cannot. */
  runner: BackendRunner | null;
  failure: string | null;
}

export class RunnerHost {
  readonly #deps: RunnerDeps;
  readonly #slots = new Map<RunningBackend, Slot>();
  #ended: Slot[] = [];
  #isOpen = false;
  #turn: Promise<void> = Promise.resolve();

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
  }

  /** What is wrong with what one backend runs, one sentence each. */
  problemsOf(backend: RunningBackend): readonly string[] {
    const slot = this.#slots.get(backend);
    if (slot === undefined) return [];
    return slot.failure === null ? (slot.runner?.problems ?? []) : [slot.failure];
  }

  /** Whether packets by this backend depend on what it runs. */
  isCarrier(backend: RunningBackend): boolean {
    const slot = this.#slots.get(backend);
    return slot !== undefined && (slot.failure !== null || slot.runner?.traffic !== undefined);
  }

  /** What one backend runs; null while it runs nothing. */
  runnerOf(backend: RunningBackend): BackendRunner | null {
    return this.#slots.get(backend)?.runner ?? null;
  }

  /** What the runners have counted; null without one that carries packets. Only one of them ever does. */
  get traffic(): PathTraffic | null {
    const all = [...this.#slots.values()].flatMap(({ runner }) => runner?.traffic ?? []);
    return all[0] ?? null;
  }

  /** Which backends there are, and what each of them is to carry out. */
  follow<B extends RunningBackend>(backends: readonly B[], targetFor: (backend: B) => RunnerTarget): void {
    const wanted = backends.filter(({ startRunner }) => startRunner !== null);
    const gone = [...this.#slots.keys()].filter((backend) => !wanted.some((each) => each === backend));
    for (const backend of gone) this.#remove(backend);
    let hasNew = false;
    for (const backend of wanted) {
      const target = targetFor(backend);
      const slot = this.#slots.get(backend);
      if (slot === undefined) this.#slots.set(backend, { target, runner: null, failure: null });
      else {
        slot.target = target;
        slot.runner?.follow(target);
      }
      hasNew ||= slot === undefined;
    }
    if (hasNew || gone.length > 0) void this.#settle();
  }

  /** The base objects are in place: the runners may start. */
  open(): void {
    this.#isOpen = true;
    void this.#settle();
  }

  /** Ends the runners for good. */
  async close(): Promise<void> {
    this.#isOpen = false;
    for (const backend of [...this.#slots.keys()]) this.#remove(backend);
    await this.#settle();
  }

  #remove(backend: RunningBackend): void {
    const slot = this.#slots.get(backend);
    if (slot !== undefined) this.#ended.push(slot);
    this.#slots.delete(backend);
  }

  #settle(): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      const ended = this.#ended;
      this.#ended = [];
      for (const slot of ended) await this.#end(slot);
      for (const [backend, slot] of this.#isOpen ? this.#slots : []) this.#start(backend, slot);
      this.#deps.onChange();
    });
    return this.#turn;
  }

  async #end({ runner }: Slot): Promise<void> {
    try {
      await runner?.stop();
    } catch (error) {
      this.#deps.faults.failed("ending the data path", error);
    }
  }

  #start(backend: RunningBackend, slot: Slot): void {
    if (slot.runner !== null) return;
    slot.failure = null;
    try {
      slot.runner = backend.startRunner?.(this.#deps) ?? null;
      slot.runner?.follow(slot.target);
    } catch (error) {
      slot.failure = errorMessage(error);
      this.#deps.faults.failed("starting the data path", error);
    }
  }
}
