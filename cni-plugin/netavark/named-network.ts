/**
 * Containers of podman on a named network of the cluster. tulled gives addresses, tells other hosts, and makes the bridge;
 * this program makes the interfaces.
 *
 * A teardown removes them without tulled too, which finds that the container is gone.
 */

import { attach } from "../../backends/attachment/attach.ts";
import { hasFamily } from "../../backends/attachment/forwarding.ts";
import { deleteLink, findLink } from "../../backends/attachment/links.ts";
import { Undo } from "../../backends/attachment/undo.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { type SegmentAttachment, segmentAttachmentSpec } from "../../backends/segments/attachment.ts";
import { segmentPortName } from "../../backends/segments/names.ts";
import {
  FAMILIES,
  type Family,
  type InterfaceAddress,
  parseInterfaceAddress,
} from "../../ipam/addresses/ip.ts";
import { parseMac } from "../../ipam/addresses/mac.ts";
import { DEFAULT_PATHS } from "../../ipam/config/default-paths.ts";
import { OUTSIDE } from "../../ipam/containers/outside.ts";
import { makeFolder } from "../../ipam/files/folder.ts";
import type { JsonObject, JsonValue } from "../../ipam/json.ts";
import { wrong } from "../config/wrong.ts";
import { openNetns } from "../host/host.ts";
import { withLock } from "../host/lock.ts";
import { type AttachmentStates, recordsOf } from "../host/state.ts";
import { CNI_CODES, CniError, toCniError } from "../protocol/errors.ts";
import { askDaemon } from "./daemon.ts";
import type { NetworkDriver } from "./driver.ts";
import { Outside } from "./outside.ts";
import { type PodmanContainer, type PodmanNetwork, parsePorts } from "./request.ts";
import { NAMED, optionKeys } from "./usage.ts";

/** Of records. No network of CNI has such a name. */
const RECORDS = "@named";

export const namedNetwork: NetworkDriver = {
  async create(network) {
    requireOwnSettings(network);
    const { runDir } = foldersOf(network);
    const found = await askDaemon(runDir, "Network", { Network: nameOf(network) });
    const subnets = textsIn(found, "Subnets");
    const hasIpv6 = subnets.some((subnet) => subnet.includes(":"));
    if (network.config.ipv6_enabled === true && !hasIpv6)
      throw wrong("ipv6_enabled", true, "the network has no IPv6 range; leave --ipv6 out");
    return {
      ...network.config,
      // Each host has its own bridge for the network, which tulled makes with the first container.
      network_interface: "",
      subnets: subnets.map((subnet) => ({ subnet })),
      ipv6_enabled: hasIpv6,
      internal: network.isInternal || found.IsInternal === true,
      ipam_options: { driver: "none" },
    };
  },

  async setup(container, warn) {
    const ports = parsePorts(container);
    const { network, containerId, interfaceName, netnsPath } = container;
    const { stateDir, addressDir } = foldersOf(network);
    return locked(stateDir, async () => {
      const undo = new Undo();
      const netns = openNetns(netnsPath);
      try {
        const states = statesIn(stateDir);
        removeStale(states);
        const outside = new Outside(addressDir);
        const allocation = network.isInternal ? null : await outside.reserve(containerId, undo);
        const prepared = await prepare(container, String(allocation?.address.address ?? ""), undo);
        const families = allocation === null ? [] : familiesOutside(prepared);
        undo.push(() => outside.restrict(containerId, netnsPath, neededFamilies(states, containerId)));
        undo.push(() => states.remove(container));
        states.write(container, {
          ...{ network: prepared.network, endpoint: prepared.endpoint, outsideFamilies: [...families] },
        });
        await attach(segmentAttachmentSpec(attachmentOf(prepared, netns, interfaceName)), undo);
        if (allocation !== null) {
          // Those that its other networks need are published as well.
          const needed = neededFamilies(states, containerId).filter(canHaveOutside);
          await outside.attach({ containerId, netns, allocation, families: needed, ports }, undo);
        }
        return statusOf(prepared, interfaceName, allocation !== null);
      } catch (error) {
        for (const failure of await undo.run()) warn(`cleanup failed: ${toCniError(failure).message}`);
        throw error;
      } finally {
        netns.close();
      }
    });
  },

  async teardown(container, warn) {
    const { network, containerId, netnsPath } = container;
    const { stateDir, addressDir } = foldersOf(network);
    await locked(stateDir, async () => {
      const states = statesIn(stateDir);
      await removePort(states, container);
      states.remove(container);
      await new Outside(addressDir).restrict(containerId, netnsPath, neededFamilies(states, containerId));
      await tearDown(container).catch((error) =>
        warn(`tulled frees the addresses later: ${toCniError(error).message}`),
      );
    });
  },
};

