/**
 * The WireGuard backend: an encrypted tunnel, one peer of a device for each host.
 *
 *   route       10.2.0.0/16 dev flannel-wg                          all of the network enters the device
 *   route       10.9.54.0/24 dev flannel-wg                         a peer in another range, while the network moves
 *   peer        PUBLIC-KEY endpoint 192.168.1.243:51820 allowed-ips 10.2.54.0/24
 *
 * The device chooses the peer by the destination and drops what is for none (cryptokey routing), so nothing leaves in the
 * clear while a peer's key is unknown. Should the device itself be missing, a blackhole route behind the other one drops
 * the packets. flannel's scheme, so hosts with either agent reach each other. Pure: the key comes from wireguard/key-file.ts.
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
import { ConfigError } from "../ipam/errors.ts";
import type { JsonObject, JsonValue } from "../ipam/json.ts";
import type { Lease, LeaseKey } from "../ipam/leases/lease.ts";
import type {
  Backend,
  BackendOptions,
  DeviceExpectation,
  HostFacts,
  OwnershipRecord,
  PeerDetails,
  PeerPath,
  PreparedBackend,
  ProvisionContext,
  SessionReader,
  Tunnel,
} from "./backend.ts";
import { familySettings } from "./device-settings.ts";
import { innerMtu } from "./mtu.ts";
import { integerOption, secretOption, wordOption } from "./options.ts";
import { blackholeRoute, deviceRoute, isElsewhere, typeProblem } from "./peers.ts";
import { encodeWireguardProbe } from "./state/devices/wireguard.ts";
import type { LinkObject } from "./state/kinds/link.ts";
import type { KernelObject } from "./state/kinds/registry.ts";
import type { WireguardPeerObject } from "./state/kinds/wg-peer.ts";
import {
  dataDamage,
  dataProblem,
  MODES,
  type Mode,
  outerAddress,
  portIn,
  publicKeyIn,
} from "./wireguard/endpoint.ts";
import { type KeyPair, parseKey } from "./wireguard/key.ts";
import { provideKeyPair } from "./wireguard/key-file.ts";

const SHARED_DEVICE = "flannel-wg";
const DEVICES: Readonly<Record<Family, string>> = { 4: SHARED_DEVICE, 6: "flannel-wg-v6" };

/** Outer IPv6 40 + UDP 8 + WireGuard 32, in bytes; flannel counts it for IPv4 too. */
const OVERHEAD_BYTES = 80;

export const wireguardBackend: Backend = {
  type: "wireguard",
  options: [
    { key: "Mode", kind: "text", help: `one of ${MODES.join(", ")} (default: separate)` },
    { key: "ListenPort", kind: "number", help: "UDP port (default: 51820)" },
    {
      key: "ListenPortV6",
      kind: "number",
      help: "UDP port of the IPv6 tunnel with Mode separate (default: 51821)",
    },
    { key: "MTU", kind: "number", help: "MTU of the hosts' interfaces (default: read from them)" },
    {
      key: "PersistentKeepaliveInterval",
      kind: "number",
      help: "seconds between keepalives (default: 0, none)",
    },
    {
      key: "PSK",
      kind: "text",
      help: 'pre-shared key, as "wg genpsk" prints it; other users see a command line, so prefer --file',
      isSecret: true,
    },
  ],
  deviceTypes: ["wireguard"],
  kernelNeeds: [
    {
      subject: "wireguard",
      feature: "WireGuard devices",
      probe: encodeWireguardProbe,
      remedy:
        'load it ("modprobe wireguard"), or install a kernel of 5.6 or newer with its modules (Debian: linux-image-amd64)',
    },
  ],
  isDeviceName: (name) => Object.values(DEVICES).includes(name),
  isRecorded,
  parseOptions: (options) => new WireguardOptions(options),
};

/** A WireGuard device has no hardware address that could tell whose it is: the record of names decides. */
function isRecorded({ name, details }: LinkObject, { devices }: OwnershipRecord): boolean {
  return Object.values(DEVICES).includes(name) && details?.type === "wireguard" && devices.has(name);
}

class WireguardOptions implements BackendOptions {
  readonly mode: Mode;
  /** UDP ports; that of IPv6 belongs to its own device. */
  readonly ports: Readonly<Record<Family, number>>;
  /** 0: the interface's MTU. */
  readonly mtuBytes: number;
  readonly keepaliveSeconds: number;
  /** Base64; null for none. */
  readonly presharedKey: string | null;
  /** Null before provision(). */
  readonly keys: KeyPair | null;
  readonly #json: JsonObject;

  constructor(options: JsonObject, keys: KeyPair | null = null) {
    this.#json = options;
    this.keys = keys;
    this.mode = wordOption(options, "Mode", MODES, "separate");
    const shared = integerOption(options, "ListenPort", 51_820, 1, 65_535);
    const separate = integerOption(options, "ListenPortV6", 51_821, 1, 65_535);
    this.ports = { 4: shared, 6: this.mode === "separate" ? separate : shared };
    this.mtuBytes = integerOption(options, "MTU", 0, 0, 65_535);
    this.keepaliveSeconds = integerOption(options, "PersistentKeepaliveInterval", 0, 0, 65_535);
    this.presharedKey = secretOption(options, "PSK", parseKey, '32 bytes in base64, as "wg genpsk" prints');
  }

