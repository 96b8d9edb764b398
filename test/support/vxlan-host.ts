/** A host for tests of the real kernel: a namespace with an underlay interface, and a reconciler that runs in it. */

import { execFileSync } from "node:child_process";
import type { PreparedBackend } from "../../backends/backend.ts";
import { type PassReport, Reconciler, type ReconcilerOptions } from "../../backends/kernel/reconciler.ts";
import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { Planner } from "../../backends/planner.ts";
import type { Scope } from "../../backends/state/contract/kind.ts";
import type { PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { systemClock } from "../../ipam/clock.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import { silentLogger } from "../../ipam/log.ts";
import { createNetns } from "./netns.ts";
import { allPeers, OWN, peerMap, prepareVxlan, scopeOf } from "./vxlan-fixture.ts";

export interface VxlanHostOptions {
  readonly label?: string;
  readonly scope?: Scope;
  /** Default: IPv4 alone. */
  readonly backend?: PreparedBackend;
  readonly own?: PerFamily<Prefix>;
  readonly reconciler?: Partial<ReconcilerOptions>;
}

/** `under0`, one end of a veth, has 192.168.50.1/16; the tunnel device is `flannel.1`. */
export class VxlanHost {
  readonly netns: ReturnType<typeof createNetns>;
  readonly handle: NetnsHandle;
  readonly backend: PreparedBackend;
  readonly scope: Scope;
  readonly port: RtnetlinkPort;
  readonly reports: PassReport[] = [];
  onHostChange: (device: string) => void = () => undefined;
  planner: Planner;
  reconciler: Reconciler;
  readonly #options: VxlanHostOptions;
  #abort = new AbortController();
  #running: Promise<void> | null = null;

  constructor(options: VxlanHostOptions = {}) {
    this.#options = options;
    this.backend = options.backend ?? prepareVxlan();
    this.netns = createNetns(options.label ?? "host");
    this.handle = NetnsHandle.open(this.netns.path);
    this.scope = options.scope ?? scopeOf(this.backend);
    for (const command of [
      "ip link add under0 type veth peer name under1",
      "ip addr add 192.168.50.1/16 dev under0",
      "ip link set under0 up",
      "ip link set under1 up",
    ]) {
      this.sh(command);
    }
    this.port = RtnetlinkPort.open({ netns: this.handle });
    this.planner = new Planner(this.backend, this.port.hasNexthopObjects);
    this.reconciler = this.#newReconciler();
  }

  /** Starts the loop of the reconciler. */
  start(): this {
    this.#running = this.reconciler.run(this.#abort.signal);
    return this;
  }

  /** Restarts the agent's side with empty memory, as a process restart does; the kernel stays as it was. */
  async restart(): Promise<void> {
    this.#abort.abort();
    await this.#running;
    this.#abort = new AbortController();
    this.planner = new Planner(this.backend, this.port.hasNexthopObjects);
    this.reconciler = this.#newReconciler();
    this.start();
  }

  /** Changes that all passes so far have made. */
  get applied(): number {
    return this.reports.flatMap(({ applied }) => Object.values(applied)).reduce((sum, n) => sum + n, 0);
  }

  plan(...leases: readonly Lease[]): void {
    this.planMap(peerMap(...leases));
  }

  planMap(peers: ReadonlyMap<LeaseKey, Lease>): void {
    this.reconciler.setDesired(this.planner.plan({ own: this.#options.own ?? OWN, peers: allPeers(peers) }));
  }

  async want(...leases: readonly Lease[]): Promise<void> {
    this.plan(...leases);
    await this.settled();
  }

  settled(timeoutMs = 10_000): Promise<void> {
    return this.reconciler.settled(AbortSignal.timeout(timeoutMs));
  }

  /** Runs a shell command in the namespace and returns what it prints. */
  sh(command: string): string {
    return execFileSync("nsenter", [`--net=${this.netns.path}`, "sh", "-c", command], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 1 << 28,
    });
  }

  /** What iproute2 shows of the tunnel and of all routes; ids of nexthop objects, which may change, left out. */
  shown(): string {
    const commands = [
      "ip -d link show flannel.1 | sed 's/^[0-9]*: //; s/link-netnsid [0-9]* //; s/ state [A-Z]* / /'",
      "ip -4 -o addr show dev flannel.1 | sed 's/^[0-9]*: //'",
      "ip route show | sed 's/nhid [0-9]* //' | sort",
      "ip nexthop show | sed 's/^id [0-9]* //' | sort",
      "ip neigh show dev flannel.1 nud permanent | sort",
      "bridge fdb show dev flannel.1 | sort",
      "cat /proc/sys/net/ipv4/conf/flannel.1/forwarding",
    ];
    return this.sh(`{ ${commands.join("; ")}; } 2>&1; true`);
  }

  async dispose(): Promise<void> {
    this.#abort.abort();
    await this.#running;
    this.port.close();
    this.handle.close();
    this.netns.dispose();
  }

  #newReconciler(): Reconciler {
    return new Reconciler({
      port: this.port,
      scope: this.scope,
      clock: systemClock,
      logger: silentLogger,
      random: () => 0.5,
      onPass: (report) => this.reports.push(report),
      onHostChange: (device) => this.onHostChange(device),
      ...this.#options.reconciler,
    });
  }
}
