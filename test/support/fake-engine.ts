/**
 * A fake Docker Engine for tests of the driver: it calls the plugin socket in dockerd's order, as measured of 20.10 and
 * 28.5, and serves the part of the Engine API that the driver uses.
 *
 * Beside Docker's networks of the tests' users it knows those that the driver creates, and it can be killed and started.
 */

import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { FakeEngineEvents } from "./fake-engine-events.ts";
import type {
  ApiNetwork,
  CreateOptions,
  EngineContainer,
  EngineNetwork,
  EnginePool,
} from "./fake-engine-model.ts";
import { bare, shownContainer, shownNetwork } from "./fake-engine-views.ts";
import { callPlugin, readText } from "./plugin-call.ts";

/** The subnets that dockerd takes of its own, for networks with its own IPAM driver. */
const DEFAULT_SUBNETS = ["172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16"];

/** From the answer to Join until the engine lists the container with its endpoint. */
const CONNECTING_MS = 5;

export class FakeEngine {
  readonly networks = new Map<string, EngineNetwork>();
  readonly containers = new Map<string, EngineContainer>();
  readonly calls: string[] = [];
  /** The id of the network "none", which dockerd makes with its database. */
  database = randomBytes(32).toString("hex");
  readonly events = new FakeEngineEvents();
  /** Resolves when containers have started: until then the engine answers no question about one. */
  starting: Promise<void> = Promise.resolve();
  /** Resolves when a list of networks that was made is answered. */
  listing: Promise<void> = Promise.resolve();
  /** Resolves when a network that is being removed, which no list shows any more, is taken from its driver. */
  removing: Promise<void> = Promise.resolve();
  readonly #leaving = new Set<string>();
  readonly #apiSocket: string;
  readonly #pluginSocket: string;
  #server: Server | null = null;
  #defaultSubnets = 0;

  constructor(apiSocket: string, pluginSocket: string) {
    this.#apiSocket = apiSocket;
    this.#pluginSocket = pluginSocket;
  }

