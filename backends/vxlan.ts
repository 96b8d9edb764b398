/**
 * The VXLAN backend (RFC 7348): one device per family, and for every peer a way to it, without any flooding.
 *
 * A packet for a container on another host takes three look-ups, and each peer contributes one entry to each:
 *
 *   route       10.2.54.0/24 via 10.2.54.0 dev flannel.1 onlink     which peer has the destination
 *   neighbour   10.2.54.0 lladdr 5e:…:01 dev flannel.1 permanent    the peer's tunnel MAC
 *   FDB         5e:…:01 dev flannel.1 dst 192.168.1.243             the peer's address for tunnel packets
 *
 * The gateway is the base address of the peer's subnet, which the peer has as a /32 on its own device: this is
 * flannel's scheme, so hosts with either agent reach each other. Pure: no I/O.
 */

import {
  ADDRESS_BITS,
  type Address,
  entriesOf,
  type Family,
  mapFamilies,
  type PerFamily,
  type Prefix,
} from "../ipam/addresses/ip.ts";
import { isMulticastMac, type Mac, parseMac } from "../ipam/addresses/mac.ts";
import { lookupField } from "../ipam/go-json.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../ipam/json.ts";
import type { Lease } from "../ipam/leases/lease.ts";
import type {
  Backend,
  BackendOptions,
  DeviceExpectation,
  DeviceIdentity,
  HostFacts,
  OwnershipRecord,
  PeerPath,
  PreparedBackend,
  Tunnel,
  Uplink,
} from "./backend.ts";
import { familySettings } from "./device-settings.ts";
import { IPV6_MIN_MTU_BYTES, innerMtu } from "./mtu.ts";
import { booleanOption, integerOption } from "./options.ts";
import { addressProblem, interfacesOf, isDirect, nexthopFor, routeVia, typeProblem } from "./peers.ts";
import { encodeVxlanProbe } from "./state/devices/vxlan.ts";
import type { LinkObject } from "./state/kinds/link.ts";
import type { KernelObject } from "./state/kinds/registry.ts";
import type { SysctlObject } from "./state/kinds/sysctl.ts";

/** Linux' own default port (drivers/net/vxlan), which flannel uses too; IANA's 4789 came later. */
const DEFAULT_PORT = 8472;

/** Outer IP header + UDP 8 + VXLAN 8 + inner Ethernet 14, in bytes. */
const OVERHEAD_BYTES: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

const DEVICE_PREFIX: Readonly<Record<Family, string>> = { 4: "flannel.", 6: "flannel-v6." };

/** What deviceNames() answers, for any VNI. */
const DEVICE_NAME = /^flannel(-v6)?\.(?<vni>\d+)$/;

/** With one digit more the device's name would not fit (linux/if.h, IFNAMSIZ). */
const MAX_VNI = 9_999_999;

/** flanneld's lease has 16 bits for the VNI; it writes the low ones, and ignores a lease with a larger number. */
const FLANNEL_VNI_MASK = 0xffff;

/** linux/if_ether.h: no station has it; as a destination of forwarding entries it stands for all unknown ones. */
const ZERO_MAC = "00:00:00:00:00:00";

export const vxlanBackend: Backend = {
  type: "vxlan",
  options: [
    { key: "VNI", kind: "number", help: "identifier of the network (default: 1)" },
    { key: "Port", kind: "number", help: `UDP port (default: ${DEFAULT_PORT})` },
    { key: "MTU", kind: "number", help: "MTU of the hosts' interfaces (default: read from them)" },
    { key: "DirectRouting", kind: "switch", help: "route without a tunnel between hosts on one link" },
    { key: "GBP", kind: "switch", help: "group-based policy" },
    { key: "Learning", kind: "switch", help: "learn from received packets" },
  ],
  deviceTypes: ["vxlan"],
  kernelNeeds: [
    {
      subject: "vxlan",
      feature: "VXLAN devices",
      probe: encodeVxlanProbe,
      remedy: 'load it ("modprobe vxlan") or install the kernel\'s extra modules',
    },
  ],
  isDeviceName: (name) => DEVICE_NAME.test(name),
  isRecorded,
  parseOptions: (options) => new VxlanOptions(options),
};

