/**
 * Docker's network and IPAM driver over the named networks of the store.
 *
 * dockerd asks through the plugin socket and is answered from memory and local files, within two seconds, whether the
 * store can be reached or not. What needs dockerd itself, which may be waiting for our answer, happens after the answer:
 * network-keeper.ts for networks, container-keeper.ts for what is known of containers.
 */

import type { Prefix } from "../../ipam/addresses/ip.ts";
import { type Clock, Sleep } from "../../ipam/clock.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";
import type { Logger } from "../../ipam/log.ts";
import type {
  AddressBook,
  NamedNetworksFeed,
  NetworkCatalogue,
} from "../../ipam/named-networks/contracts.ts";
import type { HostId } from "../../ipam/named-networks/named-network.ts";
import type { Metrics } from "../report/metrics.ts";
import { BridgeClients } from "./bridge-clients.ts";
import { Changes } from "./changes.ts";
import { ContainerKeeper } from "./container-keeper.ts";
import type { ContainerLinks, DriverContext } from "./context.ts";
import { DriverState } from "./driver-state.ts";
import { Endpoints } from "./endpoints.ts";
import { EngineClient } from "./engine-client.ts";
import { followEngine, type NetworkEvent } from "./engine-events.ts";
import { EngineNetworks } from "./engine-networks.ts";
import { FailedStarts } from "./failed-starts.ts";
import { IpamDriver } from "./ipam-driver.ts";
import { NetworkDriver } from "./network-driver.ts";
import { NetworkKeeper } from "./network-keeper.ts";
import { type Notice, Notices } from "./notices.ts";
import { type PluginMethod, type PluginServer, RETRIED, servePlugin } from "./plugin-server.ts";
import { Pools } from "./pools.ts";
import { Settlement } from "./settle.ts";

export interface DockerDriverOptions {
  /** /run/docker/plugins/<driver>.sock. */
  readonly pluginSocket: string;
  readonly engineSocket: string;
  /** Folder of the driver's files. */
  readonly stateDir: string;
  readonly host: HostId;
  readonly feed: NamedNetworksFeed;
  readonly catalogue: NetworkCatalogue;
  readonly book: AddressBook;
  readonly links: ContainerLinks;
  readonly recordRestoration: DriverContext["recordRestoration"];
  readonly localPrefixes: () => readonly Prefix[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly dateMs: () => number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly faults: Faults;
}

/** What a person may want to know of the driver. */
export interface DockerDriverStatus {
  readonly socket: string;
  /** Why the engine cannot be asked; null while it answers. */
  readonly engineProblem: string | null;
  readonly networks: readonly {
    readonly dockerId: string;
    /** Null until it is in the store. */
    readonly network: string | null;
    readonly containers: number;
  }[];
  /** `network: problem`. */
  readonly problems: readonly string[];
  readonly notices: readonly Notice[];
}

const PASS_EVERY_MS = 60_000;
/** What happens to a container that starts: none has failed. */
const SUCCESSES: ReadonlySet<string> = new Set(["connect", "start"]);

export class DockerDriver {
  readonly #options: DockerDriverOptions;
  readonly #context: DriverContext;
  readonly #networkKeeper: NetworkKeeper;
  readonly #containerKeeper: ContainerKeeper;
  readonly #failedStarts: FailedStarts;
  /** Which container asks for names. */
  readonly clients: BridgeClients;
  readonly #methods: Readonly<Record<string, PluginMethod>>;
  readonly #idle: Sleep;
  #server: PluginServer | null = null;

