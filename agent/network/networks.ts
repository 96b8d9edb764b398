/**
 * All networks of one daemon. Each runs on its own: one that fails is reported and started again, the others go on.
 *
 * They share the host's kernel port, the store's connection and the control socket. Every name that a network owns in
 * the kernel, the file system or a report carries the network's name; the first one keeps flannel's.
 */

import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import type { Prefix } from "../../ipam/addresses/ip.ts";
import { Backoff, pause } from "../../ipam/clock.ts";
import { ConfigError, errorMessage, TulleError } from "../../ipam/errors.ts";
import type { HostProfile } from "../../ipam/hosts/host-profile.ts";
import { errorFields, type LogFields, type Logger } from "../../ipam/log.ts";
import type { StoreConnection } from "../../ipam/stores/contracts.ts";
import type { FirewallSettings } from "../config/config.ts";
import type { Identity } from "../host/identity.ts";
import type { TargetList } from "../probes/target-list.ts";
import type { NetworkSummary } from "../report/status.ts";
import type { Attachment } from "./attachment.ts";
import { HostFirewall } from "./host-firewall.ts";
import { NetworkAgent } from "./network-agent.ts";
import type { NetworkSettings } from "./network-settings.ts";
import { isReady } from "./problems.ts";
import type { Runtime } from "./runtime.ts";
import type { ShownNetwork } from "./shown-network.ts";

export interface NetworksOptions {
  readonly runtime: Runtime;
  /** At least one; the first is the one with flannel's names. */
  readonly networks: readonly NetworkSettings[];
  readonly connection: StoreConnection;
  readonly identity: Identity;
  readonly version: string;
  /** What this host says of itself to people. */
  readonly profile: HostProfile;
  /** Called when the first network's interface, addresses or local prefixes are known or have changed. */
  readonly onAttachment?: (attachment: Attachment, plans: JointPlans) => void;
  /** What is wrong beside the networks on this host, one sentence each; the first network's status shows it. */
  readonly hostProblems?: () => readonly string[];
  /** Called once, when packets can flow in every network. */
  readonly onReady: () => void;
}

const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 60_000;

/** One network and why it does not run at the moment. */
interface Slot {
  settings: NetworkSettings;
  agent: NetworkAgent;
  failure: string | null;
  /** By an agent before this one. */
  wasJoined: boolean;
}

export class Networks {
  readonly #options: NetworksOptions;
  readonly #slots: readonly [Slot, ...Slot[]];
  readonly #unready: Set<Slot>;
  readonly #firewall: HostFirewall;

  constructor(options: NetworksOptions) {
    this.#options = options;
    const [first] = requireDistinct(options.networks);
    this.#firewall = new HostFirewall(first.firewall, options.runtime);
    const others = options.networks.slice(1);
    this.#slots = [this.#makeSlot(first), ...others.map((settings) => this.#makeSlot(settings))];
    this.#unready = new Set(this.#slots);
  }

  /** True while this host is a working member of all its networks. */
  get isReady(): boolean {
    return this.#slots.every(({ agent, failure }) => failure === null && isReady(agent.problems));
  }

  /** True while this host's lease in the first network cannot have expired. */
  get isLeaseHeld(): boolean {
    return this.#slots[0]?.agent.isLeaseHeld ?? false;
  }

  /** One line without a full stop: what this host is in each network, or why it is not ready. */
  get summary(): string {
    return this.#slots
      .map(({ settings: { name }, agent, failure }) => {
        const text = failure ?? agent.summary;
        return name === null ? text : `${name}: ${text}`;
      })
      .join("; ");
  }

  /** What the control socket shows, the first network first. */
  reports(): readonly NetworkSummary[] {
    return this.#slots.map(reportOf);
  }

