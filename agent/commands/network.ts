/** `tulle network`: named networks, which stretch over all hosts, and their addresses. Every write is compare-and-swap. */

import type { Command } from "commander";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import { systemClock } from "../../ipam/clock.ts";
import { ConfigError } from "../../ipam/errors.ts";
import type { NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import { type CreateOptions, createRequest } from "../named-networks/create-request.ts";
import { openCatalogue } from "../named-networks/open-catalogue.ts";
import { type Overview, readOverview } from "../named-networks/overview.ts";
import { selectNetwork } from "../named-networks/select-network.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";
import { formatNetwork, formatNetworks, networkToJson } from "../terminal/named-network-view.ts";
import { STORE_FLAGS, withNetwork } from "../terminal/open-network.ts";
import { defineIpam } from "./network-ipam.ts";

interface JsonOption {
  readonly json?: true;
}

export const network: CommandModule = {
  daemonFlags: STORE_FLAGS,
  define(command, context) {
    defineCreate(command.command("create <name>"), context);
    defineList(command.command("ls"), context);
    defineInspect(command.command("inspect <name>"), context);
    defineRemove(command.command("rm <name...>"), context);
    defineIpam(command.command("ipam"), context);
  },
};

function defineCreate(command: Command, context: CommandContext): void {
  command
    .description("create a network on all hosts")
    .option("--subnet <cidr>", "its range; once for each family (default: a free one)", collect)
    .option("--ip-range <cidr>", "the part of the subnet in which addresses are given automatically", collect)
    .option("--gateway <ip>", "an address that no container gets (default: the first of the subnet)", collect)
    .option("--exclude <ip>", "an address that no container gets; may be repeated", collect)
    .option("--ipv6", "with IPv6; an IPv6 subnet implies it")
    .option("--no-ipv4", "without IPv4")
    .option("--vni <number>", "VXLAN identifier, from 4096 (default: a free one)")
    .option("--mtu <bytes>", "MTU of containers (default: what the underlay carries)")
    .option("--internal", "without outside access")
    .option("--broadcast", "send broadcast and multicast to every host with containers in the network")
    .option("--label <key=value>", "a label, which engines show; may be repeated", collect)
    .addHelpText(
      "after",
      "\nA network that exists with the same values is left alone; with others it is an error.",
    )
    .action(async (name: string, options: CreateOptions) => {
      const request = createRequest(name, options);
      await withNetwork(context, async ({ store, signal }) => {
        const catalogue = await openCatalogue(store, environmentOf(context), signal);
        const { network, created } = await catalogue.create(request, signal);
        context.out.line(`${created ? "created" : "unchanged"}: ${describe(network)}`);
      });
    });
}

function defineList(command: Command, context: CommandContext): void {
  command
    .description("list all networks, with their hosts and containers")
    .option("--json", "print a list of objects, for programs")
    .action(async ({ json }: JsonOption) => {
      const overview = await read(context);
      const all = overview.networks.map((each) => networkToJson(each, overview));
      const nowSeconds = Math.floor(context.dateMs() / 1000);
      if (json) context.out.json(all);
      else context.out.write(formatNetworks(overview, nowSeconds, context.out));
      for (const problem of overview.problems) context.err.line(`tulle network: ${problem}`);
    });
}

function defineInspect(command: Command, context: CommandContext): void {
  command
    .description("show everything about one network")
    .option("--json", "print an object, for programs")
    .action(async (name: string, { json }: JsonOption) => {
      const overview = await read(context);
      const found = selectNetwork(overview.networks, name);
      if (json) context.out.json(networkToJson(found, overview));
      else context.out.write(formatNetwork(found, overview, context.out));
    });
}

function defineRemove(command: Command, context: CommandContext): void {
  command
    .description("remove networks without containers, on all hosts")
    .addHelpText("after", "\nNAME is a name or the start of an id. A damaged network is removed by its name.")
    .action(async (names: string[]) => {
      await withNetwork(context, async ({ store, signal }) => {
        const catalogue = await openCatalogue(store, environmentOf(context), signal);
        for (const name of names) {
          try {
            const found = selectNetwork(await catalogue.list(signal), name);
            await catalogue.remove(found.id, signal);
            context.out.line(`removed: ${found.name}`);
          } catch (error) {
            if (!(error instanceof ConfigError)) throw error;
            if (!(await catalogue.removeDamaged(name, signal))) throw error;
            context.out.line(`removed the damaged network: ${name}`);
          }
        }
      });
    });
}

/** An option that is given several times. */
function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

async function read(context: CommandContext): Promise<Overview> {
  return await withNetwork(context, ({ store, signal }) => readOverview(store.records, signal));
}

function environmentOf({ random, dateMs }: CommandContext) {
  return { clock: systemClock, random, dateMs };
}

/** `blue, VNI 4096, 10.128.0.0/24`. */
function describe({ name, vni, pools }: NamedNetwork): string {
  const subnets = entriesOf(pools).map(([, { subnet }]) => subnet.toString());
  return [name, `VNI ${vni}`, ...subnets].join(", ");
}
