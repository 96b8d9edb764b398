/**
 * Named networks as a part of the daemon, and the container engines that use them: Docker's driver, where Docker is wanted,
 * and podman's containers, from the first call of tulle-netavark on. Opens what they need, tells them the host's interface
 * when that is known, and starts them again after a failure. The daemon's own network goes on without them.
 */

import { setMaxListeners } from "node:events";
import { join } from "node:path";
import { findLink } from "../../backends/attachment/links.ts";
import { deleteLoosePair } from "../../backends/attachment/loose-pair.ts";
import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import { Backoff, pause, Sleep } from "../../ipam/clock.ts";
import { ConflictError, errorMessage } from "../../ipam/errors.ts";
import { errorFields } from "../../ipam/log.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type { HostId } from "../../ipam/named-networks/named-network.ts";
import { partOf } from "../../ipam/part-signal.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";
import type { DockerSettings, FirewallSettings } from "../config/config.ts";
import { isDockerWanted } from "../docker/wanted.ts";
import { Changes } from "../docker-driver/changes.ts";
import { DockerDriver, type DockerDriverStatus } from "../docker-driver/docker-driver.ts";
import { servePlugin } from "../docker-driver/plugin-server.ts";
import { SegmentLinks } from "../docker-driver/segment-links.ts";
import { publicAddressesOf } from "../host/choose-interface.ts";
import type { Identity } from "../host/identity.ts";
import { NamedNetworks } from "../named-networks/named-networks.ts";
import { SegmentHost } from "../named-networks/segment-host.ts";
import { joinedClients } from "../names/clients.ts";
import type { NameService, NameServiceStatus } from "../names/name-service.ts";
import { netavarkMethods, netavarkSocketPath } from "../netavark/plugin-calls.ts";
import { PodmanContainers } from "../netavark/podman-containers.ts";
import type { Attachment } from "../network/attachment.ts";
import type { Runtime } from "../network/runtime.ts";

export interface EngineServiceOptions {
  readonly runtime: Runtime;
  readonly docker: DockerSettings;
  readonly firewall: Pick<FirewallSettings, "openPort">;
  readonly store: NetworkStore;
  readonly identity: Identity;
  readonly stateDir: string;
  /** Where tulle-netavark finds its socket. */
  readonly runDir: string;
  readonly hostName: string;
  readonly version: string;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly dateMs: () => number;
  readonly isLeaseHeld: () => boolean;
}

export type EngineServiceStatus = Partial<DockerDriverStatus> & {
  /** Why named networks do not run; null while they do, and while no engine uses them. */
  readonly failure: string | null;
  /** Interfaces of podman's containers. */
  readonly podmanContainers: number;
  readonly names?: NameServiceStatus;
};

