/**
 * The extension backend: commands of the administrator carry the packets.
 *
 *   PreStartupCommand     before the lease; what it prints is published to the peers, who get it on standard input
 *   PostStartupCommand    when this host has its subnet
 *   SubnetAddCommand      for each peer
 *   SubnetRemoveCommand   for each peer that left
 *
 * Variables and order are flannel's (its extension.md); what differs is in docs/adr/0013-extension-commands.md.
 */

import { mapFamilies, type PerFamily } from "../ipam/addresses/ip.ts";
import { ConfigError, errorMessage } from "../ipam/errors.ts";
import type { JsonObject, JsonValue } from "../ipam/json.ts";
import type { Lease } from "../ipam/leases/lease.ts";
import type { BackendOptions, BackendRunner, HostFacts, ProvisionContext, RunnerDeps } from "./backend.ts";
import { DevicelessNetwork, devicelessBackend } from "./deviceless.ts";
import { runCommand } from "./extension/command.ts";
import { type ExtensionCommands, ExtensionRunner } from "./extension/runner.ts";
import { stringOption } from "./options.ts";

/** What a host has to tell its peers is short: a hardware address, a key. A store entry holds it. */
const OUTPUT_LIMIT = 16_384;
const TIMEOUT_MS = 60_000;
const ATTEMPTS = 3;
const RETRY_MS = 1_000;

/** What PreStartupCommand printed, and for which network. */
interface Provision {
  readonly output: string;
  readonly network: string | null;
}

class ExtensionOptions implements BackendOptions {
  readonly commands: ExtensionCommands;
  readonly #provision: Provision | null;

  constructor(commands: ExtensionCommands, provision: Provision | null) {
    this.commands = commands;
    this.#provision = provision;
  }

  async provision({ once, network, logger }: ProvisionContext): Promise<ExtensionOptions> {
    const { PreStartupCommand: command } = this.commands;
    if (command === null) return new ExtensionOptions(this.commands, { output: "", network });
    const output = await once(`PreStartupCommand ${command}`, () => preStartup(command));
    logger.debug("PreStartupCommand has run", { output });
    return new ExtensionOptions(this.commands, { output, network });
  }

  prepare(host: HostFacts): ExtensionNetwork {
    return new ExtensionNetwork(this.commands, host, this.#provision);
  }

  deviceNames(): PerFamily<string> {
    return {};
  }

  lockNames(): readonly string[] {
    return [];
  }

  canAdopt(): boolean {
    return false;
  }

  expectations(): readonly [] {
    return [];
  }

  /** Another command would have to undo what the former one made. */
  unsafeDifferences(other: BackendOptions): readonly string[] {
    if (!(other instanceof ExtensionOptions)) return ["Type"];
    return COMMANDS.filter((name) => other.commands[name] !== this.commands[name]);
  }
}

class ExtensionNetwork extends DevicelessNetwork {
  readonly type = "extension";
  readonly leaseType = "extension";
  readonly isCarriedByOthers = true;
  override readonly leaseData: PerFamily<JsonValue>;
  override readonly startRunner: (deps: RunnerDeps) => BackendRunner;
  readonly #publishes: boolean;

  constructor(commands: ExtensionCommands, host: HostFacts, provision: Provision | null) {
    super(host);
    this.#publishes = commands.PreStartupCommand !== null;
    const { output = "", network = null } = provision ?? {};
    // flannel publishes it once, whatever the families.
    this.leaseData = output === "" ? {} : { 4: output };
    const recordName = network === null ? "extension.json" : `extension-${network}.json`;
    const publicAddresses = mapFamilies(host.uplinks, ({ publicAddress }) => publicAddress);
    const facts = { commands, networks: host.networks, publicAddresses, recordName };
    this.startRunner = (deps) => new ExtensionRunner(facts, deps);
  }

  /** Commands take text only. A PreStartupCommand may print nothing: then the lease has no BackendData. */
  override rejectPeer(lease: Lease): string | null {
    const otherType = super.rejectPeer(lease);
    if (otherType !== null) return otherType;
    const { backendData } = lease.attrs;
    const data = backendData[4] ?? backendData[6];
    if (data !== undefined && typeof data !== "string")
      return `its BackendData ${JSON.stringify(data)} is not a text, as PreStartupCommand prints it; restart that host's agent`;
    if (data !== undefined || !this.#publishes || lease.storeLeaseId !== null) return null;
    return "it is a reservation, and its host has not joined yet";
  }
}

const COMMANDS = [
  "PreStartupCommand",
  "PostStartupCommand",
  "SubnetAddCommand",
  "SubnetRemoveCommand",
] as const;

const HELP: Readonly<Record<(typeof COMMANDS)[number], string>> = {
  PreStartupCommand: "shell command before the lease; what it prints is published to the other hosts",
  PostStartupCommand: "shell command when the host has its subnet",
  SubnetAddCommand: "shell command for each other host",
  SubnetRemoveCommand: "shell command for each host that left",
};

const OPTIONS = COMMANDS.map((key) => ({ key, kind: "text" as const, help: HELP[key] }));

export const extensionBackend = devicelessBackend("extension", OPTIONS, (options: JsonObject) => {
  const [pre, post, add, remove] = COMMANDS.map((name) => stringOption(options, name));
  const commands: ExtensionCommands = {
    PreStartupCommand: pre ?? null,
    PostStartupCommand: post ?? null,
    SubnetAddCommand: add ?? null,
    SubnetRemoveCommand: remove ?? null,
  };
  return new ExtensionOptions(commands, null);
});

/** Its output without white space around it. Throws ConfigError. */
async function preStartup(command: string): Promise<string> {
  const request = { command, environment: {}, input: "", timeoutMs: TIMEOUT_MS, outputLimit: OUTPUT_LIMIT };
  for (let attempt = 1; ; attempt++) {
    try {
      const { stdout, isTruncated } = await runCommand({ ...request, signal: new AbortController().signal });
      if (!isTruncated) return stdout.trim();
      throw new ConfigError(
        `network config: Backend.PreStartupCommand printed more than ${OUTPUT_LIMIT} bytes, and all of it would be published; print only what peers need`,
      );
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      if (attempt < ATTEMPTS) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      else
        throw new ConfigError(
          `network config: Backend.PreStartupCommand failed ${ATTEMPTS} times: ${errorMessage(error)}; run it by hand on this host`,
          { cause: error },
        );
    }
  }
}