  async provision(context: ProvisionContext): Promise<BackendOptions> {
    return new WireguardOptions(this.#json, await provideKeyPair(context));
  }

  deviceNames(families: readonly Family[]): PerFamily<string> {
    const nameOf = (family: Family) => (this.mode === "separate" ? DEVICES[family] : SHARED_DEVICE);
    return Object.fromEntries(families.map((family) => [family, nameOf(family)]));
  }

  lockNames(networks: PerFamily<Prefix>): readonly string[] {
    return uniqueNames(this.deviceNames(entriesOf(networks).map(([family]) => family)));
  }

  canAdopt({ details }: LinkObject): boolean {
    return details?.type === "wireguard";
  }

  expectations(families: readonly Family[]): readonly DeviceExpectation[] {
    const names = this.deviceNames(families);
    const firsts = entriesOf(names).filter(
      ([, device], index, all) => all.findIndex(([, other]) => other === device) === index,
    );
    return firsts.map(([family, device]) => ({
      device,
      family,
      overheadBytes: OVERHEAD_BYTES,
      port: this.ports[family],
      portOption: family === 6 && this.mode === "separate" ? "ListenPortV6" : "ListenPort",
      mismatch: ({ type }) => (type === "wireguard" ? null : `of type ${type || "physical"}`),
      occupied: () => null,
    }));
  }

  prepare(host: HostFacts, families: readonly Family[]): PreparedBackend {
    requireCarriers(this, host, families);
    return new WireguardNetwork(this, host, families);
  }

  /** Hosts on different keys or ports lose each other, and other devices are other tunnels. */
  unsafeDifferences(other: BackendOptions): readonly string[] {
    if (!(other instanceof WireguardOptions)) return ["Type"];
    const differences: string[] = [];
    if (other.mode !== this.mode) differences.push("Mode");
    if (other.presharedKey !== this.presharedKey) differences.push("PSK");
    if (other.ports[4] !== this.ports[4]) differences.push("ListenPort");
    if (this.mode === "separate" && other.ports[6] !== this.ports[6]) differences.push("ListenPortV6");
    return differences;
  }
}

/** Throws ConfigError for options that do not fit the families. */
function requireCarriers(
  { mode, ports }: WireguardOptions,
  host: HostFacts,
  families: readonly Family[],
): void {
  const carrier: Family | null = mode === "ipv4" ? 4 : mode === "ipv6" ? 6 : null;
  if (carrier !== null && host.uplinks[carrier] === undefined) {
    throw new ConfigError(
      `network config: Backend.Mode is "${mode}", but the network does not enable IPv${carrier}; enable it or write "separate" or "auto"`,
    );
  }
  if (mode === "separate" && families.length > 1 && ports[4] === ports[6]) {
    throw new ConfigError(
      `network config: Backend.ListenPort and Backend.ListenPortV6 are both ${ports[4]}; a WireGuard device holds its port for both families, so write different ones`,
    );
  }
}

class WireguardNetwork implements PreparedBackend {
  readonly type = "wireguard";
  readonly leaseType = "wireguard";
  readonly devices: PerFamily<string>;
  readonly sharedDevices = [];
  readonly nexthopDevices = [];
  readonly entrances: PerFamily<readonly string[]>;
  readonly mtuBytes: number;
  readonly tunnels: PerFamily<Tunnel>;
  readonly leaseData: PerFamily<JsonValue>;
  readonly startRunner = null;
  readonly #options: WireguardOptions;
  readonly #host: HostFacts;
  readonly #ours: PerFamily<Address>;

  constructor(options: WireguardOptions, host: HostFacts, families: readonly Family[]) {
    this.#options = options;
    this.#host = host;
    this.#ours = mapFamilies(host.uplinks, ({ address }) => address);
    this.devices = options.deviceNames(families);
    this.entrances = mapFamilies(this.devices, (device) => [device]);
    this.mtuBytes = tunnelMtu(options, host, families);
    const { keys, ports } = options;
    this.tunnels = mapFamilies(this.devices, (device, family) => ({
      device,
      port: ports[family],
      isAuthenticated: true,
    }));
    this.leaseData =
      keys === null
        ? {}
        : mapFamilies(this.devices, (_, family) => ({ PublicKey: keys.publicKey, Port: ports[family] }));
  }

  rejectPeer(lease: Lease): string | null {
    const otherType = typeProblem(lease, this);
    if (otherType !== null) return otherType;
    for (const [family] of entriesOf(this.devices)) {
      if (lease.subnets[family] === undefined) continue;
      const problem = dataProblem(lease, family);
      if (problem !== null) return problem;
      if (Object.keys(lease.attrs.publicAddress).length === 0) return "it has no public address";
    }
    return null;
  }

  damageOf(lease: Lease): string | null {
    if (typeProblem(lease, this) !== null) return null;
    for (const [family] of entriesOf(this.devices)) {
      const damage = lease.subnets[family] === undefined ? null : dataDamage(lease, family);
      if (damage !== null) return damage;
    }
    return null;
  }

