/**
 * Docker's driver as a part of the daemon: opens what it needs, tells it the host's interface when that is known, and
 * starts it again after a failure. The daemon's own network goes on without it.
 */

import { setMaxListeners } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import { Backoff } from "../../ipam/clock.ts";
import { ConflictError, errorMessage } from "../../ipam/errors.ts";
import { errorFields } from "../../ipam/log.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type { HostId } from "../../ipam/named-networks/named-network.ts";
import { partOf } from "../../ipam/part-signal.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";
import type { DockerSettings, FirewallSettings } from "../config/config.ts";
import { publicAddressesOf } from "../host/choose-interface.ts";
import type { Identity } from "../host/identity.ts";
import { NamedNetworks } from "../named-networks/named-networks.ts";
import { SegmentHost } from "../named-networks/segment-host.ts";
import { NameService, type NameServiceStatus } from "../names/name-service.ts";
import type { Attachment } from "../network/attachment.ts";
import type { Runtime } from "../network/runtime.ts";
import { Changes } from "./changes.ts";
import { DockerDriver, type DockerDriverStatus } from "./docker-driver.ts";
import { SegmentLinks } from "./segment-links.ts";

export interface DockerServiceOptions {
  readonly runtime: Runtime;
  readonly settings: DockerSettings;
  readonly firewall: Pick<FirewallSettings, "openPort">;
  readonly store: NetworkStore;
  readonly identity: Identity;
  readonly stateDir: string;
  readonly hostName: string;
  readonly version: string;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly dateMs: () => number;
  readonly isLeaseHeld: () => boolean;
}

export type DockerServiceStatus = Partial<DockerDriverStatus> & {
  /** Why the driver does not run; null while it does. */
  readonly failure: string | null;
  readonly names?: NameServiceStatus;
};

/** The port of all VXLAN devices of named networks: flannel's, and open where hosts already are peers. */
const VXLAN_PORT = 8472;
const STARTING = "starting";
const RETRY_MS = { baseMs: 1_000, maxMs: 60_000 };
/** Where dockerd is installed by distributions and by Docker's own packages. */
const DOCKERD = [
  "/usr/bin/dockerd",
  "/usr/sbin/dockerd",
  "/usr/local/bin/dockerd",
  "/usr/local/sbin/dockerd",
];

/** Whether the driver is to be served on this host. */
export function isDockerWanted({ plugin, engineSocket }: DockerSettings): boolean {
  if (plugin !== "auto") return plugin === "on";
  return existsSync(engineSocket) || DOCKERD.some((path) => existsSync(path));
}

export class DockerService {
  readonly #options: DockerServiceOptions;
  #attached: readonly [Attachment, JointPlans] | null = null;
  #onAttachment: (attachment: Attachment, plans: JointPlans) => void = () => undefined;
  #driver: DockerDriver | null = null;
  #names: NameService | null = null;
  #networks: NamedNetworks | null = null;
  #segments: SegmentHost | null = null;
  #failure: string | null = STARTING;
  #isOthersTurn = false;

  constructor(options: DockerServiceOptions) {
    this.#options = options;
  }