/**
 * Name and VNI prove nothing, because flanneld and others choose the same. The hardware address does: it is derived from
 * this host's identity, or was recorded when the device was adopted.
 */
function isRecorded({ name, mac, details }: LinkObject, { macs }: OwnershipRecord): boolean {
  if (details?.type !== "vxlan" || mac === null || !macs.has(mac)) return false;
  return DEVICE_NAME.exec(name)?.groups?.vni === String(details.vni);
}

class VxlanOptions implements BackendOptions {
  readonly vni: number;
  readonly port: number;
  /** 0: the interface's MTU. */
  readonly mtuBytes: number;
  readonly gbp: boolean;
  readonly learning: boolean;
  readonly directRouting: boolean;

  constructor(options: JsonObject) {
    this.vni = integerOption(options, "VNI", 1, 0, MAX_VNI);
    this.port = integerOption(options, "Port", 0, 0, 65_535) || DEFAULT_PORT;
    this.mtuBytes = integerOption(options, "MTU", 0, 0, 65_535);
    this.gbp = booleanOption(options, "GBP", false);
    this.learning = booleanOption(options, "Learning", false);
    this.directRouting = booleanOption(options, "DirectRouting", false);
  }

  deviceNames(families: readonly Family[]): PerFamily<string> {
    return Object.fromEntries(families.map((family) => [family, `${DEVICE_PREFIX[family]}${this.vni}`]));
  }

  lockNames(networks: PerFamily<Prefix>): readonly string[] {
    return Object.values(this.deviceNames([...entriesOf(networks)].map(([family]) => family)));
  }

  canAdopt(link: LinkObject): boolean {
    const { details } = link;
    if (details?.type !== "vxlan") return false;
    return details.vni === this.vni && details.port === this.port && details.gbp === this.gbp;
  }

  expectations(families: readonly Family[]): readonly DeviceExpectation[] {
    return [...entriesOf(this.deviceNames(families))].map(([family, device]) =>
      this.#expectation(family, device),
    );
  }

  prepare(host: HostFacts, families: readonly Family[], identity: DeviceIdentity): PreparedBackend {
    return new VxlanNetwork(this, host, families, identity);
  }

  unsafeDifferences(other: BackendOptions): readonly string[] {
    if (!(other instanceof VxlanOptions)) return ["Type"];
    const differences: string[] = [];
    if (other.vni !== this.vni) differences.push("VNI");
    if (other.port !== this.port) differences.push("Port");
    if (other.gbp !== this.gbp) differences.push("GBP");
    if (other.learning !== this.learning) differences.push("Learning");
    return differences;
  }

  #expectation(family: Family, device: string): DeviceExpectation {
    const { vni, port } = this;
    return {
      device,
      family,
      overheadBytes: OVERHEAD_BYTES[family],
      port,
      mismatch: ({ type, details }) => {
        if (details?.type !== "vxlan") return `of type ${type || "physical"}`;
        return details.vni === vni ? null : `of VNI ${details.vni}`;
      },
      // Devices of different VNIs share a socket; one VNI, port and family exist once (vxlan_vni_in_use).
      occupied: ({ details }) => {
        if (details?.type !== "vxlan" || (details.local?.family ?? 4) !== family) return null;
        return details.vni === vni && details.port === port ? `VNI ${vni} on port ${port}` : null;
      },
    };
  }
}

class VxlanNetwork implements PreparedBackend {
  readonly type = "vxlan";
  readonly leaseType = "vxlan";
  readonly devices: PerFamily<string>;
  readonly sharedDevices: readonly string[];
  readonly nexthopDevices = [];
  readonly entrances: PerFamily<readonly string[]>;
  readonly mtuBytes: number;
  readonly tunnels: PerFamily<Tunnel>;
  readonly leaseData: PerFamily<JsonValue>;
  readonly startRunner = null;
  readonly #options: VxlanOptions;
  readonly #host: HostFacts;
  /** A list, which is read several times for each of thousands of leases. */
  readonly #devices: readonly (readonly [Family, string])[];
  readonly #macs: PerFamily<Mac>;
  /** Of the devices. */
  readonly #mtusBytes: PerFamily<number>;

