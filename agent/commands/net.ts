/**
 * `tulle net`: writes, shows and checks the network configuration in the store, which all hosts share.
 *
 * The daemons' own parser and backend check a configuration before it is written.
 */

import { readFile } from "node:fs/promises";
import { text as readAll } from "node:stream/consumers";
import { type Command, Option } from "commander";
import { describedOptions } from "../../backends/registry.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { ConfigError, ConflictError, errorMessage } from "../../ipam/errors.ts";
import { escapeJson, escapeText } from "../../ipam/escape.ts";
import type { ConfigEntry } from "../../ipam/stores/contracts.ts";
import { auditLeases } from "../leases/lease-audit.ts";
import { migrationOf } from "../leases/migration.ts";
import {
  checkNetworkConfig,
  hasRange,
  type NetworkOptions,
  networkConfigText,
} from "../network/network-config-text.ts";
import { requireSupport } from "../network/network-support.ts";
import { unknownKeys } from "../network/unknown-keys.ts";
import { type BackendFlag, backendFlags, givenOptions } from "../terminal/backend-flags.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";
import { formatMigration, migrationToJson } from "../terminal/migration-view.ts";
import { formatNetworkConfig, textWithoutSecrets } from "../terminal/network-view.ts";
import { readNamed, STORE_FLAGS, withNetwork } from "../terminal/open-network.ts";

const DEFAULT_TYPE = "vxlan";

interface InitOptions extends NetworkOptions {
  readonly file?: string;
  readonly force?: true;
}

export const net: CommandModule = {
  daemonFlags: STORE_FLAGS,
  define(command, context) {
    defineInit(command.command("init"), context);
    defineShow(command.command("show"), context);
    defineValidate(command.command("validate"), context);
    defineMigrate(command.command("migrate"), context);
  },
};

function defineInit(command: Command, context: CommandContext): void {
  const flags = backendFlags();
  command
    .description("check a network configuration and write it to the store")
    .option("--network <cidr>", "range of the whole network, such as 10.2.0.0/16")
    .option("--subnet-len <bits>", "length of each host's subnet (default: 24 where there is room)")
    .option("--subnet-min <ip>", "first subnet to lease (default: the second of the range)")
    .option("--subnet-max <ip>", "last subnet to lease (default: the last of the range)")
    .option("--ipv6-network <cidr>", "the same for IPv6, which is then enabled")
    .option("--ipv6-subnet-len <bits>", "length of each host's IPv6 subnet (default: 64 where there is room)")
    .option("--ipv6-subnet-min <ip>", "first IPv6 subnet to lease")
    .option("--ipv6-subnet-max <ip>", "last IPv6 subnet to lease")
    .option("--nftables", "use nftables on hosts that have both firewalls")
    .addOption(backendOption())
    .option("--file <file>", "take this JSON instead of the options above; - is standard input")
    .option("--force", "replace another configuration")
    .addHelpText("after", "\nRunning daemons apply what is safe under traffic, and log what needs a restart.")
    .action((options: InitOptions) => init(options, flags, context));
  for (const { option } of flags) command.addOption(option);
}

/** Help and completions list the backends; the parser rejects unknown ones. */
function backendOption(): Option {
  const option = new Option("--backend <type>", "how packets are carried between hosts").default(
    DEFAULT_TYPE,
  );
  option.argChoices = [...describedOptions().keys()];
  return option;
}

function defineShow(command: Command, context: CommandContext): void {
  command
    .description("show the configuration and the values derived from it")
    .option("--json", "print the JSON in the store")
    .action(async (options: { readonly json?: true }) => {
      const entry = await withNetwork(context, ({ store, signal }) => store.config.read(signal));
      const { text } = present(entry);
      if (options.json) context.out.write(`${escapeJson(text).trimEnd()}\n`);
      else {
        const config = parseNetworkConfig(text);
        context.out.write(formatNetworkConfig(config, context.out));
        warnOfUnsupported(config, context);
        warnOfUnknownKeys(config, context);
      }
    });
}