  private constructor(options: DockerDriverOptions, state: DriverState) {
    const { clock, random, logger } = options;
    const engine = new EngineClient(options.engineSocket);
    const notices = new Notices(logger, options.dateMs);
    const context = { ...options, state, engine, changes: new Changes(clock), notices };
    this.#options = options;
    this.#context = context;
    this.#idle = new Sleep(clock);
    const engineNetworks = new EngineNetworks(engine, state);
    const pools = new Pools(context);
    const endpoints = new Endpoints(context);
    const settlement = new Settlement(context, engineNetworks);
    const { dateMs } = options;
    this.#networkKeeper = new NetworkKeeper({ context, engineNetworks, settlement, pools, random, dateMs });
    this.#containerKeeper = new ContainerKeeper(context, endpoints, engineNetworks);
    const inspect = (id: string) => this.#containerKeeper.inspect(id);
    this.#failedStarts = new FailedStarts({ context, random, inspect });
    this.clients = new BridgeClients(context, engineNetworks, random);
    const deleting = (dockerId: string): void => this.#networkKeeper.noteDeleted(dockerId);
    const wake = (): void => this.#networkKeeper.wake();
    this.#methods = {
      "Plugin.Activate": () => ({ Implements: ["NetworkDriver", "IpamDriver"] }),
      ...new NetworkDriver({ context, pools, endpoints, deleting, wake }).methods,
      ...new IpamDriver(context, pools, endpoints).methods,
    };
  }

  /** Reads the driver's files and listens. Throws ConflictError, and what the file system throws. */
  static async open(options: DockerDriverOptions): Promise<DockerDriver> {
    const driver = new DockerDriver(options, await DriverState.load(options.stateDir, options.logger));
    const { pluginSocket: path, logger, faults } = options;
    const onCall = (method: string, outcome: string, durationMs: number): void => {
      options.metrics.add("tulle_docker_calls_total", 1, { method, outcome });
      options.metrics.observe("tulle_docker_call_seconds", durationMs / 1000);
    };
    driver.#server = await servePlugin({
      path,
      flag: "--docker-plugin-socket",
      retryNote: RETRIED,
      methods: driver.#methods,
      logger,
      faults,
      onCall,
    });
    logger.info("docker driver serves", { socket: path });
    return driver;
  }

  status(): DockerDriverStatus {
    const { state, feed, notices } = this.#context;
    const { engineProblem, problems } = this.#networkKeeper;
    return {
      socket: this.#options.pluginSocket,
      engineProblem,
      networks: [...state.networks.values()].map(({ dockerId, network }) => ({
        dockerId,
        network: network === null ? null : (feed.view.networks.get(network)?.name ?? network),
        containers: state.endpointsOf(dockerId).length,
      })),
      problems: [...problems].map(([network, problem]) => `network ${network} ${problem}`),
      notices: notices.list,
    };
  }

  /** Runs until `signal` fires; then the socket is gone, and everything else stays. */
  async run(signal: AbortSignal): Promise<void> {
    const { feed, changes } = this.#context;
    let networks = feed.view.networks;
    const unfollow = feed.onChange((view) => {
      changes.notify();
      if (view.networks === networks) return;
      networks = view.networks;
      this.#networkKeeper.wake();
    });
    try {
      await Promise.all([
        this.#networkKeeper.run(signal),
        this.#runContainers(signal),
        this.#failedStarts.run(signal),
        this.clients.run(signal),
        followEngine(this.#context, this.#options.random, this.#handlers(), signal),
      ]);
    } finally {
      unfollow();
      await this.#server?.close();
    }
  }

  #handlers() {
    const { faults } = this.#options;
    return {
      onFollowed: () => {
        this.#networkKeeper.wake();
        this.clients.refresh();
        this.#idle.wake();
        this.#failedStarts.wake();
      },
      onNetwork: guarded(faults, "networks of containers", async (event: NetworkEvent) => {
        this.clients.networkChanged(event);
        // A container more on a network leaves nothing to do for the networks.
        if (event.action === "connect") await this.#containerKeeper.learn(event.network);
        else this.#networkKeeper.wake();
      }),
      onContainer: guarded(faults, "names of containers", async (id: string, action: string) => {
        if (!SUCCESSES.has(action)) this.#failedStarts.wake();
        this.clients.containerChanged();
        await this.#containerKeeper.refresh(id);
      }),
    };
  }

  async #runContainers(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#containerKeeper.pass();
      await this.#idle.for(PASS_EVERY_MS, signal);
    }
  }
}
