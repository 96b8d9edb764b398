/**
 * `tulle explain`: how a packet goes from this host or one of its containers, by the answers of the kernel, and where it ends
 * and why. It reads, and asks the running daemon only who the peers are.
 */

import { CommandRunner } from "../../backends/firewall/command.ts";
import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { Sysctls } from "../../backends/kernel/sysctl.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { WireguardDevice } from "../../backends/netlink/wireguard.ts";
import { Address } from "../../ipam/addresses/ip.ts";
import { DEFAULT_PATHS } from "../../ipam/config/default-paths.ts";
import { ConfigError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import { Steps } from "../explain/explanation.ts";
import { readFirewall } from "../explain/firewall/read-ruleset.ts";
import { readIpsecPolicies } from "../explain/ipsec-step.ts";
import { KernelView } from "../explain/kernel-view.ts";
import { readKnowledge } from "../explain/knowledge.ts";
import { MtuPath } from "../explain/mtu-path.ts";
import { findOrigin, type NamePlaces } from "../explain/origin.ts";
import { describePacket, type Protocol } from "../explain/packet.ts";
import { explain as explainWay, type Request } from "../explain/way.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";
import { formatExplanation } from "../terminal/explain-view.ts";

const EXIT_NOT_THERE = 1;
const CNI_FOLDERS = { dataDir: DEFAULT_PATHS.addressDir, stateDir: DEFAULT_PATHS.stateDir };

const HELP = `
SOURCE is "host", an address of this host, or a container of this host by its address, its name in Docker, or
the start of its id in CNI. Without a protocol the packet is a ping. It is the first packet of its connection.
Exit code: 0 it leaves for another host or is delivered here, 1 it does not, or that is not known.`;

export const explain: CommandModule = {
  daemonFlags: ["config", "run-dir", "docker-socket"],
  define(command, context) {
    command
      .argument("<source>", "where the packet comes from: host, or a container of this host")
      .argument("<destination>", "an address")
      .argument("[protocol]", "of the packet, tcp or udp (default: a ping)")
      .argument("[port]", "the destination port of tcp or udp, 1 to 65535")
      .option("--json", "print an object, for programs")
      .addHelpText("after", HELP)
      .action(
        async (source: string, to: string, protocol?: string, port?: string, options?: { json?: true }) => {
          const destination = parseDestination(to);
          const kind = parseKind(protocol, port);
          const { explanation, origin } = await look(source, { destination, ...kind }, context);
          const { outcome } = explanation.end;
          if (outcome !== "leaves" && outcome !== "delivered") context.exitWith(EXIT_NOT_THERE);
          const heading = `${origin} to ${destination}, ${describePacket(kind)}`;
          if (options?.json) {
            const packet = { source: origin, destination, ...kind };
            context.out.json({ packet, ...explanation });
          } else context.out.write(formatExplanation(heading, explanation, context.out));
        },
      );
  },
};

/** Throws ConfigError. */
function parseDestination(text: string): Address {
  const address = Address.parseOrNull(text);
  const shown = escapeText(text, 100);
  if (address === null)
    throw new ConfigError(
      `the destination is "${shown}"; write an IPv4 or IPv6 address, without a prefix length`,
    );
  if (address.isMulticast || address.isUnspecified)
    throw new ConfigError(`the destination ${shown} is not an address of a host; write the address of one`);
  return address;
}

/** Throws ConfigError. */
function parseKind(
  protocol: string | undefined,
  port: string | undefined,
): { readonly protocol: Protocol; readonly destinationPort: number | null } {
  if (protocol === undefined) return { protocol: "icmp", destinationPort: null };
  if (protocol !== "tcp" && protocol !== "udp")
    throw new ConfigError(`the protocol is "${escapeText(protocol, 100)}"; write tcp or udp, and a port`);
  const number = Number(port);
  if (port === undefined || !/^\d{1,5}$/.test(port) || number < 1 || number > 65_535)
    throw new ConfigError(
      `the port is "${escapeText(port ?? "", 100)}"; write a whole number from 1 to 65535`,
    );
  return { protocol, destinationPort: number };
}

async function look(source: string, request: Omit<Request, "origin">, context: CommandContext) {
  const { files, docker } = await context.config();
  const places: NamePlaces = { ...CNI_FOLDERS, engineSocket: docker.engineSocket };
  const netlink = NetlinkConnection.open();
  try {
    const kernel = new KernelView(netlink);
    const origin = await findOrigin(source, request.destination.family, kernel, places);
    const sysctls = new Sysctls();
    const explanation = explainWay(
      {
        kernel,
        readSysctl: (path) => sysctls.read(path),
        readWireguard,
        ipsec: readIpsecPolicies(),
        firewall: await readFirewall(new CommandRunner(), context.signal),
        knowledge: await readKnowledge(files.runDir, context.signal),
        steps: new Steps(),
        mtu: new MtuPath(),
      },
      { ...request, origin },
    );
    const name =
      origin === null ? "this host" : "bridge" in origin ? `container ${origin.address}` : `${origin}`;
    return { explanation, origin: name };
  } finally {
    netlink.close();
  }
}

function readWireguard(device: string): WireguardDevice | null {
  const port = RtnetlinkPort.open();
  try {
    return port.wireguard.read(device);
  } finally {
    port.close();
  }
}