function defineValidate(command: Command, context: CommandContext): void {
  command
    .description("check a configuration as the daemons do")
    .option("--file <file>", "check this file; - is standard input (default: what is in the store)")
    .action(async ({ file }: { readonly file?: string }) => {
      const text =
        file === undefined
          ? present(await withNetwork(context, ({ store, signal }) => store.config.read(signal))).text
          : await readText(file);
      const config = parseNetworkConfig(text);
      requireSupport(config);
      context.out.line(`valid: ${summaryOf(config)}`);
      warnOfUnknownKeys(config, context);
    });
}

function defineMigrate(command: Command, context: CommandContext): void {
  command
    .description("list the hosts that have not followed a change of the backend")
    .option("--json", "print one object, for programs")
    .addHelpText("after", "\nExit code: 0 all hosts have the backend of the configuration, 1 some have not.")
    .action(async ({ json }: { readonly json?: true }) => {
      const { listing, hosts } = await withNetwork(context, readNamed);
      const migration = migrationOf(auditLeases(listing));
      if (migration.behind.length > 0) context.exitWith(1);
      if (json) context.out.json(migrationToJson(migration, hosts));
      else context.out.write(formatMigration(migration, hosts, context.out));
    });
}

async function init(
  options: InitOptions,
  flags: readonly BackendFlag[],
  context: CommandContext,
): Promise<void> {
  const text = await textToWrite(options, flags);
  const config = checkNetworkConfig(text);
  const summary = summaryOf(config);
  warnOfUnsupported(config, context);
  warnOfUnknownKeys(config, context);
  await withNetwork(context, async ({ store, signal }) => {
    const before = await store.config.read(signal);
    if (before?.text === text) {
      context.out.line(`unchanged: ${summary}`);
      return;
    }
    if (before !== null && !options.force) throw alreadyThere(before, store.description);
    await store.config.write(text, before, signal);
    context.out.line(`written to ${store.description}: ${summary}`);
  });
}

/** Options and a file together would be ambiguous. */
async function textToWrite(options: InitOptions, flags: readonly BackendFlag[]): Promise<string> {
  const { file, force: _, backend, ...others } = options;
  if (file === undefined) {
    if (!hasRange(others))
      throw new ConfigError(
        "Network is missing: give its range, such as --network=10.2.0.0/16, or --ipv6-network, or --file",
      );
    const given = new Map(Object.entries(others) as [string, string | true][]);
    return networkConfigText(options, givenOptions(flags, backend.toLowerCase(), given));
  }
  const other = Object.keys(others)[0] ?? (backend === DEFAULT_TYPE ? undefined : "backend");
  if (other === undefined) return await readText(file);
  const flag = other.replace(/[A-Z]|6(?=[A-Z])/g, (part) => (part === "6" ? "6" : `-${part.toLowerCase()}`));
  throw new ConfigError(`--file ${file} and --${flag} exclude each other: write all of it into the file`);
}

/** Without blanks around it, nor the byte order mark that some editors put in front. */
async function readText(file: string): Promise<string> {
  if (file === "-") return (await readAll(process.stdin)).trim();
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    throw new ConfigError(`--file ${file} cannot be read: ${errorMessage(error)}`, { cause: error });
  }
}

/** It may be meant for hosts with another agent, hence a warning and not an error. */
function warnOfUnsupported(config: NetworkConfig, { err }: CommandContext): void {
  try {
    requireSupport(config);
  } catch (error) {
    err.line(`tulle: warning: tulled of this version cannot join: ${errorMessage(error)}`);
  }
}

function warnOfUnknownKeys(config: NetworkConfig, { err }: CommandContext): void {
  for (const sentence of unknownKeys(config)) err.line(`tulle: warning: ${escapeText(sentence)}`);
}

function summaryOf({ families, backend }: NetworkConfig): string {
  const ranges = Object.values(families).map(
    ({ network, subnetLength }) => `${network} in subnets of /${subnetLength}`,
  );
  return `${ranges.join(" and ")} over ${backend.type}`;
}

function present(entry: ConfigEntry | null): ConfigEntry {
  if (entry !== null) return entry;
  throw new ConfigError('the store holds no network configuration: write one with "tulle net init"');
}

function alreadyThere({ text }: ConfigEntry, description: string): ConflictError {
  return new ConflictError(
    `${description} already has another configuration, ${escapeText(textWithoutSecrets(text))}; --force replaces it; daemons apply it at once where that is safe, else at their next start`,
  );
}
