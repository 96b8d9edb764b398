/**
 * Containers of podman on this host's subnet, beside those of the CNI plugin: on the same bridge, with addresses from
 * the same reservations, made by the same calls.
 *
 * podman may be killed between netavark's calls and never asks again for what it does not remember. So each setup first
 * removes the attachments whose device on the host is gone, and what its own container had before, whatever its former
 * namespace still holds. The lock keeps it from an attachment that another process is making.
 */

import { portName } from "../../backends/attachment/port-name.ts";
import { publishPorts, unpublishPorts } from "../../backends/attachment/rules/publish.ts";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import type { SubnetEnv } from "../../ipam/config/subnet-env.ts";
import type { Attachment } from "../../ipam/containers/attachment.ts";
import { makeFolder } from "../../ipam/files/folder.ts";
import type { JsonObject, JsonValue } from "../../ipam/json.ts";
import { add } from "../commands/add.ts";
import { del } from "../commands/del.ts";
import { parsePaths } from "../config/delegate.ts";
import { planAttachment } from "../config/plan.ts";
import { wrong } from "../config/wrong.ts";
import { hasPort } from "../host/addresses.ts";
import { readSubnetEnv, statesOf } from "../host/host.ts";
import { withLock } from "../host/lock.ts";
import { type Call, parseNetworkName } from "../protocol/call.ts";
import { CNI_CODES, toCniError } from "../protocol/errors.ts";
import type { CniResult } from "../protocol/result.ts";
import { CURRENT_VERSION } from "../protocol/version.ts";
import type { NetworkDriver, Warn } from "./driver.ts";
import { type PodmanContainer, type PodmanNetwork, parsePorts } from "./request.ts";
import { DEFAULT_CNI_NETWORK, optionKeys } from "./usage.ts";

const DEFAULT_BRIDGE = "cni0";

export const flatSubnet: NetworkDriver = {
  async create(network) {
    requireOwnSettings(network);
    const config = configOf(network);
    const env = readSubnetEnv(config, CNI_CODES.tryAgainLater);
    // What each setup would reject, podman must not keep as a network.
    planAttachment({ config, args: "" }, env);
    if (network.config.ipv6_enabled === true && env.subnets[6] === undefined) {
      throw wrong("ipv6_enabled", true, "the overlay has no IPv6 range; leave --ipv6 out");
    }
    return {
      ...network.config,
      network_interface: network.bridge ?? DEFAULT_BRIDGE,
      subnets: subnetsOf(env),
      ipv6_enabled: env.subnets[6] !== undefined,
      // netavark's own name server serves bridge networks only.
      dns_enabled: false,
      // The addresses are the plugin's to give, not podman's.
      ipam_options: { driver: "none" },
    };
  },

  async setup(container, warn) {
    const call = callFor(container, warn);
    const ports = parsePorts(container);
    return locked(call, async () => {
      await removeStale(call);
      const result = await add(call);
      try {
        await publishPorts(portOf(call), result.ips, ports);
      } catch (error) {
        await del(call).catch((failure) => warn(`cleanup failed: ${toCniError(failure).message}`));
        throw error;
      }
      return statusOf(result, container);
    });
  },

  async teardown(container, warn) {
    const call = callFor(container, warn);
    await locked(call, async () => {
      if (container.portMappings.length > 0) await unpublishPorts(portOf(call));
      await del(call);
    });
  },
};

/** Rejects what podman offers for networks whose addresses it gives itself. Throws CniError 7. */
function requireOwnSettings({ config, options }: PodmanNetwork): void {
  const given = (key: string): boolean => Array.isArray(config[key]) && config[key].length > 0;
  if (given("subnets"))
    throw wrong("subnets", config.subnets, "tulled leases the subnet; leave --subnet out");
  if (given("routes"))
    throw wrong("routes", config.routes, "the overlay's routes are fixed; leave --route out");
  const ipam = config.ipam_options;
  const driver = typeof ipam === "object" && ipam !== null && "driver" in ipam ? ipam.driver : undefined;
  if (driver !== undefined && driver !== "" && driver !== "none") {
    throw wrong("ipam_options.driver", driver, "the plugin gives the addresses; leave --ipam-driver out");
  }
  const known = optionKeys("subnet");
  for (const [key, value] of Object.entries(options)) {
    if (!known.includes(key)) throw wrong(`options.${key}`, value, `give one of ${known.join(", ")}`);
  }
}

