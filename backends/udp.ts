/**
 * The udp backend: packets in the payload of UDP datagrams, one IP packet each and nothing else, carried by a thread of
 * the daemon. It needs no kernel module but tun.
 *
 *   device flannel0     a TUN device with the base address of this host's subnet
 *   route  10.2.0.0/16 dev flannel0     one for the whole network: which peer has a destination is the thread's to know
 *
 * The datagrams of IPv4 are flannel's, so hosts with either agent reach each other. IPv6, which flannel's udp backend does
 * not carry, travels in the same form between the hosts' IPv6 addresses. Pure but for startRunner.
 */

import {
  ADDRESS_BITS,
  entriesOf,
  type Family,
  mapFamilies,
  type PerFamily,
  type Prefix,
} from "../ipam/addresses/ip.ts";
import type { JsonObject } from "../ipam/json.ts";
import type { Lease } from "../ipam/leases/lease.ts";
import type {
  Backend,
  BackendOptions,
  BackendRunner,
  DeviceExpectation,
  HostFacts,
  PeerPath,
  PreparedBackend,
  RunnerDeps,
  Tunnel,
} from "./backend.ts";
import { TunnelRunner } from "./datapath/tunnel-runner.ts";
import { familySettings } from "./device-settings.ts";
import { IPV6_MIN_MTU_BYTES, innerMtu } from "./mtu.ts";
import { integerOption } from "./options.ts";
import { addressProblem, deviceRoute, isElsewhere, typeProblem } from "./peers.ts";
import type { KernelObject } from "./state/kinds/registry.ts";
import type { SysctlObject } from "./state/kinds/sysctl.ts";

const DEFAULT_PORT = 8285;

/** flannel asks the kernel for the first free name of `flannel%d`, which on a host with one network is this. */
const DEVICE = "flannel0";

/** IP header + UDP 8, in bytes. */
const OVERHEAD_BYTES: Readonly<Record<Family, number>> = { 4: 28, 6: 48 };

export const udpBackend: Backend = {
  type: "udp",
  options: [{ key: "Port", kind: "number", help: `UDP port (default: ${DEFAULT_PORT})` }],
  deviceTypes: ["tun"],
  kernelNeeds: [
    {
      subject: "tun",
      feature: "TUN devices",
      file: "/dev/net/tun",
      remedy: 'load the module ("modprobe tun"), or give the container the device',
    },
  ],
  isDeviceName: (name) => name === DEVICE,
  isRecorded: ({ name, type }, { devices }) => name === DEVICE && type === "tun" && devices.has(name),
  parseOptions: (options) => new UdpOptions(options),
};

class UdpOptions implements BackendOptions {
  readonly port: number;

  constructor(options: JsonObject) {
    this.port = integerOption(options, "Port", DEFAULT_PORT, 1, 65_535);
  }

  deviceNames(families: readonly Family[]): PerFamily<string> {
    return Object.fromEntries(families.map((family) => [family, DEVICE]));
  }

  lockNames(): readonly string[] {
    return [DEVICE];
  }

  canAdopt(): boolean {
    return false; // it has no hardware address
  }

  /** One device carries all families. */
  expectations(families: readonly Family[]): readonly DeviceExpectation[] {
    const family = families.includes(6) ? 6 : 4;
    return [
      {
        device: DEVICE,
        family,
        overheadBytes: OVERHEAD_BYTES[family],
        port: this.port,
        receiver: "daemon",
        mismatch: ({ type, details }) =>
          details?.type === "tun" && details.mode === "tun" ? null : `of type ${type || "physical"}`,
        occupied: () => null,
      },
    ];
  }

  prepare(host: HostFacts, families: readonly Family[]): PreparedBackend {
    return new UdpNetwork(this, host, families);
  }

  unsafeDifferences(other: BackendOptions): readonly string[] {
    if (!(other instanceof UdpOptions)) return ["Type"];
    return other.port === this.port ? [] : ["Port"];
  }
}

class UdpNetwork implements PreparedBackend {
  readonly type = "udp";
  readonly leaseType = "";
  readonly leaseData = {};
  readonly sharedDevices: readonly string[] = [];
  readonly nexthopDevices: readonly string[] = [];
  readonly devices: PerFamily<string>;
  readonly entrances: PerFamily<readonly string[]>;
  readonly mtuBytes: number;
  readonly tunnels: PerFamily<Tunnel>;
  readonly #options: UdpOptions;
  readonly #host: HostFacts;

