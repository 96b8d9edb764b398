/** A host over the fake kernel, with a clock that tests move: the reconciler's decisions without a kernel's whims. */

import type { PreparedBackend } from "../../backends/backend.ts";
import { type PassReport, Reconciler } from "../../backends/kernel/reconciler.ts";
import { Planner } from "../../backends/planner.ts";
import type { Scope } from "../../backends/state/contract/kind.ts";
import type { KernelObject } from "../../backends/state/kinds/registry.ts";
import type { PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import type { Logger } from "../../ipam/log.ts";
import { FakeClock } from "./fake-clock.ts";
import { FakeKernel } from "./fake-kernel.ts";
import { allPeers, OWN, peerMap, prepareVxlan, scopeOf } from "./vxlan-fixture.ts";

export interface LogLine {
  readonly level: keyof Logger;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** What the host is part of. Default: a VXLAN network of IPv4. */
export interface FakeNetwork {
  readonly backend: PreparedBackend;
  readonly own: PerFamily<Prefix>;
  readonly scope: Scope;
}

function vxlanNetwork(): FakeNetwork {
  const backend = prepareVxlan();
  return { backend, own: OWN, scope: scopeOf(backend) };
}

export interface FakeHostOptions {
  readonly kernel?: FakeKernel;
  readonly usesNexthops?: boolean;
  readonly network?: FakeNetwork;
}

export class FakeHost {
  readonly kernel: FakeKernel;
  readonly clock = new FakeClock();
  readonly network: FakeNetwork;
  readonly log: LogLine[] = [];
  readonly reports: PassReport[] = [];
  readonly hostChanges: string[] = [];
  reconciler: Reconciler;
  planner: Planner;
  readonly #usesNexthops: boolean;
  #abort = new AbortController();

  constructor(options: FakeHostOptions = {}) {
    this.network = options.network ?? vxlanNetwork();
    this.kernel = options.kernel ?? new FakeKernel();
    this.#usesNexthops = options.usesNexthops ?? false;
    this.planner = this.#newPlanner();
    this.reconciler = this.#start();
  }

  get backend(): PreparedBackend {
    return this.network.backend;
  }

  /** All that this host is to have among these peers. */
  planned(...leases: readonly Lease[]): readonly KernelObject[] {
    const { backend, own } = this.network;
    return [
      ...backend.planBase(own),
      ...leases.flatMap((lease) => backend.planPeer(lease, this.#usesNexthops)),
    ];
  }

  plan(...leases: readonly Lease[]): void {
    this.reconciler.setDesired(
      this.planner.plan({ own: this.network.own, peers: allPeers(peerMap(...leases)) }),
    );
  }

  /** Plans and lets the time pass that the reconciler may need after failures. */
  async want(...leases: readonly Lease[]): Promise<void> {
    this.plan(...leases);
    await this.clock.advance(0);
  }

  /** The daemon dies and another one starts: nothing is known, the kernel is as it was left. */
  async restart(): Promise<void> {
    this.stop();
    await this.clock.advance(0);
    this.planner = this.#newPlanner();
    this.reconciler = this.#start();
  }

  stop(): void {
    this.#abort.abort();
  }

  logged(level: keyof Logger): readonly LogLine[] {
    return this.log.filter((line) => line.level === level);
  }

  #newPlanner(): Planner {
    const { backend } = this;
    if (!this.#usesNexthops) return new Planner(backend, false);
    const always = Object.assign(Object.create(backend), {
      planPeer: (lease: Lease) => backend.planPeer(lease, true),
      planBase: (own: typeof OWN) => backend.planBase(own),
    });
    return new Planner(always, false);
  }

  #start(): Reconciler {
    this.#abort = new AbortController();
    const write =
      (level: keyof Logger) =>
      (message: string, fields: object = {}) => {
        this.log.push({ level, message, fields: { ...fields } });
      };
    const reconciler = new Reconciler({
      port: this.kernel,
      scope: this.network.scope,
      clock: this.clock,
      logger: { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") },
      random: () => 0.5,
      onPass: (report) => this.reports.push(report),
      onHostChange: (device) => this.hostChanges.push(device),
    });
    void reconciler.run(this.#abort.signal);
    return reconciler;
  }
}