  status(): DockerServiceStatus {
    const names = this.#names === null ? {} : { names: this.#names.status() };
    return { failure: this.#failure, ...this.#driver?.status(), ...names };
  }

  /** Named networks and their containers; null while they are not followed. */
  get view(): NamedNetworksView | null {
    return this.#networks?.feed.view ?? null;
  }

  /** What is wrong with Docker's named networks on this host, one sentence each. */
  problems(): readonly string[] {
    const isShown = this.#failure !== null && this.#failure !== STARTING && !this.#isOthersTurn;
    const failure = isShown ? [this.#failure] : [];
    const { engineProblem = null, problems = [], networks = [], names } = this.status();
    // A host without such networks need not have an engine that runs.
    const isUsed = networks.length > 0;
    const segments = this.#segments?.status() ?? [];
    return [
      ...failure.map((reason) => `the Docker driver failed and is started again: ${reason}`),
      ...(isUsed && engineProblem !== null ? [`Docker: ${engineProblem}`] : []),
      ...problems.map((problem) => `Docker: ${problem}`),
      ...segments.flatMap(({ name, problems: found }) => found.map((one) => `network ${name}: ${one}`)),
      ...(this.#networks?.feed.problems ?? []),
      ...(this.#networks?.book.problems ?? []),
      ...(isUsed && names?.problem != null ? [`names of containers: ${names.problem}`] : []),
    ];
  }

  /** The interface, the addresses or the links of this host are known or have changed. `plans`: the host's firewall. */
  attached(attachment: Attachment, plans: JointPlans): void {
    this.#attached = [attachment, plans];
    this.#onAttachment(attachment, plans);
  }

  /** Runs until `signal` fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, logger } = this.#options.runtime;
    const backoff = new Backoff({ ...RETRY_MS, random });
    while (!signal.aborted) {
      const round = partOf(signal);
      // Every part listens to it, which Node would report as a leak.
      setMaxListeners(0, round.signal);
      try {
        await this.#round(round.signal, () => round.end());
      } catch (error) {
        this.#failure = errorMessage(error);
        // Of two daemons on one host one serves Docker; the other waits for its turn.
        this.#isOthersTurn = error instanceof ConflictError && this.#options.settings.plugin === "auto";
        if (this.#isOthersTurn) logger.debug("docker driver is another process's", errorFields(error));
        else logger.error("docker driver failed; started again", errorFields(error));
        await clock.sleep(backoff.nextMs(), signal).catch(() => undefined);
      } finally {
        this.#driver = null;
        this.#names = null;
        this.#networks = null;
        this.#segments = null;
        round.end();
      }
    }
  }

  async #round(signal: AbortSignal, end: () => void): Promise<void> {
    const { runtime, identity, settings, firewall, stateDir } = this.#options;
    const host = identity.nodeId as HostId;
    const folder = join(stateDir, "docker");
    const networks = new NamedNetworks({ ...this.#options, host, stateDir });
    const changes = new Changes(runtime.clock);
    let segments: SegmentHost | null = null;
    const links = new SegmentLinks({ ...runtime, segments: () => segments, changes });
    const driver = await DockerDriver.open({
      ...{ ...this.#options, ...runtime, host, links, stateDir: folder },
      ...{ feed: networks.feed, catalogue: networks.catalogue, book: networks.book },
      ...{ pluginSocket: settings.pluginSocket, engineSocket: settings.engineSocket },
      localPrefixes: () => networks.localPrefixes(),
    });
    const names = new NameService({ runtime, view: () => networks.feed.view, clients: driver.clients });
    this.#driver = driver;
    this.#names = names;
    this.#networks = networks;
    this.#failure = null;
    const attached = new Promise<SegmentHost>((resolve) => {
      this.#onAttachment = (attachment, plans) => {
        // The state directory is a copy of another host's: everything is read again under the new identity.
        if (identity.nodeId !== host) return end();
        networks.setHost(publicAddressesOf(attachment.chosen));
        const facts = this.#factsOf(attachment, host);
        if (segments !== null) return segments.setFacts(facts);
        segments = new SegmentHost({ runtime, feed: networks.feed, facts, settings: firewall, plans });
        this.#segments = segments;
        changes.notify();
        resolve(segments);
      };
    });
    if (this.#attached !== null) this.#onAttachment(...this.#attached);
    const ended = new Promise<null>((resolve) => {
      signal.addEventListener("abort", () => resolve(null), { once: true });
    });
    const follow = async (): Promise<void> => {
      const made = await Promise.race([attached, ended]);
      if (made !== null) await Promise.all([networks.run(signal), made.run(signal)]);
    };
    const parts = [driver.run(signal), names.run(signal), follow()];
    try {
      await Promise.all(parts);
    } finally {
      this.#onAttachment = () => undefined;
      // The next round takes the same sockets and files.
      end();
      await Promise.allSettled(parts);
    }
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