  /** The report of the first network. */
  get firstReport(): NetworkSummary {
    return reportOf(this.#slots[0]);
  }

  /** What the page shows of the first network; null before it is joined. */
  get shown(): ShownNetwork | null {
    return this.#slots[0]?.agent.shown ?? null;
  }

  /** What the first network has to probe; null before it is joined. */
  get targets(): TargetList | null {
    return this.#slots[0]?.agent.targets ?? null;
  }

  /** Puts the firewall settings of a reload in force. */
  setFirewall(settings: FirewallSettings): void {
    this.#firewall.setResyncSeconds(settings.resyncSeconds);
    for (const slot of this.#slots) {
      slot.settings = { ...slot.settings, firewall: settings };
      slot.agent.setFirewall(settings);
    }
  }

  /** Has everything read again from the store, the kernel and the firewall: an event may have been lost. */
  resync(reason: string): void {
    this.#options.connection.redial();
    for (const { agent } of this.#slots) agent.resync(reason);
  }

  /** Runs until `signal` fires. Rejects when the only network of the daemon cannot be joined with these settings. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await Promise.all(this.#slots.map((slot) => this.#keepRunning(slot, signal)));
    } finally {
      await this.#firewall.stop();
    }
  }

  async #keepRunning(slot: Slot, signal: AbortSignal): Promise<void> {
    const { clock, random, logger } = this.#options.runtime;
    const backoff = new Backoff({ baseMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
    while (!signal.aborted) {
      const startMs = clock.monotonicMs();
      try {
        await slot.agent.run(signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (this.#endsStart(slot, error)) throw error;
        slot.failure = `the network failed and is started again: ${errorMessage(error)}`;
        logger.error("network failed", { network: slot.settings.name ?? "(first)", ...errorFields(error) });
      }
      await pause(clock, backoff.nextAfterMs(clock.monotonicMs() - startMs), signal);
      slot.wasJoined ||= slot.agent.wasJoined;
      slot.agent = this.#makeAgent(slot.settings, () => slot);
      slot.failure = null;
    }
  }

  /** A person must act, and a service manager shall see it; a network that was joined once is kept at all costs. */
  #endsStart({ agent, wasJoined }: Slot, error: unknown): boolean {
    const isFinal = error instanceof TulleError && !error.retryable;
    return this.#slots.length === 1 && isFinal && !wasJoined && !agent.wasJoined;
  }

  #makeSlot(settings: NetworkSettings): Slot {
    const slot: Slot = {
      settings,
      agent: this.#makeAgent(settings, () => slot),
      failure: null,
      wasJoined: false,
    };
    return slot;
  }

  #makeAgent(settings: NetworkSettings, slot: () => Slot): NetworkAgent {
    const { runtime, connection, identity, version, profile } = this.#options;
    const { name } = settings;
    return new NetworkAgent({
      runtime: { ...runtime, logger: named(runtime.logger, name), metrics: runtime.metrics.of(name) },
      settings,
      connection,
      identity,
      version,
      profile,
      hostFirewall: this.#firewall,
      isolated: () => this.#rangesBeside(slot()),
      onRanges: () => this.#rangesChanged(slot()),
      onAttachment: (attachment, plans) => {
        if (slot() === this.#slots[0]) this.#options.onAttachment?.(attachment, plans);
      },
      hostProblems: () => (slot() === this.#slots[0] ? (this.#options.hostProblems?.() ?? []) : []),
      onReady: () => this.#ready(slot()),
    });
  }

  #rangesBeside(own: Slot): readonly Prefix[] {
    return this.#slots.filter((slot) => slot !== own).flatMap(({ agent }) => agent.ranges);
  }

  #rangesChanged(changed: Slot): void {
    for (const slot of this.#slots) if (slot !== changed) slot.agent.isolationChanged();
  }

  #ready(slot: Slot): void {
    const wasLast = this.#unready.delete(slot) && this.#unready.size === 0;
    if (wasLast) this.#options.onReady();
  }
}

function reportOf({ agent, failure }: Slot): NetworkSummary {
  return failure === null ? agent.report() : { ...agent.report(), isReady: false, summary: failure };
}

/** A log whose lines name the network. */
function named(logger: Logger, network: string | null): Logger {
  if (network === null) return logger;
  const at =
    (level: keyof Logger) =>
    (message: string, fields: LogFields = {}): void =>
      logger[level](message, { network, ...fields });
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Returns the networks. Throws ConfigError when there is none, or when two would own the same name or file. */
function requireDistinct(
  networks: readonly NetworkSettings[],
): readonly [NetworkSettings, ...NetworkSettings[]] {
  const [first, ...others] = networks;
  if (first === undefined) throw new ConfigError("no network is configured");
  for (const field of ["name", "prefix", "subnetFile"] as const) {
    const values = networks.map((settings) => settings[field]);
    const twice = values.find((value, index) => values.indexOf(value) !== index);
    if (twice !== undefined) {
      throw new ConfigError(`two networks have the same ${field} ${twice}: give each network its own`);
    }
  }
  const misnamed = networks.find(({ name }) => name !== null && !/^[a-z0-9]{1,8}$/.test(name));
  if (misnamed !== undefined) {
    throw new ConfigError(
      `network name "${misnamed.name}": use 1 to 8 lower-case letters and digits, which fit into the names of firewall chains`,
    );
  }
  return [first, ...others];
}