  /** Serves the API; containers that a killed engine left are cleaned up as dockerd does, once the plugin answers. */
  async start(): Promise<void> {
    this.events.forget();
    const server = createServer((incoming, response) => {
      this.#serve(incoming, response).catch((error: unknown) => {
        const status = error instanceof ApiError ? error.status : 500;
        sendJson(response, status, { message: error instanceof Error ? error.message : String(error) });
      });
    });
    rmSync(this.#apiSocket, { force: true });
    await new Promise<void>((resolve) => server.listen(this.#apiSocket, resolve));
    this.#server = server;
  }

  /** Ends without a word, as after SIGKILL: endpoints stay. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const container of this.containers.values()) container.isRunning = false;
    await new Promise<void>((resolve) => {
      server?.close(() => resolve());
      server?.closeAllConnections();
      if (!server) resolve();
    });
  }

  /** What dockerd does with the endpoints of a killed one. */
  async cleanUp(): Promise<void> {
    for (const container of this.containers.values())
      for (const network of [...container.endpoints.keys()])
        await this.disconnect(container.name, network).catch(() => undefined);
  }

  network(name: string): EngineNetwork {
    const found = [...this.networks.values()].find((each) => each.name === name || each.id === name);
    if (found === undefined) throw new ApiError(404, `network ${name} not found`);
    return found;
  }

  container(name: string): EngineContainer {
    const found = [...this.containers.values()].find((each) => each.name === name || each.id === name);
    if (found === undefined) throw new ApiError(404, `No such container: ${name}`);
    return found;
  }

  /** `docker network create`. Returns its id. */
  async create(name: string, options: CreateOptions = {}): Promise<string> {
    if ([...this.networks.values()].some((network) => network.name === name))
      throw new ApiError(409, `network with name ${name} already exists`);
    const id = randomBytes(32).toString("hex");
    const pools = await this.#allocate(options);
    if ((options.driver ?? "tulle") === "tulle") {
      try {
        await this.#createNetwork(id, options, pools);
      } catch (error) {
        await this.#releasePools(options, pools);
        throw error;
      }
    }
    this.networks.set(id, { id, name, options, pools });
    this.events.emit("network", "create", id, { name });
    return id;
  }

  /** `docker network rm`. Errors of ReleasePool and DeleteNetwork are ignored, as dockerd does. */
  async remove(name: string): Promise<void> {
    const network = this.network(name);
    const isUsed = [...this.containers.values()].some(({ endpoints }) => endpoints.has(network.id));
    if (isUsed) throw new ApiError(403, `network ${network.name} has active endpoints`);
    this.#leaving.add(network.id);
    await this.removing;
    await this.#releasePools(network.options, network.pools).catch(() => undefined);
    if ((network.options.driver ?? "tulle") === "tulle")
      await this.call("NetworkDriver.DeleteNetwork", { NetworkID: network.id }).catch(() => undefined);
    this.networks.delete(network.id);
    this.#leaving.delete(network.id);
    this.events.emit("network", "destroy", network.id, { name: network.name });
  }

  /** `docker run --network NETWORK --name NAME`. Returns the address. */
  async run(
    name: string,
    networkName: string,
    options: { readonly ip?: string; readonly mac?: string; readonly aliases?: readonly string[] } = {},
  ): Promise<string> {
    const container: EngineContainer = {
      ...{ id: randomBytes(32).toString("hex"), name, isRunning: true, restartPolicy: "no", error: "" },
      endpoints: new Map(),
    };
    this.containers.set(container.id, container);
    try {
      return await this.connect(name, networkName, options);
    } catch (error) {
      this.containers.delete(container.id);
      throw error;
    }
  }

  async connect(
    name: string,
    networkName: string,
    options: { readonly ip?: string; readonly mac?: string; readonly aliases?: readonly string[] } = {},
  ): Promise<string> {
    const network = this.network(networkName);
    const container = this.container(name);
    const [pool] = network.pools;
    if (pool === undefined) throw new Error("a network without a pool");
    const { Address } = await this.call("IpamDriver.RequestAddress", {
      ...{ PoolID: pool.poolId, Address: options.ip ?? "", Options: null },
    });
    const address = String(Address);
    const endpoint = randomBytes(32).toString("hex");
    const ids = { NetworkID: network.id, EndpointID: endpoint };
    const isOurs = (network.options.driver ?? "tulle") === "tulle";
    let sourceName = "";
    let mac: string | undefined;
    try {
      if (isOurs) {
        const Interface = { Address: address, AddressIPv6: "", MacAddress: options.mac ?? "" };
        const { Interface: given } = await this.call("NetworkDriver.CreateEndpoint", {
          ...{ ...ids, Interface, Options: {} },
        });
        const { MacAddress } = given as { MacAddress?: string };
        if (options.mac !== undefined && MacAddress !== undefined)
          throw new Error("driver set a MAC that was given");
        mac = MacAddress ?? options.mac;
      }
      const record = {
        id: endpoint,
        address,
        poolId: pool.poolId,
        ...(mac !== undefined && { mac }),
        aliases: options.aliases ?? [],
        sourceName,
        isConnecting: isOurs,
      };
      container.endpoints.set(network.id, record);
      if (isOurs) {
        const joined = await this.call("NetworkDriver.Join", {
          ...ids,
          SandboxKey: "/var/run/docker/netns/1",
        });
        sourceName = String((joined.InterfaceName as { SrcName: string }).SrcName);
        await new Promise((resolve) => setTimeout(resolve, CONNECTING_MS));
        container.endpoints.set(network.id, { ...record, sourceName, isConnecting: false });
      }
    } catch (error) {
      container.endpoints.delete(network.id);
      if (isOurs) await this.call("NetworkDriver.DeleteEndpoint", ids).catch(() => undefined);
      await this.call("IpamDriver.ReleaseAddress", { PoolID: pool.poolId, Address: bare(address) });
      throw error;
    }
    this.events.emit("network", "connect", network.id, { name: network.name, container: container.id });
    this.events.emit("container", "start", container.id, { name });
    return bare(address);
  }

  /** CreateEndpoint with an address that dockerd's own IPAM driver gave. */
  async connectRaw(networkName: string, Address: string): Promise<void> {
    const ids = { NetworkID: this.network(networkName).id, EndpointID: randomBytes(32).toString("hex") };
    await this.call("NetworkDriver.CreateEndpoint", { ...ids, Interface: { Address }, Options: {} });
  }

  async disconnect(name: string, networkName: string): Promise<void> {
    const network = this.network(networkName);
    const container = this.container(name);
    const endpoint = container.endpoints.get(network.id);
    if (endpoint === undefined) return;
    const ids = { NetworkID: network.id, EndpointID: endpoint.id };
    if ((network.options.driver ?? "tulle") === "tulle") {
      await this.call("NetworkDriver.Leave", ids);
      await this.call("NetworkDriver.DeleteEndpoint", ids);
    }
    await this.call("IpamDriver.ReleaseAddress", {
      PoolID: endpoint.poolId,
      Address: bare(endpoint.address),
    });
    container.endpoints.delete(network.id);
    this.events.emit("network", "disconnect", network.id, { name: network.name, container: container.id });
  }

  /** `docker rm -f`. */
  async removeContainer(name: string): Promise<void> {
    const container = this.container(name);
    for (const network of [...container.endpoints.keys()]) await this.disconnect(name, network);
    this.containers.delete(container.id);
    this.events.emit("container", "destroy", container.id, { name });
  }

  /** The container ends, and its restart policy fails with this error. */
  failRestart(name: string, error: string): void {
    const container = this.container(name);
    Object.assign(container, { isRunning: false, restartPolicy: "always", error });
    this.events.emit("container", "die", container.id, { name });
  }

  rename(name: string, to: string): void {
    const container = this.container(name);
    container.name = to;
    this.events.emit("container", "rename", container.id, { name: to, oldName: `/${name}` });
  }

  async call(method: string, body: object): Promise<Record<string, unknown>> {
    this.calls.push(method);
    return await callPlugin(this.#pluginSocket, method, body);
  }

  async #allocate(options: CreateOptions): Promise<readonly EnginePool[]> {
    if ((options.ipamDriver ?? "default") === "default") return [this.#defaultPool(options)];
    const configs = options.config ?? [{}, ...(options.hasIpv6 ? [{ isIpv6: true }] : [])];
    const pools: EnginePool[] = [];
    try {
      for (const config of configs) pools.push(await this.#requestPool(options, config));
    } catch (error) {
      await this.#releasePools(options, pools);
      throw error;
    }
    return pools;
  }

  async #requestPool(
    { ipamOptions = {}, aux = [] }: CreateOptions,
    config: { Subnet?: string; IPRange?: string; Gateway?: string; isIpv6?: boolean },
  ): Promise<EnginePool> {
    await this.call("IpamDriver.GetDefaultAddressSpaces", {});
    const V6 = config.isIpv6 ?? config.Subnet?.includes(":") ?? false;
    const pool = await this.call("IpamDriver.RequestPool", {
      ...{ AddressSpace: "tulle", Pool: config.Subnet ?? "", SubPool: config.IPRange ?? "", V6 },
      Options: ipamOptions,
    });
    const poolId = String(pool.PoolID);
    try {
      const Options = { RequestAddressType: "com.docker.network.gateway" };
      const body = { PoolID: poolId, Address: config.Gateway ?? "", Options };
      const gateway = await this.call("IpamDriver.RequestAddress", body);
      for (const Address of aux)
        await this.call("IpamDriver.RequestAddress", { PoolID: poolId, Address, Options: null });
      return { poolId, subnet: String(pool.Pool), gateway: String(gateway.Address) };
    } catch (error) {
      await this.call("IpamDriver.ReleasePool", { PoolID: poolId });
      throw error;
    }
  }

  #defaultPool({ config: [config] = [] }: CreateOptions): EnginePool {
    const subnet = config?.Subnet ?? DEFAULT_SUBNETS[this.#defaultSubnets++ % 3] ?? "";
    const base = subnet.replace(/\d+\/(\d+)$/, "1/$1");
    return { poolId: "", subnet, gateway: base };
  }

  async #createNetwork(id: string, options: CreateOptions, pools: readonly EnginePool[]): Promise<void> {
    const isOurs = (options.ipamDriver ?? "default") !== "default";
    const data = pools.map(({ subnet, gateway }) => ({
      ...{
        AddressSpace: isOurs ? "tulle" : "LocalDefault",
        Pool: subnet,
        Gateway: gateway,
        AuxAddresses: {},
      },
    }));
    await this.call("NetworkDriver.CreateNetwork", {
      NetworkID: id,
      IPv4Data: data.filter(({ Pool }) => !Pool.includes(":")),
      IPv6Data: data.filter(({ Pool }) => Pool.includes(":")),
      Options: {
        "com.docker.network.generic": options.options ?? {},
        "com.docker.network.enable_ipv6": options.hasIpv6 ?? false,
        ...(options.isInternal && { "com.docker.network.internal": true }),
      },
    });
  }

  async #releasePools(
    { ipamDriver = "default" }: CreateOptions,
    pools: readonly EnginePool[],
  ): Promise<void> {
    if (ipamDriver === "default") return;
    for (const { poolId, gateway } of pools) {
      await this.call("IpamDriver.ReleaseAddress", { PoolID: poolId, Address: bare(gateway) });
      await this.call("IpamDriver.ReleasePool", { PoolID: poolId });
    }
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(incoming.url ?? "/", "http://docker");
    const route = `${incoming.method} ${url.pathname}`;
    const [, , id = "", action = ""] = url.pathname.split("/");
    if (route === "GET /events") return this.events.tell(url.searchParams.has("until"), response);
    if (route === "GET /networks") {
      const shown = [...this.networks.values()].filter(({ id }) => !this.#leaving.has(id));
      const list = shown.map((each) => shownNetwork(each, this.containers.values()));
      await this.listing;
      return sendJson(response, 200, [...list, { Id: this.database, Name: "none", Driver: "null" }]);
    }
    if (route === "GET /containers/json")
      return sendJson(
        response,
        200,
        [...this.containers.values()].filter((each) => !each.isRunning).map((each) => ({ Id: each.id })),
      );
    if (route === "POST /networks/create") {
      const Id = await this.#createByApi(JSON.parse(await readText(incoming)));
      return sendJson(response, 201, { Id });
    }
    if (route === `GET /networks/${id}`)
      return sendJson(response, 200, shownNetwork(this.network(id), this.containers.values()));
    if (route === `DELETE /networks/${id}`) {
      await this.remove(id);
      return sendJson(response, 204, null);
    }
    if (route === `POST /containers/${id}/start` && action === "start") {
      this.container(id).isRunning = true;
      return sendJson(response, 204, null);
    }
    await this.starting;
    if (route === `GET /containers/${id}/json`)
      return sendJson(
        response,
        200,
        shownContainer(this.container(id), (network) => this.network(network).name),
      );
    throw new ApiError(404, `no route ${route}`);
  }

  #createByApi(body: ApiNetwork): Promise<string> {
    return this.create(body.Name, {
      ...{ driver: body.Driver, ipamDriver: body.IPAM.Driver, ipamOptions: body.IPAM.Options },
      ...{ config: body.IPAM.Config, options: body.Options, labels: body.Labels },
      ...{ isInternal: body.Internal, hasIpv6: body.EnableIPv6 },
    });
  }
}

class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(value === null ? "" : JSON.stringify(value));
}
