/** Everything that serves names on this host, put together: the address, the server, the forwarder. */

import { Reconciler, type ReconcilerStatus } from "../../backends/kernel/reconciler.ts";
import { guarded } from "../../ipam/faults.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import type { Runtime } from "../network/runtime.ts";
import type { NameClients } from "./clients.ts";
import { Forwarder } from "./forwarder.ts";
import { localSources } from "./local-sources.ts";
import { NameServer, type NameServerStatus } from "./name-server.ts";
import { NAME_SERVER_OBJECT, NAME_SERVER_SCOPE } from "./name-server-address.ts";
import { ResolvConf } from "./resolv-conf.ts";

export interface NameServiceOptions {
  readonly runtime: Pick<Runtime, "clock" | "random" | "logger" | "faults" | "port" | "netlink">;
  /** What is known of the named networks now, in memory. */
  readonly view: () => Pick<NamedNetworksView, "networks" | "members">;
  readonly clients: NameClients;
  /** The host's resolvers; default /etc/resolv.conf. */
  readonly resolvConf?: string;
}

export interface NameServiceStatus extends NameServerStatus {
  /** Addresses of the host's resolvers. */
  readonly resolvers: readonly string[];
}

export class NameService {
  readonly #server: NameServer;
  readonly #reconciler: Reconciler;
  readonly #resolvConf: ResolvConf;

  constructor({ runtime, view, clients, resolvConf = "/etc/resolv.conf" }: NameServiceOptions) {
    const { clock, random, logger, faults, port, netlink } = runtime;
    this.#resolvConf = new ResolvConf({ path: resolvConf, clock, logger });
    this.#server = new NameServer({
      clock,
      random,
      logger,
      view,
      clients,
      forwarder: new Forwarder({ clock, upstreams: () => this.#resolvConf.upstreams }),
      readSources: () => localSources(takeHostSnapshot(netlink)),
    });
    this.#reconciler = new Reconciler({
      port,
      clock,
      logger,
      random,
      scope: NAME_SERVER_SCOPE,
      onHostChange: guarded(faults, "following the bridges of containers", () => this.#server.hostChanged()),
    });
    this.#reconciler.setDesired({ type: "whole", groups: new Map([["names", [NAME_SERVER_OBJECT]]]) });
  }

  /** Serves until `signal` fires. The address stays, so that containers get an error at once, not silence. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#reconciler.run(signal), this.#server.run(signal)]);
  }

  /** Resolves when the address exists. Rejects when `signal` fires. */
  ready(signal: AbortSignal): Promise<void> {
    return this.#reconciler.settled(signal);
  }

  status(): NameServiceStatus {
    const { problem, ...server } = this.#server.status;
    const resolvers = this.#resolvConf.upstreams.map(({ host }) => host);
    return { ...server, resolvers, problem: problem ?? addressProblem(this.#reconciler.status()) };
  }
}

function addressProblem({ conflicts, failures, trouble }: ReconcilerStatus): string | null {
  const [conflict] = conflicts;
  if (conflict !== undefined) return `${conflict.key}: ${conflict.reason}`;
  return failures[0]?.message ?? trouble;
}
