/**
 * Keeps the engine's networks and the store's equal: one pass at a time, each from whole lists, woken by changes of
 * either, and every minute. A step that fails is retried and does not stop the others.
 */

import { Backoff, Sleep } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { errorFields, FailureSeries } from "../../ipam/log.ts";
import type { DriverContext } from "./context.ts";
import { EngineError } from "./engine-client.ts";
import { engineFailures } from "./engine-failures.ts";
import { databaseOf, type EngineNetwork } from "./engine-model.ts";
import type { EngineNetworks } from "./engine-networks.ts";
import { DRIVER, type MirrorStep, planMirror } from "./mirror-plan.ts";
import type { NetworkId } from "./network-id.ts";
import type { Pools } from "./pools.ts";
import { type DockerNetwork, isUnclaimed } from "./records.ts";
import type { Settlement } from "./settle.ts";
import { type NetworkProblem, StoreRemovals } from "./store-removals.ts";

const EVERY_MS = 60_000;
const RETRY_MS = { baseMs: 200, maxMs: 15_000 };
/**
 * dockerd hides a network from its lists before it asks us to delete it. After a restart of ours it may ask 8 s late, by
 * the last of its retries.
 */
const LOST_MS = 10_000;
/** dockerd creates the network of a pool within seconds of its request. */
const DRAFT_MS = 60_000;

export interface NetworkKeeperOptions {
  readonly context: DriverContext;
  readonly engineNetworks: EngineNetworks;
  readonly settlement: Settlement;
  readonly pools: Pools;
  readonly random: () => number;
  /** Of the engine's clock. */
  readonly dateMs: () => number;
}

export class NetworkKeeper {
  readonly #options: NetworkKeeperOptions;
  readonly #context: DriverContext;
  readonly #idle: Sleep;
  readonly #backoff: Backoff;
  readonly #failures: FailureSeries;
  readonly #recordFailures: FailureSeries;
  readonly #problems = new Map<string, string>();
  /** Networks with a reserve of addresses. */
  readonly #prepared = new Set<NetworkId>();
  readonly #removals: StoreRemovals;
  /** By PoolID of a draft without a network: since when. */
  #drafts: ReadonlyMap<string, number> = new Map();
  /** By the engine's id of a network that we know and its list lacks: since when. */
  #absent: ReadonlyMap<string, number> = new Map();
  /** Of the engine's newest list. */
  #database: string | null = null;
  /** A network whose database is not on the disk yet: its name. */
  #unrecorded: string | null = null;
  /** Ids of the engine's networks that it deleted since the pass began: its list may be older. */
  readonly #deleted = new Set<string>();
  #isWoken = false;
  #engineProblem: string | null = "the Docker Engine API was not asked yet";

