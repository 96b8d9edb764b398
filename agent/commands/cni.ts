/** `tulle cni`: installs the CNI plugin, and looks after the addresses that it gave to containers. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command, Option } from "commander";
import { Address } from "../../ipam/addresses/ip.ts";
import { DEFAULT_PATHS } from "../../ipam/config/default-paths.ts";
import { ConfigError } from "../../ipam/errors.ts";
import type { InstallOptions } from "../cni/install.ts";
import type { ReservationFolders, ReservedAddress } from "../cni/reservations.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";

interface IpamOptions extends ReservationFolders {
  readonly network?: string;
  readonly gone?: true;
}

type UninstallOptions = InstallOptions & ReservationFolders;

/** For the manual page too, which has the name of the plugin. */
const HELP = `
The program tulle-cni is the plugin: container runtimes run it, with the verb in CNI_COMMAND and the network
configuration on standard input.`;

/** Characters of a container's id that people read. */
const SHORT_ID = 12;

/** As flannel ships it. */
const CHAIN = "portmap";

export const cni: CommandModule = {
  define(command, context) {
    command.addCommand(installCommand(context)).addCommand(uninstallCommand(context));
    command.addCommand(ipamCommand(context)).addHelpText("after", HELP);
  },
};

function installCommand({ out, err }: CommandContext): Command {
  return withPlaces(new Command("install"))
    .description("put the plugin and a network configuration where container runtimes look for them")
    .action(async (options: InstallOptions) => {
      const { install } = await import("../cni/install.ts");
      const warn = (text: string) => err.line(`tulle cni install: ${text}`);
      for (const file of await install(options, warn)) out.line(`wrote ${file}`);
    });
}

function uninstallCommand({ out, err }: CommandContext): Command {
  return withFolders(withPlaces(new Command("uninstall")))
    .description("remove what install wrote and restore what it replaced")
    .action(async (options: UninstallOptions) => {
      const { uninstall } = await import("../cni/install.ts");
      for (const { file, restoredFrom } of await uninstall(options)) {
        out.line(restoredFrom === null ? `removed ${file}` : `restored ${file} from ${restoredFrom}`);
      }
      const plugin = join(options.binDir, options.name);
      const attached = existsSync(plugin) ? [] : await attachedContainers(options);
      if (attached.length === 0) return;
      err.line(
        `tulle cni uninstall: containers are still attached to ${options.network}: ${attached.join(", ")}; their ` +
          `runtime can remove them only while a plugin is at ${plugin}: install tulle's or flannel's there`,
      );
    });
}

/** Containers whose devices exist, by the start of their ids. */
async function attachedContainers(options: UninstallOptions): Promise<readonly string[]> {
  const used = (await reserved(options)).filter(({ use }) => use === "used");
  return [...new Set(used.map(({ containerId }) => containerId.slice(0, SHORT_ID)))];
}

function withPlaces(command: Command): Command {
  return command
    .option("--bin-dir <dir>", "folder of plugins", "/opt/cni/bin")
    .option("--conf-dir <dir>", "folder of network configurations", "/etc/cni/net.d")
    .option("--name <name>", "file name of the plugin, and its type: flannel or tulle", "flannel")
    .option("--network <name>", "name of the network", "cbr0")
    .addOption(
      new Option("--chained [types]", "plugins behind it, in their order, or none")
        .argParser(parseChain)
        .preset(CHAIN)
        .default([CHAIN], CHAIN),
    )
    .option("--no-conflist", "leave the network configuration alone");
}

function parseChain(text: string): readonly string[] {
  return text === "none" ? [] : text.split(",");
}

function ipamCommand(context: CommandContext): Command {
  return new Command("ipam")
    .description("list, check or release the addresses of this host's containers")
    .addCommand(ipamList(context))
    .addCommand(ipamCheck(context))
    .addCommand(ipamRelease(context));
}

function ipamList({ out }: CommandContext): Command {
  return withNetwork(new Command("list"))
    .description("every reserved address, its holder, and whether it is used")
    .action(async (options: IpamOptions) => out.write(formatRows(await reserved(options))));
}

function ipamCheck({ out, exitWith }: CommandContext): Command {
  return withNetwork(new Command("check"))
    .description("addresses whose container is gone; exit code 1 when there are any")
    .action(async (options: IpamOptions) => {
      const leaked = (await reserved(options)).filter(isLeaked);
      out.write(formatRows(leaked));
      if (leaked.length > 0) exitWith(1);
    });
}

function ipamRelease({ out }: CommandContext): Command {
  return withNetwork(new Command("release"))
    .description("free one address, or with --gone all whose container is gone")
    .argument("[address]", "the address to free, also if its container runs")
    .option("--gone", "free what check finds")
    .action(async (address: string | undefined, options: IpamOptions) => {
      const chosen = await choose(address, options);
      const { releaseReserved } = await import("../cni/reservations.ts");
      for (const entry of chosen) await releaseReserved(options, entry);
      out.write(chosen.map(({ network, address }) => `released ${address} of ${network}\n`).join(""));
    });
}

function withFolders(command: Command): Command {
  return command
    .option("--data-dir <dir>", "folder of reserved addresses", DEFAULT_PATHS.addressDir)
    .option("--state-dir <dir>", "folder of the plugin's records", DEFAULT_PATHS.stateDir);
}

function withNetwork(command: Command): Command {
  return withFolders(command).option("--network <name>", "one network only");
}

async function reserved(options: IpamOptions): Promise<readonly ReservedAddress[]> {
  const { listReserved } = await import("../cni/reservations.ts");
  return listReserved(options, options.network);
}

async function choose(text: string | undefined, options: IpamOptions): Promise<readonly ReservedAddress[]> {
  if ((text === undefined) === (options.gone === undefined)) {
    throw new ConfigError("tulle cni ipam release: give either an address or --gone");
  }
  const all = await reserved(options);
  if (text === undefined) return all.filter(isLeaked);
  const address = Address.parse(text);
  const found = all.filter((entry) => entry.address.equals(address));
  if (found.length === 0) throw new ConfigError(`${address} is not reserved; see "tulle cni ipam list"`);
  return found;
}

function isLeaked({ use }: ReservedAddress): boolean {
  return use === "gone" || use === "damaged";
}

function formatRows(entries: readonly ReservedAddress[]): string {
  return entries
    .map(({ network, address, use, containerId, interfaceName }) =>
      [network, address, use, containerId || "-", interfaceName || "-"].join("\t"),
    )
    .map((line) => `${line}\n`)
    .join("");
}
