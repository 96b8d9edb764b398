/** `tulle network ipam`: which host holds which address of named networks. */

import type { Command } from "commander";
import { Address } from "../../ipam/addresses/ip.ts";
import { ConfigError } from "../../ipam/errors.ts";
import {
  type AddressAudit,
  auditAddresses,
  releaseAddress,
  releaseHost,
  selectHeldNetwork,
} from "../named-networks/address-audit.ts";
import { type Overview, readOverview } from "../named-networks/overview.ts";
import { selectNetwork } from "../named-networks/select-network.ts";
import type { CommandContext } from "../terminal/command.ts";
import { addressToJson, formatAddresses } from "../terminal/named-network-view.ts";
import { withNetwork } from "../terminal/open-network.ts";

const EXIT_PROBLEMS = 1;

interface Audited {
  readonly overview: Overview;
  readonly audit: AddressAudit;
}

/** Adds its subcommands to `tulle network ipam`. */
export function defineIpam(command: Command, context: CommandContext): void {
  command.description("list, check or release the addresses of networks");
  defineList(command.command("list [network]"), context);
  defineCheck(command.command("check [network]"), context);
  defineRelease(command.command("release [network] [address]"), context);
}

function defineList(command: Command, context: CommandContext): void {
  command
    .description("every address that a host holds: used by a container, or in its reserve")
    .option("--json", "print a list of objects, for programs")
    .action(async (name: string | undefined, { json }: { readonly json?: true }) => {
      const { overview, audit } = await read(context, name);
      const { out } = context;
      if (json) out.json(audit.addresses.map((each) => addressToJson(each, overview)));
      else out.write(formatAddresses(audit.addresses, overview, out));
    });
}

function defineCheck(command: Command, context: CommandContext): void {
  command
    .description("find addresses of hosts that are gone, damaged records, and addresses that no host holds")
    .addHelpText("after", "\nExit code: 0 no problem, 1 a problem was found or the check failed.")
    .action(async (name: string | undefined) => {
      const { overview, audit } = await read(context, name);
      const problems = [
        ...(name === undefined ? overview.problems : []),
        ...audit.problems,
        ...audit.addresses.flatMap(({ network, held, problem }) =>
          problem === null ? [] : `network ${network?.name ?? held.network}: ${held.address}: ${problem}`,
        ),
      ];
      for (const problem of problems) context.out.line(problem);
      if (problems.length > 0) context.exitWith(EXIT_PROBLEMS);
      const { length } = problems;
      const verdict = length === 0 ? "all in order" : `${length} ${length === 1 ? "problem" : "problems"}`;
      context.out.line(`${counted(audit.addresses.length)}, ${verdict}`);
    });
}

function defineRelease(command: Command, context: CommandContext): void {
  command
    .description("free an address of a host that is away, or with --host all addresses of such a host")
    .option("--host <host>", "a host that does not come back: its name or node id")
    .addHelpText(
      "after",
      "\nA host that is up gives back what it does not need. Release the addresses of a host only if its containers are\ngone: when it comes back with them, another container may have their addresses, and it reports a conflict.",
    )
    .action(
      async (name: string | undefined, text: string | undefined, { host }: { readonly host?: string }) => {
        if ((host === undefined) === (name === undefined || text === undefined))
          throw new ConfigError(
            "tulle network ipam release: give either a network and an address, or --host",
          );
        await withNetwork(context, async ({ store, signal }) => {
          const overview = await readOverview(store.records, signal);
          if (host !== undefined) {
            const released = await releaseHost(store, overview, host, signal);
            context.out.line(`released: ${counted(released.addresses)} of host ${released.host}`);
          } else if (name !== undefined && text !== undefined) {
            const network = selectHeldNetwork(overview, name);
            const address = Address.parse(text);
            await releaseAddress(store, overview, network, address, signal);
            context.out.line(`released: ${address} of ${network.name}`);
          }
        });
      },
    );
}

/** Of one network where it is given. */
async function read(context: CommandContext, name: string | undefined): Promise<Audited> {
  return await withNetwork(context, async ({ store, signal }) => {
    const overview = await readOverview(store.records, signal);
    const network = name === undefined ? null : selectNetwork(overview.networks, name);
    const { addresses, problems } = await auditAddresses(store, overview, signal);
    if (network === null) return { overview, audit: { addresses, problems } };
    return {
      overview,
      audit: {
        addresses: addresses.filter(({ held }) => held.network === network.id),
        problems: problems.filter((problem) => problem.startsWith(`network ${network.name}: `)),
      },
    };
  });
}

function counted(addresses: number): string {
  return `${addresses} ${addresses === 1 ? "address" : "addresses"}`;
}