  constructor(options: VxlanOptions, host: HostFacts, families: readonly Family[], identity: DeviceIdentity) {
    this.#options = options;
    this.#host = host;
    this.devices = options.deviceNames(families);
    this.#devices = entriesOf(this.devices);
    this.sharedDevices = options.directRouting ? interfacesOf(host) : [];
    this.entrances = mapFamilies(this.devices, (device, family) => [device, ...this.#directEntrance(family)]);
    this.tunnels = mapFamilies(this.devices, (device) => ({ device, port: options.port }));
    this.#mtusBytes = mapFamilies(host.uplinks, (uplink) => tunnelMtu(options, uplink, families));
    this.mtuBytes = Math.min(...Object.values(this.#mtusBytes));
    const macs: Partial<Record<Family, Mac>> = {};
    const data: Partial<Record<Family, JsonValue>> = {};
    for (const [family, device] of this.#devices) {
      const mac = identity.macFor(device);
      macs[family] = mac;
      data[family] = { VNI: options.vni & FLANNEL_VNI_MASK, VtepMAC: mac };
    }
    this.#macs = macs;
    this.leaseData = data;
  }

  rejectPeer(lease: Lease): string | null {
    const otherType = typeProblem(lease, this);
    if (otherType !== null) return otherType;
    for (const [family] of this.#devices) {
      if (lease.subnets[family] === undefined) continue;
      const problem = this.#dataProblem(lease, family);
      if (problem !== null) return problem;
    }
    return null;
  }

  damageOf(lease: Lease): string | null {
    if (typeProblem(lease, this) !== null) return null;
    for (const [family] of this.#devices) {
      const damage = lease.subnets[family] === undefined ? null : dataDamage(lease, family);
      if (damage !== null) return damage;
    }
    return null;
  }

  rejectLocally(): null {
    return null;
  }

  peerIdentities(lease: Pick<Lease, "attrs">): readonly string[] {
    return this.#devices.flatMap(([family]) => vtepMac(lease.attrs.backendData[family]) ?? []);
  }

  planBase(own: PerFamily<Prefix>): readonly KernelObject[] {
    const objects: KernelObject[] = [];
    for (const [family, device] of this.#devices) {
      const subnet = own[family];
      const uplink = this.#host.uplinks[family];
      if (uplink === undefined || subnet === undefined) continue;
      objects.push(this.#link(family, device, uplink), ...this.#sysctls(family, device));
      const length = ADDRESS_BITS[family];
      objects.push({ kind: "address", device, address: { address: subnet.base, length } });
    }
    return objects;
  }

  planPeer(lease: Lease, useNexthops: boolean): readonly KernelObject[] {
    const objects: KernelObject[] = [];
    for (const [family, device] of this.#devices) {
      const subnet = lease.subnets[family];
      const remote = lease.attrs.publicAddress[family];
      const mac = vtepMac(lease.attrs.backendData[family]);
      if (subnet === undefined || remote === undefined || mac === null) continue;
      // The tunnel's entries stay with a direct route too: they cost little, and traffic that a peer still
      // sends through the tunnel gets its answers.
      objects.push(
        { kind: "neighbour", device, address: subnet.base, mac, isPermanent: true },
        { kind: "fdb", device, mac, remote, isPermanent: true },
      );
      const uplink = this.#host.uplinks[family];
      if (uplink !== undefined && this.#isDirect(remote))
        objects.push(routeVia(subnet, remote, uplink.interface));
      else objects.push(...tunnelRoute(subnet, device, useNexthops));
    }
    // A copy has no room to grow, and these are kept.
    return objects.slice();
  }

  pathTo(lease: Lease): PeerPath {
    const isDirect = this.#devices.some(([family]) => {
      const remote = lease.attrs.publicAddress[family];
      return remote !== undefined && this.#isDirect(remote);
    });
    return isDirect ? "direct" : "tunnel";
  }

  /** Packets of a direct peer enter by the interface itself. */
  #directEntrance(family: Family): readonly string[] {
    const uplink = this.#host.uplinks[family];
    return this.#options.directRouting && uplink !== undefined ? [uplink.interface] : [];
  }

  #isDirect(remote: Address): boolean {
    return this.#options.directRouting && isDirect(this.#host, remote);
  }

  #dataProblem(lease: Lease, family: Family): string | null {
    const data = lease.attrs.backendData[family];
    if (data === undefined && lease.storeLeaseId === null)
      return "it is a reservation, and its host has not joined yet";
    const damage = dataDamage(lease, family);
    if (damage !== null) return damage;
    if (vtepMac(data) === ZERO_MAC) return "its VtepMAC is all zero: that host has not set it yet";
    const vni = isJsonObject(data) ? lookupField(data, "VNI") : undefined;
    if (vni !== undefined && vni !== (this.#options.vni & FLANNEL_VNI_MASK))
      return `its VNI ${JSON.stringify(vni)} differs from the network's VNI ${this.#options.vni}; restart that host's agent`;
    return addressProblem(lease, [family]);
  }

  #link(family: Family, name: string, uplink: Uplink): LinkObject {
    const { vni, port, gbp, learning } = this.#options;
    return {
      kind: "link",
      name,
      type: "vxlan",
      mac: this.#macs[family] ?? null,
      mtuBytes: this.#mtusBytes[family] ?? this.mtuBytes,
      isUp: true,
      details: { type: "vxlan", vni, local: uplink.address, parent: uplink.interface, port, learning, gbp },
    };
  }

  /** Router advertisements from a peer must not configure us. */
  #sysctls(family: Family, device: string): readonly SysctlObject[] {
    const settings = familySettings(family, device);
    const mtuBytes = this.#mtusBytes[family] ?? this.mtuBytes;
    if (!this.#host.hasIpv6 || mtuBytes < IPV6_MIN_MTU_BYTES) return settings;
    const path = `net/ipv6/conf/${device}/accept_ra`;
    return [...settings, { kind: "sysctl", path, device, value: "0" }];
  }
}

/** Of one family's device. Throws ConfigError where too little is left for the packets of all `families`. */
function tunnelMtu(options: VxlanOptions, uplink: Uplink, families: readonly Family[]): number {
  const outerBytes = options.mtuBytes || uplink.mtuBytes;
  // Backend.MTU is that of both families, whose containers have one MTU.
  const tunnels = options.mtuBytes ? families : [uplink.address.family];
  const headerBytes = Math.max(...tunnels.map((family) => OVERHEAD_BYTES[family]));
  const origin = options.mtuBytes ? "Backend.MTU" : `the MTU of ${uplink.interface}`;
  // Throws where the longer headers leave too little.
  innerMtu({ origin, outerMtuBytes: outerBytes, headers: "VXLAN", headerBytes }, families);
  return outerBytes - OVERHEAD_BYTES[uplink.address.family];
}

function tunnelRoute(subnet: Prefix, device: string, useNexthops: boolean): KernelObject[] {
  const gateway = subnet.base;
  const objects: KernelObject[] = [
    routeVia(subnet, gateway, device, { isOnlink: true, viaNexthop: useNexthops }),
  ];
  if (useNexthops) objects.push(nexthopFor(gateway, device));
  return objects;
}

/** Why the backend data cannot be any host's; null also for a reservation, which has none. */
function dataDamage({ attrs, storeLeaseId }: Lease, family: Family): string | null {
  const data = attrs.backendData[family];
  const mac = vtepMac(data);
  if (data === undefined && storeLeaseId === null) return null;
  if (mac === null) return `its BackendData ${JSON.stringify(data ?? null)} holds no valid VtepMAC`;
  if (isMulticastMac(mac)) return `its VtepMAC ${mac} is a group address`;
  const vni = isJsonObject(data) ? (lookupField(data, "VNI") ?? 0) : 0;
  return typeof vni === "number" ? null : `its VNI ${JSON.stringify(vni)} is not a number`;
}

/** The tunnel MAC in a lease's backend data, null when it is absent or invalid. */
function vtepMac(data: JsonValue | undefined): Mac | null {
  if (!isJsonObject(data)) return null;
  const text = lookupField(data, "VtepMAC");
  if (typeof text !== "string") return null;
  try {
    return parseMac(text);
  } catch {
    return null;
  }
}