/** Rejects what podman offers for networks whose addresses it gives itself. Throws CniError 7. */
function requireOwnSettings({ config, options, bridge }: PodmanNetwork): void {
  const given = (key: string): boolean => Array.isArray(config[key]) && config[key].length > 0;
  if (given("subnets"))
    throw wrong("subnets", config.subnets, "the named network has its own; leave --subnet out");
  if (given("routes")) throw wrong("routes", config.routes, "leave --route out");
  if (bridge !== null) throw wrong("network_interface", bridge, "leave --interface-name out");
  const known = optionKeys("named");
  for (const [key, value] of Object.entries(options))
    if (!known.includes(key))
      throw wrong(`options.${key}`, value, `with -o ${NAMED} give one of ${known.join(", ")}`);
}

function nameOf({ options }: PodmanNetwork): string {
  const name = options[NAMED] ?? "";
  if (name !== "") return name;
  throw wrong(`options.${NAMED}`, name, "give the name of a network that tulle network ls shows");
}

function foldersOf({ options }: PodmanNetwork) {
  return {
    runDir: options.run_dir ?? DEFAULT_PATHS.runDir,
    stateDir: options.state_dir ?? DEFAULT_PATHS.stateDir,
    addressDir: options.address_dir ?? DEFAULT_PATHS.addressDir,
  };
}

/** What tulled prepared. */
interface Prepared {
  readonly network: SegmentAttachment["network"];
  readonly endpoint: string;
  readonly bridge: string;
  readonly mtuBytes: number;
  readonly mac: SegmentAttachment["container"]["mac"];
  readonly addresses: readonly InterfaceAddress[];
  readonly nameServers: readonly string[];
  /** Families of the network for which tulled has rules on the bridge to the outside. */
  readonly outsideFamilies: readonly Family[];
}

async function prepare(container: PodmanContainer, outside: string, undo: Undo): Promise<Prepared> {
  const { network, containerId, containerName, aliases, interfaceName, addresses, mac } = container;
  const { runDir } = foldersOf(network);
  const answer = await askDaemon(runDir, "Setup", {
    Network: nameOf(network),
    ...{ Container: containerId, ContainerName: containerName, Aliases: aliases, Interface: interfaceName },
    ...{ Addresses: addresses, Mac: mac, Outside: outside },
  });
  // What tulled finished after this program gave up, it removes itself.
  undo.push(() => tearDown(container));
  const { Id: id, Endpoint: endpoint, Bridge: bridge, MtuBytes: mtuBytes, Mac: given } = answer;
  if (typeof id !== "string" || typeof endpoint !== "string" || typeof bridge !== "string")
    throw strange(answer);
  if (typeof mtuBytes !== "number" || typeof given !== "string") throw strange(answer);
  return {
    ...{ network: id as Prepared["network"], endpoint, bridge, mtuBytes, mac: parseMac(given) },
    addresses: textsIn(answer, "Addresses").map(parseInterfaceAddress),
    nameServers: textsIn(answer, "NameServers"),
    outsideFamilies: familiesIn(answer.OutsideFamilies),
  };
}

async function tearDown({ network, containerId, interfaceName }: PodmanContainer): Promise<void> {
  const { runDir } = foldersOf(network);
  await askDaemon(runDir, "Teardown", { Container: containerId, Interface: interfaceName });
}