  constructor(options: UdpOptions, host: HostFacts, families: readonly Family[]) {
    this.#options = options;
    this.#host = host;
    this.devices = options.deviceNames(families);
    this.entrances = mapFamilies(this.devices, (device) => [device]);
    this.tunnels = mapFamilies(this.devices, (device) => ({ device, port: options.port, isChecked: true }));
    this.mtuBytes = tunnelMtu(host, families);
  }

  /** flanneld's udp and alloc backends publish an IPv4 address only, whatever the families: that part of them is usable. */
  rejectPeer(lease: Lease): string | null {
    const families = entriesOf(this.devices).map(([family]) => family);
    const isUsable = families.some((family) => lease.subnets[family] && lease.attrs.publicAddress[family]);
    return typeProblem(lease, this) ?? (isUsable ? null : addressProblem(lease, families));
  }

  rejectLocally(): string | null {
    return null;
  }

  peerIdentities(): readonly string[] {
    return [];
  }

  planBase(own: PerFamily<Prefix>): readonly KernelObject[] {
    const families = entriesOf(this.#host.networks).filter(([family]) => own[family] !== undefined);
    const objects: KernelObject[] = [
      {
        kind: "link",
        name: DEVICE,
        type: "tun",
        mac: null,
        mtuBytes: this.mtuBytes,
        isUp: true,
        details: { type: "tun", mode: "tun" },
      },
      ...this.#sysctls(families.map(([family]) => family)),
    ];
    for (const [family, network] of families) {
      const base = (own[family] as Prefix).base;
      objects.push(
        { kind: "address", device: DEVICE, address: { address: base, length: ADDRESS_BITS[family] } },
        deviceRoute(network, DEVICE),
      );
    }
    return objects;
  }

  /** The route for the network leads to the thread, which knows the peers. */
  planPeer({ subnets }: Lease): readonly KernelObject[] {
    const elsewhere = Object.values(subnets).filter((subnet) => isElsewhere(subnet, this.#host));
    return elsewhere.map((subnet) => deviceRoute(subnet, DEVICE));
  }

  startRunner = (deps: RunnerDeps): BackendRunner => {
    const { port } = this.#options;
    const listeners = Object.values(this.#host.uplinks).map(({ address }) => ({
      address: String(address),
      port,
    }));
    return new TunnelRunner({ device: DEVICE, listeners, port, program: threadProgram() }, deps);
  };

  pathTo(): PeerPath {
    return "tunnel";
  }

  /**
   * Router advertisements from a peer must not configure us. The thread's ICMP errors come from the device's own address,
   * which the kernel accepts with accept_local alone: the thread lets no peer use it.
   */
  #sysctls(families: readonly Family[]): readonly SysctlObject[] {
    const set = (path: string, value: string): SysctlObject => ({
      kind: "sysctl",
      path,
      device: DEVICE,
      value,
    });
    const hasIpv6 = this.#host.hasIpv6 && this.mtuBytes >= IPV6_MIN_MTU_BYTES;
    return [
      ...families.flatMap((family) => familySettings(family, DEVICE)),
      ...(families.includes(4) ? [set(`net/ipv4/conf/${DEVICE}/accept_local`, "1")] : []),
      ...(hasIpv6 ? [set(`net/ipv6/conf/${DEVICE}/accept_ra`, "0")] : []),
    ];
  }
}

/** What fits into the datagrams of every family. Throws ConfigError where too little is left. */
function tunnelMtu({ uplinks }: HostFacts, families: readonly Family[]): number {
  // The longer header first: its remedy is enough for both.
  const mtus = entriesOf(uplinks)
    .reverse()
    .map(([family, uplink]) => {
      const origin = `the MTU of ${uplink.interface}`;
      const headerBytes = OVERHEAD_BYTES[family];
      return innerMtu(
        { origin, outerMtuBytes: uplink.mtuBytes, headers: "IP and UDP", headerBytes },
        families,
      );
    });
  return Math.min(...mtus);
}

/** Beside the program in dist/lib; from the sources, Node 22.18 and later run it as it is. */
function threadProgram(): URL {
  const isSource = import.meta.url.endsWith(".ts");
  return new URL(isSource ? "./datapath/worker.ts" : "./tulled-path.cjs", import.meta.url);
}
