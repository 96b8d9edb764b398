/**
 * What follows CreateNetwork: only after our answer the engine tells the network's name. The network is published in the
 * store, adopted when it exists there, or replaced by one that fits.
 */

import { type Address, entriesOf, type PerFamily } from "../../ipam/addresses/ip.ts";
import { errorMessage, TulleError } from "../../ipam/errors.ts";
import type { PoolRequest } from "../../ipam/named-networks/contracts.ts";
import type { NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import { type DriverContext, isAddressesOnly } from "./context.ts";
import { LAN_KEY } from "./driver-options.ts";
import type { EngineNetwork } from "./engine-model.ts";
import type { EngineNetworks } from "./engine-networks.ts";
import { DRIVER, hasSubnetsOf } from "./mirror-plan.ts";
import { draftedPools, foreignPools, lanPools, requestOf } from "./network-request.ts";
import { type DockerNetwork, draftOf, type PoolRecord } from "./records.ts";

interface Published {
  readonly network: NamedNetwork;
  /** The engine asked for a subnet of a network that was removed since: its PoolIDs name that one. */
  readonly isOfOtherPools: boolean;
}

export class Settlement {
  readonly #context: DriverContext;
  readonly #engineNetworks: EngineNetworks;

  constructor(context: DriverContext, engineNetworks: EngineNetworks) {
    this.#context = context;
    this.#engineNetworks = engineNetworks;
  }

  /**
   * Makes a named network of a user's network, or the user's network one of an existing named one. A network that can
   * never become one is removed from the engine, with a notice. Rejects with an error that is retried.
   */
  async settle(engine: EngineNetwork, docker: DockerNetwork, signal: AbortSignal): Promise<void> {
    const { state } = this.#context;
    let published: Published;
    try {
      published = await this.#publish(engine, docker, signal);
    } catch (error) {
      if (!(error instanceof TulleError) || error.retryable) throw error;
      await this.#discard(engine, errorMessage(error));
      return;
    }
    const { network } = published;
    const reason = reasonToReplace(engine, published);
    const isThere = (): boolean => state.networks.has(docker.dockerId);
    if (reason === null && isThere()) await this.#keep(docker, network);
    // A comparison with an older view would take the network for removed.
    await this.#untilInView(network, signal);
    if (!isThere()) await this.#removeToo(network);
    else if (reason !== null) await this.#replace(engine, network, reason);
  }

  /** Makes a network of addresses for another network driver, such as macvlan. */
  async publishLan(
    engine: EngineNetwork,
    records: readonly PoolRecord[],
    signal: AbortSignal,
  ): Promise<void> {
    const { catalogue, state, changes } = this.#context;
    const named = records.map(({ lan }) => lan).find((lan) => lan !== null && lan !== "");
    const name = named ?? `lan-${`${records[0]?.subnet}`.replaceAll(/[/:]+/g, "-")}`;
    const request = {
      ...{ name, vni: null, isInternal: false, hasBroadcast: false, mtuBytes: null, labels: {} },
      pools: lanPools(records, this.#hostAddresses()),
      options: { [LAN_KEY]: engine.driver },
    };
    const { network } = await catalogue.publish(records.map(draftOf), request, signal);
    for (const record of records) state.pools.set(record.poolId, { ...record, network: network.id });
    await state.saveNetworks();
    await this.#untilInView(network, signal);
    changes.notify();
  }

  async #publish(engine: EngineNetwork, docker: DockerNetwork, signal: AbortSignal): Promise<Published> {
    const { catalogue, state } = this.#context;
    const records = [...state.pools.values()].filter(({ dockerId }) => dockerId === docker.dockerId);
    const pools = this.#poolsOf(engine, docker, records);
    const request = requestOf(engine, docker, pools);
    const { network, created } =
      records.length > 0
        ? await catalogue.publish(records.map(draftOf), request, signal)
        : await catalogue.create(request, signal);
    if (isAddressesOnly(network))
      throw new TulleError(
        "TULLE_CONFLICT",
        `the name belongs to the addresses of a LAN; choose another, or remove it with "tulle network rm ${network.name}"`,
      );
    const hasAllDrafts = entriesOf(docker.pools).every(([family]) =>
      records.some((record) => record.family === family),
    );
    return { network, isOfOtherPools: created && !hasAllDrafts };
  }

  /** Of our IPAM driver: the drafts, and the subnets of a network that exists already. */
  #poolsOf(
    engine: EngineNetwork,
    docker: DockerNetwork,
    records: readonly PoolRecord[],
  ): PerFamily<PoolRequest> {
    if (engine.ipamDriver !== DRIVER) return foreignPools(engine);
    const drafted = draftedPools(records);
    const shared = entriesOf(docker.pools).filter(([family]) => drafted[family] === undefined);
    const given = shared.map(([family, { subnet }]) => [
      family,
      { subnet, allocation: null, gateway: null, excluded: [] },
    ]);
    return { ...drafted, ...Object.fromEntries(given) };
  }

  async #keep(docker: DockerNetwork, network: NamedNetwork): Promise<void> {
    const { state, changes, logger } = this.#context;
    state.networks.set(docker.dockerId, { ...docker, network: network.id });
    for (const [poolId, pool] of state.pools)
      if (pool.dockerId === docker.dockerId) state.pools.set(poolId, { ...pool, network: network.id });
    await state.saveNetworks();
    changes.notify();
    logger.info("docker network published", { network: network.name, id: network.id, vni: network.vni });
  }

  /** The user removed it before we could tell which network of the store it is. */
  async #removeToo({ id }: NamedNetwork): Promise<void> {
    const { state } = this.#context;
    state.removals.add(id);
    await state.saveNetworks();
  }

  async #replace(engine: EngineNetwork, network: NamedNetwork, reason: string): Promise<void> {
    const { logger, state } = this.#context;
    await this.#engineNetworks.delete(engine.dockerId);
    const isHere = [...state.networks.values()].some((docker) => docker.network === network.id);
    if (!isHere) await this.#engineNetworks.create(network);
    logger.info("docker network replaced", { network: network.name, reason });
  }

  async #discard(engine: EngineNetwork, reason: string): Promise<void> {
    await this.#engineNetworks.delete(engine.dockerId);
    this.#context.notices.add(engine.name, `removed from this host's Docker: ${reason}`);
  }

  /** The view follows the store a moment later. */
  async #untilInView({ id }: NamedNetwork, signal: AbortSignal): Promise<void> {
    const { changes, feed } = this.#context;
    if (feed.storeProblem !== null) return;
    await changes.until(() => feed.view.networks.get(id) ?? null, 5_000, signal);
  }

  /** Of all hosts: no container of a LAN may get them. */
  #hostAddresses(): readonly Address[] {
    return [...this.#context.feed.view.hosts.values()].flatMap(({ publicAddresses }) =>
      entriesOf(publicAddresses).map(([, address]) => address),
    );
  }
}

/** Null for a network of the engine that fits. */
function reasonToReplace(engine: EngineNetwork, { network, isOfOtherPools }: Published): string | null {
  if (engine.ipamDriver !== DRIVER) return `its IPAM driver is ${engine.ipamDriver}, not ${DRIVER}`;
  if (!hasSubnetsOf(engine, network)) return "another host created it first, with other subnets";
  return isOfOtherPools ? "the network that had its subnet was being removed" : null;
}
