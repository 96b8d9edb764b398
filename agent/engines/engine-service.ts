/**
 * Named networks as a part of the daemon, and the container engines that use them: Docker's driver, where Docker is wanted,
 * and podman's containers, from the first call of tulle-netavark on. Opens what they need, tells them the host's interface
 * when that is known, and starts them again after a failure. The daemon's own network goes on without them.
 */

import { setMaxListeners } from "node:events";
import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import { Backoff, pause, Sleep } from "../../ipam/clock.ts";
import { ConflictError, errorMessage } from "../../ipam/errors.ts";
import { errorFields } from "../../ipam/log.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import { fired, type PartSignal, partOf } from "../../ipam/part-signal.ts";
import { isDockerWanted } from "../docker/wanted.ts";
import { Changes } from "../docker-driver/changes.ts";
import type { DockerDriverStatus } from "../docker-driver/docker-driver.ts";
import { servePlugin } from "../docker-driver/plugin-server.ts";
import { publicAddressesOf } from "../host/choose-interface.ts";
import { NAME_SERVER_INPUT, NAME_SERVER_RULES } from "../names/name-server-rules.ts";
import type { NameServiceStatus } from "../names/name-service.ts";
import { netavarkMethods, netavarkSocketPath } from "../netavark/plugin-calls.ts";
import { PodmanContainers } from "../netavark/podman-containers.ts";
import type { Attachment } from "../network/attachment.ts";
import { type EngineParts, type EnginePartsOptions, openParts, runParts } from "./engine-parts.ts";

export interface EngineServiceOptions extends Omit<EnginePartsOptions, "changes" | "isDockerWanted"> {
  /** Where tulle-netavark finds its socket. */
  readonly runDir: string;
}

export type EngineServiceStatus = Partial<DockerDriverStatus> & {
  /** Why named networks do not run; null while they do, and while no engine uses them. */
  readonly failure: string | null;
  /** Interfaces of podman's containers. */
  readonly podmanContainers: number;
  readonly names?: NameServiceStatus;
};

const STARTING = "starting";
/** How long a call of tulle-netavark waits for the start. */
const START_MS = 1_200;
const RETRY_MS = { baseMs: 1_000, maxMs: 60_000 };

export class EngineService {
  readonly #options: EngineServiceOptions;
  readonly #isDockerWanted: boolean;
  readonly #changes: Changes;
  readonly #asked: Sleep;
  #isPodmanWanted: boolean;
  #attached: readonly [Attachment, JointPlans] | null = null;
  /** Null until they are open, and after a failure. */
  #parts: EngineParts | null = null;
  #failure: string | null = null;
  #socketFailure: string | null = null;
  #isOthersTurn = false;

