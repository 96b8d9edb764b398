/**
 * What serves the container engines from one start to the next failure: named networks on this host, Docker's driver,
 * podman's containers and the name server. They are opened together, and end together.
 */

import { join } from "node:path";
import { findLink } from "../../backends/attachment/links.ts";
import { deleteLoosePair } from "../../backends/attachment/loose-pair.ts";
import type { HostId } from "../../ipam/named-networks/named-network.ts";
import { fired, type PartSignal } from "../../ipam/part-signal.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";
import type { DockerSettings, FirewallSettings } from "../config/config.ts";
import type { Changes } from "../docker-driver/changes.ts";
import { DockerDriver } from "../docker-driver/docker-driver.ts";
import { SegmentLinks } from "../docker-driver/segment-links.ts";
import type { Identity } from "../host/identity.ts";
import { NamedNetworks } from "../named-networks/named-networks.ts";
import { joinedClients } from "../names/clients.ts";
import type { NameService } from "../names/name-service.ts";
import { PodmanContainers } from "../netavark/podman-containers.ts";
import type { Runtime } from "../network/runtime.ts";
import { HostSegments } from "./host-segments.ts";

export interface EnginePartsOptions {
  readonly runtime: Runtime;
  readonly docker: DockerSettings;
  readonly firewall: Pick<FirewallSettings, "openPort">;
  readonly store: NetworkStore;
  readonly identity: Identity;
  readonly stateDir: string;
  readonly hostName: string;
  readonly version: string;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly dateMs: () => number;
  readonly isLeaseHeld: () => boolean;
  readonly isDockerWanted: boolean;
  /** Notified when the devices or the view of the networks have changed. */
  readonly changes: Changes;
}

export interface EngineParts {
  /** Ends with the daemon, with the first part that fails, and when this host gets another identity. */
  readonly life: PartSignal;
  /** Under whose identity they were opened. */
  readonly host: HostId;
  readonly networks: NamedNetworks;
  readonly segments: HostSegments;
  readonly podman: PodmanContainers;
  /** Null where Docker is not wanted. */
  readonly driver: DockerDriver | null;
  readonly names: NameService;
}

/** Reads what the last run left, and listens for Docker. Throws ConflictError, and what the file system throws. */
export async function openParts(options: EnginePartsOptions, life: PartSignal): Promise<EngineParts> {
  const { runtime, identity, stateDir, changes, isDockerWanted } = options;
  const host = identity.nodeId as HostId;
  // Only hosts with named networks need the name server and its library.
  const { NameService } = await import("../names/name-service.ts");
  const networks = new NamedNetworks({ ...options, host });
  const { feed, book } = networks;
  const segments = new HostSegments({ ...options, feed, host });
  const podman = new PodmanContainers({
    ...{ ...runtime, feed, book, host, changes, stateDir },
    segments: () => segments.current,
    pairs: {
      has: (port) => findLink(runtime.netlink, port) !== null,
      remove: (port) => deleteLoosePair(runtime.netlink, port),
    },
  });
  const driver = isDockerWanted ? await openDriver(options, networks, segments, host) : null;
  const clients = joinedClients(driver === null ? [podman] : [podman, driver.clients]);
  const names = new NameService({ runtime, view: () => feed.view, clients });
  return { life, host, networks, segments, podman, driver, names };
}

/** Runs until their life ends. `begin` is called once they run. Rejects with its error, or with that of a part. */
export async function runParts(parts: EngineParts, changes: Changes, begin: () => void): Promise<void> {
  const { signal, end } = parts.life;
  const unfollow = parts.networks.feed.onChange(() => changes.notify());
  const running = [
    parts.driver?.run(signal),
    parts.podman.run(signal),
    parts.names.run(signal),
    runNetworks(parts, signal),
  ];
  try {
    begin();
    changes.notify();
    await Promise.all(running);
  } finally {
    unfollow();
    // The next parts take the same sockets and files.
    end();
    await Promise.allSettled(running);
  }
}

async function runNetworks({ networks, segments }: EngineParts, signal: AbortSignal): Promise<void> {
  const made = await Promise.race([segments.first, fired(signal)]);
  if (made !== null) await Promise.all([networks.run(signal), made.run(signal)]);
}

async function openDriver(
  { runtime, docker, changes, ...options }: EnginePartsOptions,
  networks: NamedNetworks,
  segments: HostSegments,
  host: HostId,
): Promise<DockerDriver> {
  const links = new SegmentLinks({ ...runtime, segments: () => segments.current, changes });
  return await DockerDriver.open({
    ...{ ...options, ...runtime, host, links, stateDir: join(options.stateDir, "docker") },
    ...{ feed: networks.feed, catalogue: networks.catalogue, book: networks.book },
    ...{ pluginSocket: docker.pluginSocket, engineSocket: docker.engineSocket },
    recordRestoration: (...notice) => networks.recordRestoration(...notice),
    localPrefixes: () => networks.localPrefixes(),
  });
}