  constructor(options: NetworkKeeperOptions) {
    this.#options = options;
    this.#context = options.context;
    this.#idle = new Sleep(options.context.clock);
    this.#backoff = new Backoff({ ...RETRY_MS, random: options.random });
    this.#failures = engineFailures(
      options.context,
      "the Docker Engine API does not answer; retried",
      "the Docker Engine API answers",
    );
    this.#recordFailures = new FailureSeries(
      options.context.logger,
      "docker networks cannot be recorded; retried",
      "docker networks are recorded",
    );
    this.#removals = new StoreRemovals(options.context);
  }

  /** Why the engine cannot be asked; null while it answers. */
  get engineProblem(): string | null {
    return this.#engineProblem;
  }

  /** By network: why it is not as it should be on this host. */
  get problems(): ReadonlyMap<string, string> {
    return this.#problems;
  }

  /** Has the next pass begin at once. */
  wake(): void {
    this.#isWoken = true;
    this.#idle.wake();
  }

  /** The engine has this network no more, whatever a list says that is on its way. */
  noteDeleted(dockerId: string): void {
    this.#deleted.add(dockerId);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // After news a step that fails, such as the removal of a network whose last container is just leaving, is near its end.
      if (this.#isWoken) this.#backoff.reset();
      this.#isWoken = false;
      const isDone = await this.#pass(signal);
      if (isDone) this.#backoff.reset();
      if (!this.#isWoken) await this.#idle.for(isDone ? EVERY_MS : this.#retryMs(), signal);
    }
  }

  /** By the back-off, and not later than a network that the engine lacks counts as lost. */
  #retryMs(): number {
    const nowMs = this.#context.clock.monotonicMs();
    const lostMs = [...this.#absent.values()].map((sinceMs) => sinceMs + LOST_MS - nowMs);
    return Math.max(RETRY_MS.baseMs / 2, Math.min(this.#backoff.nextMs(), ...lostMs));
  }

  /** True when nothing is left to do. */
  async #pass(signal: AbortSignal): Promise<boolean> {
    const kept = await this.#removals.carryOut(signal);
    this.#deleted.clear();
    let engine: readonly EngineNetwork[];
    try {
      engine = await this.#options.engineNetworks.list();
    } catch (error) {
      this.#engineProblem = errorMessage(error);
      // What it lacks is to be seen again for as long: an engine that starts may be removing it.
      this.#absent = new Map();
      this.#failures.failed(error);
      return false;
    }
    this.#engineProblem = null;
    this.#failures.succeeded();
    await this.#prepareAddresses();
    const unrecorded = await this.#noteListed(engine);
    const steps = this.#plan(engine.filter(({ dockerId }) => !this.#deleted.has(dockerId)));
    for (const step of steps) if (step.type === "publish-lan") this.#options.pools.noteCreated(step.pools);
    this.#problems.clear();
    const found = [kept, unrecorded].filter((each) => each !== null);
    for (const { name, problem } of found) this.#problems.set(name, problem);
    let isDone = found.length === 0 && this.#absent.size === 0;
    for (const step of steps) {
      if (signal.aborted) return true;
      isDone = (await this.#try(step, signal)) && isDone;
    }
    return isDone;
  }

  /**
   * Records in which database networks are: one that lacks them later has had them removed; and which removals of ours
   * came to nothing. Returns what could not be recorded, which the next pass tries again.
   */
  async #noteListed(engine: readonly EngineNetwork[]): Promise<NetworkProblem | null> {
    const { state } = this.#context;
    const database = databaseOf(engine);
    this.#database = database;
    for (const { dockerId, name } of engine) {
      const network = state.networks.get(dockerId);
      if (network === undefined) continue;
      if (this.#isToStay(network) && state.ownRemovals.delete(dockerId)) this.#unrecorded = name;
      if (network.database === database) continue;
      state.networks.set(dockerId, { ...network, database });
      this.#unrecorded = name;
    }
    const name = this.#unrecorded;
    if (name === null) return null;
    try {
      await state.saveNetworks();
      this.#unrecorded = null;
      this.#recordFailures.succeeded();
      return null;
    } catch (error) {
      this.#recordFailures.failed(error);
      return { name, problem: `cannot be recorded: ${errorMessage(error)}` };
    }
  }

  /** A removal of it that tulled had begun when it was killed, or could not record, is not carried out any more. */
  #isToStay({ network }: DockerNetwork): boolean {
    const { feed } = this.#context;
    return network !== null && feed.storeProblem === null && feed.view.networks.has(network);
  }

  #plan(engine: readonly EngineNetwork[]): readonly MirrorStep[] {
    const { feed, state, clock } = this.#context;
    const nowMs = clock.monotonicMs();
    const drafts = [...state.pools.values()].filter(isUnclaimed);
    this.#drafts = new Map(drafts.map(({ poolId }) => [poolId, this.#drafts.get(poolId) ?? nowMs]));
    const present = new Set(engine.map(({ dockerId }) => dockerId));
    const absent = [...state.networks.keys()].filter((id) => !present.has(id));
    this.#absent = new Map(absent.map((id) => [id, this.#absent.get(id) ?? nowMs]));
    return planMirror({
      store: feed.view.networks,
      isStoreFollowed: feed.storeProblem === null,
      engine,
      known: state.networks,
      pools: [...state.pools.values()],
      removals: state.removals,
      isInUse: (dockerId) => state.endpointsOf(dockerId).length > 0,
      isLost: (dockerId) => nowMs - (this.#absent.get(dockerId) ?? nowMs) >= LOST_MS,
      isOldDraft: (poolId) => nowMs - (this.#drafts.get(poolId) ?? nowMs) >= DRAFT_MS,
    });
  }

  /** False when the step is to be tried again soon. */
  async #try(step: MirrorStep, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#carryOut(step, signal);
      return step.type !== "learn";
    } catch (error) {
      const name = nameOf(step);
      this.#problems.set(name, errorMessage(error));
      this.#context.logger.warn("docker network not in order; retried", {
        ...{ network: name, step: step.type },
        ...errorFields(error),
      });
      return false;
    }
  }

  async #carryOut(step: MirrorStep, signal: AbortSignal): Promise<void> {
    const { settlement, engineNetworks, pools } = this.#options;
    const { state, logger } = this.#context;
    switch (step.type) {
      case "learn":
        if (this.#deleted.has(step.engine.dockerId)) return;
        state.networks.set(step.engine.dockerId, learned(step.engine, step.network));
        await state.saveNetworks();
        logger.info("docker network found", { network: step.engine.name });
        return;
      case "settle":
        await settlement.settle(step.engine, step.docker, signal);
        return;
      case "publish-lan":
        await settlement.publishLan(step.engine, step.pools, signal);
        return;
      case "give-back":
        await pools.giveBack(step.pool.poolId);
        logger.info("pool without a network given back", { subnet: `${step.pool.subnet}` });
        return;
      case "forget":
        return await this.#forget(step.dockerId);
      case "create":
        await engineNetworks.create(step.network);
        logger.info("docker network created", { network: step.network.name });
        return;
      case "delete":
        await engineNetworks.delete(step.dockerId);
        logger.info("docker network removed", {
          network: step.name,
          reason: "it was removed from the store",
        });
        return;
      case "report":
        this.#problems.set(step.network, step.problem);
    }
  }

  /** What a user removed while we could not be asked to delete it is removed from the store too; what was lost comes back. */
  async #forget(dockerId: string): Promise<void> {
    const { state, logger } = this.#context;
    const network = state.networks.get(dockerId)?.network ?? null;
    const isOwn = state.ownRemovals.has(dockerId);
    if (network !== null && !isOwn && (await this.#wasRemoved(dockerId))) {
      state.removals.add(network);
      for (const [poolId, pool] of state.pools) if (pool.dockerId === dockerId) state.pools.delete(poolId);
      logger.info("docker network was removed while tulled was away", { network });
    }
    state.networks.delete(dockerId);
    state.ownRemovals.delete(dockerId);
    await state.saveNetworks();
  }

  /**
   * Only what the engine itself shows counts, its database or its events: a removal that is not one would take the network
   * from all hosts. After a loss of the database, the network is not in the new one.
   */
  async #wasRemoved(dockerId: string): Promise<boolean> {
    const database = this.#context.state.networks.get(dockerId)?.database ?? null;
    if (database !== null && database === this.#database) return true;
    try {
      return (await this.#options.engineNetworks.removed(this.#options.dateMs() / 1000)).has(dockerId);
    } catch (error) {
      if (error instanceof EngineError && error.retryable) throw error;
      return false;
    }
  }

  /** A reserve of addresses for each network that Docker has here, and none for a network that is gone. */
  async #prepareAddresses(): Promise<void> {
    const { state, feed, book, logger } = this.#context;
    const present = new Set([...state.networks.values()].map(({ network }) => network));
    for (const id of present) {
      const network = id === null ? undefined : feed.view.networks.get(id);
      if (network === undefined || this.#prepared.has(network.id)) continue;
      this.#prepared.add(network.id);
      book.prepare(network);
    }
    for (const id of this.#prepared) {
      if (feed.view.networks.has(id) || feed.storeProblem !== null) continue;
      this.#prepared.delete(id);
      await book.forget(id).catch((error: unknown) => {
        logger.warn("file with addresses of a removed network stays", { network: id, ...errorFields(error) });
      });
    }
  }
}

/** As CreateNetwork would have told it. */
function learned(engine: EngineNetwork, network: NetworkId | null): DockerNetwork {
  const pools = engine.subnets.map(({ subnet, gateway }) => [
    subnet.family,
    { subnet, gateway, isOurs: engine.ipamDriver === DRIVER },
  ]);
  const { dockerId, isInternal, options } = engine;
  return { dockerId, isInternal, options, network, database: null, pools: Object.fromEntries(pools) };
}

function nameOf(step: MirrorStep): string {
  switch (step.type) {
    case "learn":
    case "settle":
    case "publish-lan":
      return step.engine.name;
    case "create":
      return step.network.name;
    case "delete":
      return step.name;
    case "give-back":
      return `${step.pool.subnet}`;
    case "forget":
      return step.dockerId;
    case "report":
      return step.network;
  }
}
