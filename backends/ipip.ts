/**
 * The IPIP backend (RFC 2003): one device, and for every peer one route that names where tunnel packets go.
 *
 *   route       10.2.54.0/24 via 192.168.1.243 dev flannel.ipip onlink
 *
 * 20 bytes of overhead, no port, no checksum, IPv4 only. flannel's scheme, so hosts with either agent reach each other.
 * The device has this host's address as its local one, which tells it apart from tunl0, the device that the kernel's
 * module creates for all other IPIP packets. Pure: no I/O.
 */

import { type Address, entriesOf, type Family, type PerFamily, type Prefix } from "../ipam/addresses/ip.ts";
import { ConfigError } from "../ipam/errors.ts";
import type { JsonObject, JsonValue } from "../ipam/json.ts";
import type { Lease } from "../ipam/leases/lease.ts";
import type {
  Backend,
  BackendOptions,
  DeviceExpectation,
  HostFacts,
  OwnershipRecord,
  PeerPath,
  PreparedBackend,
  Tunnel,
  Uplink,
} from "./backend.ts";
import { familySettings } from "./device-settings.ts";
import { innerMtu } from "./mtu.ts";
import { booleanOption } from "./options.ts";
import { addressProblem, isDirect, nexthopFor, routeVia, typeProblem } from "./peers.ts";
import { encodeIpipProbe } from "./state/devices/ipip.ts";
import type { LinkObject } from "./state/kinds/link.ts";
import type { KernelObject } from "./state/kinds/registry.ts";

const DEVICE = "flannel.ipip";

/** The outer IPv4 header. */
const OVERHEAD_BYTES = 20;

export const ipipBackend: Backend = {
  type: "ipip",
  options: [
    { key: "DirectRouting", kind: "switch", help: "route without a tunnel between hosts on one link" },
  ],
  families: [4],
  deviceTypes: ["ipip"],
  kernelNeeds: [
    {
      subject: "ipip",
      feature: "IPIP devices",
      probe: encodeIpipProbe,
      remedy: 'load it ("modprobe ipip"), or install the kernel\'s modules (Debian: linux-image-amd64)',
    },
  ],
  isDeviceName: (name) => name === DEVICE,
  isRecorded,
  parseOptions: (options) => new IpipOptions(options),
};

/** An IPIP device has no hardware address that could tell whose it is: the record of names decides. */
function isRecorded({ name, details }: LinkObject, { devices }: OwnershipRecord): boolean {
  return name === DEVICE && details?.type === "ipip" && devices.has(name);
}

class IpipOptions implements BackendOptions {
  readonly directRouting: boolean;

  constructor(options: JsonObject) {
    this.directRouting = booleanOption(options, "DirectRouting", false);
  }

  deviceNames(families: readonly Family[]): PerFamily<string> {
    return families.includes(4) ? { 4: DEVICE } : {};
  }

  lockNames(): readonly string[] {
    return [DEVICE];
  }

  canAdopt({ details }: LinkObject): boolean {
    return details?.type === "ipip";
  }

  expectations(): readonly DeviceExpectation[] {
    return [
      {
        device: DEVICE,
        family: 4,
        overheadBytes: OVERHEAD_BYTES,
        port: null,
        mismatch: ({ type }) => (type === "ipip" ? null : `of type ${type || "physical"}`),
        occupied: () => null,
      },
    ];
  }

  prepare(host: HostFacts): PreparedBackend {
    return new IpipNetwork(this, host);
  }

  unsafeDifferences(other: BackendOptions): readonly string[] {
    return other instanceof IpipOptions ? [] : ["Type"];
  }
}

class IpipNetwork implements PreparedBackend {
  readonly type = "ipip";
  readonly leaseType = "ipip";
  readonly devices: PerFamily<string> = { 4: DEVICE };
  readonly sharedDevices: readonly string[];
  readonly nexthopDevices = [];
  readonly entrances: PerFamily<readonly string[]>;
  readonly mtuBytes: number;
  readonly tunnels: PerFamily<Tunnel> = { 4: { protocol: "ipip", device: DEVICE } };
  readonly leaseData: PerFamily<JsonValue> = {};
  readonly startRunner = null;
  readonly #options: IpipOptions;
  readonly #host: HostFacts;
  readonly #uplink: Uplink;

  constructor(options: IpipOptions, host: HostFacts) {
    const uplink = host.uplinks[4];
    if (uplink === undefined) throw new ConfigError("network config: backend ipip needs IPv4; enable it");
    const shared = options.directRouting ? [uplink.interface] : [];
    this.#options = options;
    this.#host = host;
    this.#uplink = uplink;
    this.sharedDevices = shared;
    this.entrances = { 4: [DEVICE, ...shared] };
    this.mtuBytes = tunnelMtu(uplink);
  }

  rejectPeer(lease: Lease): string | null {
    return typeProblem(lease, this) ?? addressProblem(lease, [4]);
  }

  rejectLocally(): null {
    return null;
  }

  peerIdentities(): readonly string[] {
    return [];
  }

  planBase(own: PerFamily<Prefix>): readonly KernelObject[] {
    const subnet = own[4];
    if (subnet === undefined) return [];
    return [
      {
        kind: "link",
        name: DEVICE,
        type: "ipip",
        mac: null,
        mtuBytes: this.mtuBytes,
        isUp: true,
        details: { type: "ipip", local: this.#uplink.address, remote: null },
      },
      ...familySettings(4, DEVICE),
      { kind: "address", device: DEVICE, address: { address: subnet.base, length: 32 } },
    ];
  }

  planPeer(lease: Lease, useNexthops: boolean): readonly KernelObject[] {
    const objects: KernelObject[] = [];
    for (const [family, subnet] of entriesOf(lease.subnets)) {
      const remote = lease.attrs.publicAddress[family];
      if (this.devices[family] === undefined || remote === undefined) continue;
      if (this.#isDirect(remote)) {
        objects.push(routeVia(subnet, remote, this.#uplink.interface));
        continue;
      }
      objects.push(routeVia(subnet, remote, DEVICE, { isOnlink: true, viaNexthop: useNexthops }));
      if (useNexthops) objects.push(nexthopFor(remote, DEVICE));
    }
    return objects;
  }

  pathTo({ attrs }: Lease): PeerPath {
    const remote = attrs.publicAddress[4];
    return remote !== undefined && this.#isDirect(remote) ? "direct" : "tunnel";
  }

  #isDirect(remote: Address): boolean {
    return this.#options.directRouting && isDirect(this.#host, remote);
  }
}

/** Throws ConfigError where too little is left for packets. */
function tunnelMtu(uplink: Uplink): number {
  const origin = `the MTU of ${uplink.interface}`;
  const size = { origin, outerMtuBytes: uplink.mtuBytes, headers: "IPIP", headerBytes: OVERHEAD_BYTES };
  return innerMtu(size, [4]);
}