  rejectLocally(lease: Lease): string | null {
    for (const [family] of entriesOf(this.devices)) {
      if (lease.subnets[family] !== undefined && this.#outerAddress(lease, family) === null)
        return `it has no public address in a family that carries IPv${family} from here`;
    }
    return null;
  }

  peerIdentities({ attrs }: Pick<Lease, "attrs">): readonly string[] {
    const keys = entriesOf(this.devices).flatMap(([family]) => publicKeyIn(attrs.backendData[family]) ?? []);
    return [...new Set(keys)];
  }

  planBase(own: PerFamily<Prefix>): readonly KernelObject[] {
    const objects: KernelObject[] = [];
    for (const device of uniqueNames(this.devices)) objects.push(...this.#device(device));
    for (const [family, device] of entriesOf(this.devices)) {
      const subnet = own[family];
      const network = this.#host.networks[family];
      if (subnet === undefined || network === undefined) continue;
      if (family === 4 || this.#host.hasIpv6) objects.push(...familySettings(family, device));
      const length = ADDRESS_BITS[family];
      objects.push(
        { kind: "address", device, address: { address: subnet.base, length } },
        deviceRoute(network, device),
        blackholeRoute(network),
      );
    }
    return objects;
  }

  planPeer(lease: Lease): readonly KernelObject[] {
    const peers = new Map<string, WireguardPeerObject>();
    const routes: KernelObject[] = [];
    for (const [family, device] of entriesOf(this.devices)) {
      const subnet = lease.subnets[family];
      const data = lease.attrs.backendData[family];
      const publicKey = publicKeyIn(data);
      const address = this.#outerAddress(lease, family);
      if (subnet === undefined || publicKey === null || address === null) continue;
      const { presharedKey, keepaliveSeconds, ports } = this.#options;
      const known = peers.get(`${device} ${publicKey}`);
      peers.set(`${device} ${publicKey}`, {
        kind: "wg-peer",
        device,
        publicKey,
        presharedKey,
        endpoint: known?.endpoint ?? { address, port: portIn(data) ?? ports[family] },
        keepaliveSeconds,
        allowedPrefixes: [...(known?.allowedPrefixes ?? []), subnet],
      });
      if (isElsewhere(subnet, this.#host)) routes.push(deviceRoute(subnet, device), blackholeRoute(subnet));
    }
    return [...peers.values(), ...routes];
  }

  pathTo(): PeerPath {
    return "tunnel";
  }

  peerDetails(sessionsOf: SessionReader, peers: Iterable<Lease>): ReadonlyMap<LeaseKey, PeerDetails> {
    const sessions = uniqueNames(this.devices).map(sessionsOf);
    const details = new Map<LeaseKey, PeerDetails>();
    for (const lease of peers) {
      const found = this.peerIdentities(lease).flatMap((key) =>
        sessions.flatMap((each) => each.get(key) ?? []),
      );
      if (found.length > 0) details.set(lease.key, joined(found));
    }
    return details;
  }

  #outerAddress({ attrs }: Lease, family: Family): Address | null {
    return outerAddress(this.#options.mode, family, attrs.publicAddress, this.#ours);
  }

  #device(device: string): readonly KernelObject[] {
    const { keys, ports } = this.#options;
    const link: LinkObject = {
      kind: "link",
      name: device,
      type: "wireguard",
      mac: null,
      mtuBytes: this.mtuBytes,
      isUp: true,
      details: { type: "wireguard" },
    };
    if (keys === null) return [link];
    const listenPort = device === SHARED_DEVICE ? ports[4] : ports[6];
    return [link, { kind: "wg-device", device, ...keys, listenPort }];
  }
}

/** The sessions with one peer on several devices as one. */
function joined(sessions: readonly PeerDetails[]): PeerDetails {
  const ages = sessions.flatMap(({ handshakeAgeSeconds }) => handshakeAgeSeconds ?? []);
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  return {
    handshakeAgeSeconds: ages.length === 0 ? null : Math.min(...ages),
    receivedBytes: sum(sessions.map(({ receivedBytes }) => receivedBytes)),
    sentBytes: sum(sessions.map(({ sentBytes }) => sentBytes)),
  };
}

function uniqueNames(devices: PerFamily<string>): readonly string[] {
  return [...new Set(Object.values(devices))];
}

/** Of all devices, for the interface with the smallest MTU. Throws ConfigError where too little is left for packets. */
function tunnelMtu(
  { mtuBytes }: WireguardOptions,
  { uplinks }: HostFacts,
  families: readonly Family[],
): number {
  const [smallest] = Object.values(uplinks).sort((a, b) => a.mtuBytes - b.mtuBytes);
  const outerBytes = mtuBytes || (smallest?.mtuBytes ?? 0);
  const origin = mtuBytes ? "Backend.MTU" : `the MTU of ${smallest?.interface ?? "no interface"}`;
  const size = { origin, outerMtuBytes: outerBytes, headers: "WireGuard", headerBytes: OVERHEAD_BYTES };
  return innerMtu(size, families);
}