  constructor(options: EngineServiceOptions) {
    this.#options = options;
    const { docker, stateDir, runtime } = options;
    this.#isDockerWanted = isDockerWanted(docker);
    this.#isPodmanWanted = PodmanContainers.areKnown(stateDir, runtime.logger);
    this.#changes = new Changes(runtime.clock);
    this.#asked = new Sleep(runtime.clock);
    if (this.#isWanted) this.#failure = STARTING;
  }

  /** Null where no engine uses named networks. */
  status(): EngineServiceStatus | null {
    if (!this.#isWanted) return null;
    const { driver, names, podman } = this.#parts ?? {};
    return {
      failure: this.#failure,
      podmanContainers: podman?.count ?? 0,
      ...driver?.status(),
      ...(names === undefined ? {} : { names: names.status() }),
    };
  }

  /** Named networks and their containers; null while they are not followed. */
  get view(): NamedNetworksView | null {
    return this.#parts?.networks.feed.view ?? null;
  }

  /** What is wrong with named networks on this host, one sentence each. */
  problems(): readonly string[] {
    const { driver, networks: named, segments } = this.#parts ?? {};
    const isShown = this.#failure !== null && this.#failure !== STARTING && !this.#isOthersTurn;
    const failure = isShown ? [this.#failure] : [];
    const socket = this.#socketFailure === null ? [] : [this.#socketFailure];
    const { engineProblem = null, problems = [], networks = [] } = driver?.status() ?? {};
    // A host without such networks need not have an engine that runs.
    const isUsed = networks.length > 0;
    return [
      ...failure.map((reason) => `named networks failed and are started again: ${reason}`),
      ...socket.map((reason) => `podman cannot use named networks: ${reason}`),
      ...(isUsed && engineProblem !== null ? [`Docker: ${engineProblem}`] : []),
      ...problems.map((problem) => `Docker: ${problem}`),
      ...(segments?.current?.status() ?? []).flatMap(({ name, problems: found }) =>
        found.map((one) => `network ${name}: ${one}`),
      ),
      ...(named?.feed.problems ?? []),
      ...(named?.book.problems ?? []),
      ...this.#nameProblems(isUsed),
    ];
  }

  /** The interface, the addresses or the links of this host are known or have changed. `plans`: the host's firewall. */
  attached(attachment: Attachment, plans: JointPlans): void {
    this.#attached = [attachment, plans];
    this.#attach();
  }

  /** Runs until `signal` fires. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#serveNetavark(signal), this.#runRounds(signal)]);
  }

  get #isWanted(): boolean {
    return this.#isDockerWanted || this.#isPodmanWanted;
  }

  #nameProblems(isDockerUsed: boolean): readonly string[] {
    const problem = this.#parts?.names.status().problem ?? null;
    const isUsed = isDockerUsed || (this.#parts?.podman.count ?? 0) > 0;
    return isUsed && problem !== null ? [`names of containers: ${problem}`] : [];
  }

  /** The socket of tulle-netavark, whose first call starts named networks. */
  async #serveNetavark(signal: AbortSignal): Promise<void> {
    const { runDir, runtime } = this.#options;
    const { clock, random, logger, faults } = runtime;
    const backoff = new Backoff({ ...RETRY_MS, random });
    const path = netavarkSocketPath(runDir);
    const methods = netavarkMethods((late) => this.#openPodman(late));
    while (!signal.aborted) {
      try {
        const server = await servePlugin({ path, flag: "--run-dir", methods, logger, faults });
        this.#socketFailure = null;
        await fired(signal);
        await server.close();
      } catch (error) {
        this.#socketFailure = errorMessage(error);
        logger.error("socket of tulle-netavark is not served; retried", errorFields(error));
        await pause(clock, backoff.nextMs(), signal);
      }
    }
  }

  async #openPodman(signal: AbortSignal): Promise<PodmanContainers | null> {
    this.#isPodmanWanted = true;
    this.#asked.wake();
    return await this.#changes.until(() => this.#parts?.podman ?? null, START_MS, signal);
  }

  async #runRounds(signal: AbortSignal): Promise<void> {
    const { clock, random, logger } = this.#options.runtime;
    const backoff = new Backoff({ ...RETRY_MS, random });
    while (!signal.aborted) {
      if (!this.#isWanted) {
        await this.#asked.for(Number.POSITIVE_INFINITY, signal);
        continue;
      }
      const round = partOf(signal);
      const startMs = clock.monotonicMs();
      // Every part listens to it, which Node would report as a leak.
      setMaxListeners(0, round.signal);
      try {
        await this.#round(round);
      } catch (error) {
        this.#failure = errorMessage(error);
        // Of two daemons on one host one serves Docker; the other waits for its turn.
        this.#isOthersTurn = error instanceof ConflictError && this.#options.docker.plugin === "auto";
        if (this.#isOthersTurn) logger.debug("docker driver is another process's", errorFields(error));
        else logger.error("named networks failed; started again", errorFields(error));
        await pause(clock, backoff.nextAfterMs(clock.monotonicMs() - startMs), signal);
      } finally {
        this.#parts = null;
        round.end();
      }
    }
  }

  async #round(life: PartSignal): Promise<void> {
    const changes = this.#changes;
    const parts = await openParts({ ...this.#options, changes, isDockerWanted: this.#isDockerWanted }, life);
    this.#parts = parts;
    this.#failure = null;
    await runParts(parts, changes, () => this.#attach());
  }

  #attach(): void {
    if (this.#attached === null || this.#parts === null) return;
    const { life, host, networks, segments } = this.#parts;
    if (life.signal.aborted) return;
    if (this.#options.identity.nodeId !== host) {
      // The state directory is a copy of another host's: everything is read again under the new identity.
      life.end();
      return;
    }
    const [attachment, plans] = this.#attached;
    networks.setHost(publicAddressesOf(attachment.chosen));
    segments.attached(attachment, plans);
    void plans.update(NAME_SERVER_RULES, NAME_SERVER_INPUT);
    this.#changes.notify();
  }
}