/**
 * The overlay's ranges, so that podman accepts `--ip` of them and keeps other networks out of them. The gateway is the
 * one of today's lease.
 */
function subnetsOf({ networks, subnets }: SubnetEnv): readonly JsonValue[] {
  return [...entriesOf(networks)].flatMap(([family, prefixes]) => {
    const gateway = subnets[family]?.address;
    return prefixes.map((prefix) => ({
      subnet: String(prefix),
      ...(gateway !== undefined && prefix.contains(gateway) && { gateway: String(gateway) }),
    }));
  });
}

/** The configuration of the CNI plugin that means the same. */
function configOf(network: PodmanNetwork): JsonObject {
  const { bridge, isInternal, options } = network;
  const { subnet_file, state_dir, address_dir } = options;
  return {
    name: cniNetworkOf(network),
    cniVersion: CURRENT_VERSION,
    ...(subnet_file !== undefined && { subnetFile: subnet_file }),
    ...(state_dir !== undefined && { dataDir: state_dir }),
    ...(address_dir !== undefined && { ipam: { dataDir: address_dir } }),
    delegate: {
      bridge: bridge ?? DEFAULT_BRIDGE,
      hairpinMode: true,
      isDefaultGateway: !isInternal,
    },
  };
}

/** Names a folder of reservations. Throws CniError 7. */
function cniNetworkOf({ options }: PodmanNetwork): string {
  return parseNetworkName(options.cni_network ?? DEFAULT_CNI_NETWORK);
}

function callFor(container: PodmanContainer, warn: Warn): Call {
  const { network, netnsPath, containerId, interfaceName, addresses, mac } = container;
  const runtimeConfig = { ips: addresses, ...(mac !== "" && { mac }) };
  return {
    verb: "ADD",
    runtime: "netavark",
    containerId,
    netnsPath,
    interfaceName,
    args: "",
    pluginDirs: [],
    environment: {},
    warn,
    networkName: cniNetworkOf(network),
    version: CURRENT_VERSION,
    config: { ...configOf(network), runtimeConfig },
  };
}

async function locked<T>(call: Call, work: () => Promise<T>): Promise<T> {
  const { stateDir } = parsePaths(call.config);
  makeFolder(stateDir, 0o700);
  return withLock(stateDir, work);
}

/** What cannot be removed stays for the next time and does not keep this container from starting. */
async function removeStale(call: Call): Promise<void> {
  const states = statesOf(call);
  for (const attachment of states.list()) {
    if (!isSame(attachment, call) && hasPort(call.networkName, attachment)) continue;
    try {
      const stale = { ...call, ...attachment, netnsPath: "" };
      await unpublishPorts(portOf(stale));
      await del(stale);
    } catch (error) {
      call.warn(`${attachment.containerId} is gone and cannot be removed: ${toCniError(error).message}`);
    }
  }
}

function isSame(left: Attachment, right: Attachment): boolean {
  return left.containerId === right.containerId && left.interfaceName === right.interfaceName;
}

function portOf(call: Call): string {
  return portName(call.networkName, call);
}

/** netavark's StatusBlock. */
function statusOf({ interfaces, ips }: CniResult, { interfaceName, network }: PodmanContainer): JsonObject {
  const own = interfaces.find(({ name, sandbox }) => name === interfaceName && sandbox !== undefined);
  const subnets = ips.map(({ address: { address, length }, gateway }) => ({
    ipnet: `${address}/${length}`,
    ...(gateway !== null && !network.isInternal && { gateway: String(gateway) }),
  }));
  return {
    dns_search_domains: [],
    dns_server_ips: [],
    interfaces: { [interfaceName]: { mac_address: own?.mac ?? "", subnets } },
  };
}