function attachmentOf(
  { network, endpoint, bridge, mtuBytes, mac, addresses }: Prepared,
  netns: SegmentAttachment["container"]["netns"],
  interfaceName: string,
): SegmentAttachment {
  // An attachment without routes reads the family of the gateway alone.
  const given = addresses.map((address) => ({ address, gateway: address.address }));
  return {
    ...{ network, endpoint, mtuBytes, devices: { bridge } },
    container: { netns, interfaceName, mac, addresses: given },
  };
}

/** IPv4 carries the name server and published ports, also of networks without it. */
function familiesOutside({ outsideFamilies }: Prepared): readonly Family[] {
  return FAMILIES.filter((family) => family === 4 || outsideFamilies.includes(family)).filter(canHaveOutside);
}

function canHaveOutside(family: Family): boolean {
  return family === 4 || hasFamily(family, OUTSIDE.name);
}

/** The families with which networks of the container have their way outside, all by one interface. */
function neededFamilies(states: AttachmentStates, containerId: string): readonly Family[] {
  const records = states.list().filter((other) => other.containerId === containerId);
  const needed = records.flatMap((other) => recordedFamilies(states.read(other)));
  return FAMILIES.filter((family) => needed.includes(family));
}

/** A record that cannot be read may stand for both families, one of an older version for IPv4. */
function recordedFamilies(record: JsonObject | null): readonly Family[] {
  if (record === null) return FAMILIES;
  return record.outsideFamilies === undefined ? [4] : familiesIn(record.outsideFamilies);
}

function familiesIn(list: JsonValue | undefined): readonly Family[] {
  return FAMILIES.filter((family) => Array.isArray(list) && list.includes(family));
}

/** By the record of setup; without one, tulled removes it. */
async function removePort(states: AttachmentStates, container: PodmanContainer): Promise<void> {
  const port = recordedPort(states.read(container));
  if (port === null) return;
  const host = NetlinkConnection.open();
  try {
    if (findLink(host, port) !== null) await deleteLink(host, port);
  } finally {
    host.close();
  }
}

/** podman may have been killed: it never tears down what it does not remember. A record that cannot be read stays. */
function removeStale(states: AttachmentStates): void {
  const host = NetlinkConnection.open();
  try {
    for (const attachment of states.list()) {
      const port = recordedPort(states.read(attachment));
      if (port !== null && findLink(host, port) === null) states.remove(attachment);
    }
  } finally {
    host.close();
  }
}

/** The host's end of the container's pair. The record of another kind of network names none. */
function recordedPort(record: JsonObject | null): string | null {
  const { network, endpoint } = record ?? {};
  if (typeof network !== "string" || typeof endpoint !== "string") return null;
  return segmentPortName(network as Prepared["network"], endpoint);
}

function statesIn(stateDir: string): AttachmentStates {
  return recordsOf(stateDir, RECORDS, "netavark");
}

async function locked<T>(stateDir: string, work: () => Promise<T>): Promise<T> {
  makeFolder(stateDir, 0o700);
  return withLock(stateDir, work);
}

function textsIn(answer: JsonObject, key: string): readonly string[] {
  const list = answer[key];
  if (!Array.isArray(list)) throw strange(answer);
  return list.map((value) => {
    if (typeof value !== "string") throw strange(answer);
    return value;
  });
}

function strange(answer: JsonObject): CniError {
  return new CniError(
    CNI_CODES.decodingFailure,
    `tulled answers ${JSON.stringify(answer).slice(0, 300)}: it may be of another version; restart it`,
  );
}

/** netavark's StatusBlock. */
function statusOf(
  { addresses, mac, nameServers }: Prepared,
  interfaceName: string,
  hasOutside: boolean,
): JsonObject {
  const subnets = addresses.map(({ address, length }) => ({ ipnet: `${address}/${length}` }));
  return {
    dns_search_domains: [],
    // The name server is reached by the interface to the outside.
    dns_server_ips: hasOutside ? nameServers : [],
    interfaces: { [interfaceName]: { mac_address: mac, subnets } },
  };
}