/** The port of all VXLAN devices of named networks: flannel's, and open where hosts already are peers. */
const VXLAN_PORT = 8472;
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
  #onAttachment: (attachment: Attachment, plans: JointPlans) => void = () => undefined;
  #driver: DockerDriver | null = null;
  #podman: PodmanContainers | null = null;
  #names: NameService | null = null;
  #networks: NamedNetworks | null = null;
  #segments: SegmentHost | null = null;
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
    const names = this.#names === null ? {} : { names: this.#names.status() };
    const podmanContainers = this.#podman?.count ?? 0;
    return { failure: this.#failure, podmanContainers, ...this.#driver?.status(), ...names };
  }

  /** Named networks and their containers; null while they are not followed. */
  get view(): NamedNetworksView | null {
    return this.#networks?.feed.view ?? null;
  }

  /** What is wrong with named networks on this host, one sentence each. */
  problems(): readonly string[] {
    const isShown = this.#failure !== null && this.#failure !== STARTING && !this.#isOthersTurn;
    const failure = isShown ? [this.#failure] : [];
    const socket = this.#socketFailure === null ? [] : [this.#socketFailure];
    const { engineProblem = null, problems = [], networks = [] } = this.#driver?.status() ?? {};
    // A host without such networks need not have an engine that runs.
    const isUsed = networks.length > 0;
    const segments = this.#segments?.status() ?? [];
    return [
      ...failure.map((reason) => `named networks failed and are started again: ${reason}`),
      ...socket.map((reason) => `podman cannot use named networks: ${reason}`),
      ...(isUsed && engineProblem !== null ? [`Docker: ${engineProblem}`] : []),
      ...problems.map((problem) => `Docker: ${problem}`),
      ...segments.flatMap(({ name, problems: found }) => found.map((one) => `network ${name}: ${one}`)),
      ...(this.#networks?.feed.problems ?? []),
      ...(this.#networks?.book.problems ?? []),
      ...this.#nameProblems(isUsed),
    ];
  }

  /** The interface, the addresses or the links of this host are known or have changed. `plans`: the host's firewall. */
  attached(attachment: Attachment, plans: JointPlans): void {
    this.#attached = [attachment, plans];
    this.#onAttachment(attachment, plans);
  }

  /** Runs until `signal` fires. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#serveNetavark(signal), this.#runRounds(signal)]);
  }

  get #isWanted(): boolean {
    return this.#isDockerWanted || this.#isPodmanWanted;
  }

  #nameProblems(isDockerUsed: boolean): readonly string[] {
    const problem = this.#names?.status().problem ?? null;
    const isUsed = isDockerUsed || (this.#podman?.count ?? 0) > 0;
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
        const onCall = (): void => undefined;
        const server = await servePlugin({
          path,
          flag: "--run-dir",
          retryNote: "",
          methods,
          logger,
          faults,
          onCall,
        });
        this.#socketFailure = null;
        await ended(signal);
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
    return await this.#changes.until(() => this.#podman, START_MS, signal);
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
      // Every part listens to it, which Node would report as a leak.
      setMaxListeners(0, round.signal);
      try {
        await this.#round(round.signal, () => round.end());
      } catch (error) {
        this.#failure = errorMessage(error);
        // Of two daemons on one host one serves Docker; the other waits for its turn.
        this.#isOthersTurn = error instanceof ConflictError && this.#options.docker.plugin === "auto";
        if (this.#isOthersTurn) logger.debug("docker driver is another process's", errorFields(error));
        else logger.error("named networks failed; started again", errorFields(error));
        await pause(clock, backoff.nextMs(), signal);
      } finally {
        this.#driver = null;
        this.#podman = null;
        this.#names = null;
        this.#networks = null;
        this.#segments = null;
        round.end();
      }
    }
  }

  async #round(signal: AbortSignal, end: () => void): Promise<void> {
    const { runtime, identity, firewall, stateDir } = this.#options;
    const host = identity.nodeId as HostId;
    const changes = this.#changes;
    // Only hosts with named networks need the name server and its library.
    const { NameService } = await import("../names/name-service.ts");
    const networks = new NamedNetworks({ ...this.#options, host, stateDir });
    const segmentsNow = (): SegmentHost | null => this.#segments;
    const driver = this.#isDockerWanted ? await this.#openDriver(networks, host, segmentsNow) : null;
    const { feed, book } = networks;
    const podman = new PodmanContainers({
      ...{ ...runtime, feed, book, host, changes, stateDir },
      segments: segmentsNow,
      pairs: {
        has: (port) => findLink(runtime.netlink, port) !== null,
        remove: (port) => deleteLoosePair(runtime.netlink, port),
      },
    });
    const clients = joinedClients(driver === null ? [podman] : [podman, driver.clients]);
    const names = new NameService({ runtime, view: () => feed.view, clients });
    this.#driver = driver;
    this.#names = names;
    this.#networks = networks;
    this.#podman = podman;
    this.#failure = null;
    const attached = new Promise<SegmentHost>((resolve) => {
      this.#onAttachment = (attachment, plans) => {
        // The state directory is a copy of another host's: everything is read again under the new identity.
        if (identity.nodeId !== host) return end();
        networks.setHost(publicAddressesOf(attachment.chosen));
        const facts = this.#factsOf(attachment, host);
        if (this.#segments !== null) return this.#segments.setFacts(facts);
        const segments = new SegmentHost({ runtime, feed, facts, settings: firewall, plans });
        this.#segments = segments;
        changes.notify();
        resolve(segments);
      };
    });
    if (this.#attached !== null) this.#onAttachment(...this.#attached);
    const unfollow = feed.onChange(() => changes.notify());
    const follow = async (): Promise<void> => {
      const made = await Promise.race([attached, ended(signal)]);
      if (made !== null) await Promise.all([networks.run(signal), made.run(signal)]);
    };
    const parts = [driver?.run(signal), podman.run(signal), names.run(signal), follow()];
    changes.notify();
    try {
      await Promise.all(parts);
    } finally {
      this.#onAttachment = () => undefined;
      unfollow();
      // The next round takes the same sockets and files.
      end();
      await Promise.allSettled(parts);
    }
  }

  async #openDriver(
    networks: NamedNetworks,
    host: HostId,
    segments: () => SegmentHost | null,
  ): Promise<DockerDriver> {
    const { runtime, docker, stateDir } = this.#options;
    const links = new SegmentLinks({ ...runtime, segments, changes: this.#changes });
    return await DockerDriver.open({
      ...{ ...this.#options, ...runtime, host, links, stateDir: join(stateDir, "docker") },
      ...{ feed: networks.feed, catalogue: networks.catalogue, book: networks.book },
      ...{ pluginSocket: docker.pluginSocket, engineSocket: docker.engineSocket },
      recordRestoration: (...notice) => networks.recordRestoration(...notice),
      localPrefixes: () => networks.localPrefixes(),
    });
  }

  #factsOf({ host: { uplinks, hasIpv6 } }: Attachment, host: HostId) {
    const { identity } = this.#options;
    return {
      host,
      uplinks,
      hasIpv6,
      port: VXLAN_PORT,
      macFor: (device: string) => identity.deviceMac(device),
    };
  }
}

/** Resolves to null when the signal fires. */
function ended(signal: AbortSignal): Promise<null> {
  if (signal.aborted) return Promise.resolve(null);
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(null), { once: true });
  });
}
