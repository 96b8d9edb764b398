/**
 * Hosts of named networks, each a namespace with eth0 on one LAN, and containers in namespaces of their own. The view is
 * made by hand: no store, no container engine.
 */

import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { SegmentHost } from "../../agent/named-networks/segment-host.ts";
import { deleteLoosePair, makeLoosePair } from "../../backends/attachment/loose-pair.ts";
import { FirewallGuard, type FirewallGuardOptions } from "../../backends/firewall/guard.ts";
import { JointPlans } from "../../backends/firewall/joint-plans.ts";
import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { segmentDevices, segmentPortName } from "../../backends/segments/names.ts";
import type { SegmentFacts } from "../../backends/segments/segment.ts";
import { Address, type Family, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { localMacFromSeed, type Mac, parseMac } from "../../ipam/addresses/mac.ts";
import { systemClock } from "../../ipam/clock.ts";
import { Faults } from "../../ipam/faults.ts";
import { silentLogger } from "../../ipam/log.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type {
  HostId,
  HostMembers,
  HostRecord,
  Member,
  NamedNetwork,
  NetworkId,
  Pool,
} from "../../ipam/named-networks/named-network.ts";
import { canPing } from "./can-ping.ts";
import { createNetns, type TestNetns } from "./netns.ts";

/** A view that tests change; unchanged parts stay the same values, as in the agent. */
export class TestFeed {
  view: NamedNetworksView = { networks: new Map(), members: new Map(), hosts: new Map() };
  storeProblem: string | null = null;
  readonly #listeners = new Set<(view: NamedNetworksView) => void>();

  onChange(listener: (view: NamedNetworksView) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(change: Partial<NamedNetworksView>): void {
    this.view = { ...this.view, ...change };
    for (const listener of this.#listeners) listener(this.view);
  }

  addNetwork(network: NamedNetwork): void {
    this.set({ networks: new Map([...this.view.networks, [network.id, network]]) });
  }

  addHost(record: HostRecord): void {
    this.set({ hosts: new Map([...this.view.hosts, [record.host, record]]) });
  }

  /** Replaces the members of one host in one network. */
  setMembers(network: NetworkId, host: HostId, members: readonly Member[]): void {
    const ofNetwork = new Map<HostId, HostMembers>(this.view.members.get(network) ?? []);
    if (members.length === 0) ofNetwork.delete(host);
    else ofNetwork.set(host, { host, network, members });
    this.set({ members: new Map([...this.view.members, [network, ofNetwork]]) });
  }

  membersOf(network: NetworkId, host: HostId): readonly Member[] {
    return this.view.members.get(network)?.get(host)?.members ?? [];
  }
}

export function hostId(n: number): HostId {
  return n.toString(16).padStart(32, "0") as HostId;
}

/** Network number `n`: VNI 4096 + n, 10.<100 + n>.0.0/16 and fd00:<n>::/64. */
export function testNetwork(n: number, overrides: Partial<NamedNetwork> = {}): NamedNetwork {
  return {
    id: (0x1000 + n).toString(16).padStart(32, "0") as NetworkId,
    name: `net${n}`,
    vni: 4096 + n,
    pools: { 4: pool(`10.${100 + n}.0.0/16`), 6: pool(`fd00:${n.toString(16)}::/64`) },
    isInternal: false,
    hasBroadcast: false,
    mtuBytes: null,
    labels: {},
    options: {},
    createdSeconds: 1_700_000_000,
    ...overrides,
  };
}

function pool(text: string): Pool {
  const subnet = Prefix.parse(text);
  return { subnet, allocation: subnet, gateway: subnet.base.plus(1), excluded: [] };
}

/** Member `n` (2 .. 65533) of network number `network`. */
export function testMember(network: number, n: number, overrides: Partial<Member> = {}): Member {
  return {
    endpoint: `endpoint-${network}-${n}`,
    container: null,
    engine: "docker",
    names: [`c${n}`],
    mac: macOf(network, n),
    addresses: {
      4: Address.parse(`10.${100 + network}.${n >> 8}.${n & 255}`),
      6: Address.parse(`fd00:${network.toString(16)}::${n.toString(16)}`),
    },
    ...overrides,
  };
}

function macOf(network: number, n: number): Mac {
  const hex = (value: number): string =>
    value
      .toString(16)
      .padStart(4, "0")
      .replace(/(..)(..)/, "$1:$2");
  return parseMac(`02:42:${hex(network)}:${hex(n)}`);
}

/** A container of a test: a namespace with eth0 in a named network. */
export interface TestContainer {
  readonly netns: TestNetns;
  readonly member: Member;
  readonly port: string;
}

export interface SegmentLabHostOptions {
  /** Of the address on the LAN, 10.99.0.<n>, and of the host's id. */
  readonly n: number;
  readonly feed: TestFeed;
  readonly families?: readonly Family[];
  /** Default: none. */
  readonly firewall?: FirewallGuardOptions["choice"];
}

/** A host with the agent's part for named networks, and nothing else of the agent. */
export class SegmentLabHost {
  readonly netns: TestNetns;
  readonly handle: NetnsHandle;
  readonly netlink: NetlinkConnection;
  readonly port: RtnetlinkPort;
  readonly facts: SegmentFacts;
  readonly feed: TestFeed;
  readonly containers: TestContainer[] = [];
  readonly faults = new Faults(silentLogger);
  readonly guard: FirewallGuard;
  readonly plans: JointPlans;
  segments: SegmentHost;
  #abort = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor({ n, feed, families = [4], firewall = "none" }: SegmentLabHostOptions) {
    this.feed = feed;
    this.netns = createNetns(`seg${n}`);
    this.netns.ip("link add eth0 type veth peer name wire", "link set eth0 up", "link set wire up");
    const addresses: PerFamily<Address> = Object.fromEntries(
      families.map((family) => [
        family,
        Address.parse(family === 4 ? `10.99.0.${n}` : `fd99::${n.toString(16)}`),
      ]),
    );
    for (const address of Object.values(addresses))
      this.netns.ip(`addr add ${address}/${address.family === 4 ? 24 : "64 nodad"} dev eth0`);
    this.handle = NetnsHandle.open(this.netns.path);
    this.netlink = NetlinkConnection.open({ netns: this.handle });
    this.port = RtnetlinkPort.open({ netns: this.handle });
    this.facts = factsOf(n, addresses);
    this.guard = new FirewallGuard({
      choice: firewall,
      resyncSeconds: 3600,
      log: silentLogger,
      clock: systemClock,
      commandPrefix: ["nsenter", `--net=${this.netns.path}`],
      netns: this.handle,
    });
    this.guard.start();
    this.plans = new JointPlans(this.guard);
    feed.addHost({
      host: hostId(n),
      name: `host${n}`,
      publicAddresses: addresses,
      localPrefixes: [],
      version: "test",
    });
    this.segments = this.#newSegments();
  }

  /** Connects this host's eth0 with a switch that all hosts of a test share. */
  plugInto(lan: TestNetns): this {
    const end = `w${this.facts.host.slice(-4)}`;
    this.netns.ip(`link set wire netns ${lan.name} name ${end}`);
    lan.ip(`link set ${end} master lan`, `link set ${end} up`);
    return this;
  }

  start(): this {
    this.#running = this.segments.run(this.#abort.signal);
    return this;
  }

  /** Restarts this part with empty memory, as a restart of the daemon does. */
  async restart(): Promise<void> {
    await this.stop();
    this.#abort = new AbortController();
    this.segments = this.#newSegments();
    this.start();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async settled(): Promise<void> {
    await this.segments.settled(AbortSignal.timeout(20_000));
    await this.segments.ruled();
  }

  /** Runs a container of network number `network` as an engine would: publishes it, makes the pair, moves its end. */
  async run(network: NamedNetwork, member: Member): Promise<TestContainer> {
    const { host } = this.facts;
    this.feed.setMembers(network.id, host, [...this.feed.membersOf(network.id, host), member]);
    const ready = await this.segments.ready(network.id, AbortSignal.timeout(10_000));
    const port = segmentPortName(network.id, member.endpoint);
    const { bridge, mtuBytes } = ready;
    await makeLoosePair(this.netlink, { bridge, port, containerEnd: "ctmp", mac: member.mac, mtuBytes });
    const netns = createNetns("ctr");
    this.netns.ip(`link set ctmp netns ${netns.name} name eth0`);
    for (const address of Object.values(member.addresses))
      netns.ip(`addr add ${address}/${address.family === 4 ? 16 : "64 nodad"} dev eth0`);
    netns.ip("link set eth0 up");
    const container = { netns, member, port };
    this.containers.push(container);
    return container;
  }

  async remove(network: NamedNetwork, { netns, member, port }: TestContainer): Promise<void> {
    const { host } = this.facts;
    await deleteLoosePair(this.netlink, port);
    netns.dispose();
    const left = this.feed.membersOf(network.id, host).filter(({ endpoint }) => endpoint !== member.endpoint);
    this.feed.setMembers(network.id, host, left);
  }

  /** Runs a shell command in the host's namespace, with its /proc/sys. */
  sh(command: string): string {
    return execFileSync("nsenter", [`--net=${this.netns.path}`, "sh", "-c", command], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 1 << 28,
    });
  }

  /** What iproute2 shows of a network's devices. */
  shown({ vni }: NamedNetwork): string {
    const { bridge, vxlan } = segmentDevices(vni);
    const commands = [
      `ip -d link show ${bridge} | sed 's/^[0-9]*: //; s/gc_timer *[0-9.]*//; s/[a-z_]*timer *[0-9.]*//g; s/mtu_set//'`,
      `ip -d link show ${vxlan} | sed 's/^[0-9]*: //; s/port_no [^ ]* //; s/port_id [^ ]* //; s/designated_port [^ ]* //; s/[a-z_]*timer *[0-9.]*//g'`,
      `ip neigh show dev ${bridge} nud permanent | sort`,
      `ip -o addr show dev ${bridge}`,
      `bridge fdb show br ${bridge} | grep -v ' permanent$' | grep -v 'dev tp-' | sort`,
      `bridge fdb show dev ${vxlan} | grep -v 'master .* permanent' | sort`,
      `ip -o link show master ${bridge} | sed 's/^[0-9]*: //; s/@.*//' | sort`,
      `cat /proc/sys/net/ipv4/conf/${bridge}/arp_ignore /proc/sys/net/ipv6/conf/${bridge}/addr_gen_mode /proc/sys/net/ipv6/conf/${vxlan}/disable_ipv6`,
    ];
    return this.sh(`{ ${commands.join("; ")}; } 2>&1; true`);
  }

  async dispose(): Promise<void> {
    await this.stop();
    await this.guard.stop();
    for (const { netns } of this.containers) netns.dispose();
    this.port.close();
    this.netlink.close();
    this.handle.close();
    this.netns.dispose();
  }

  #newSegments(): SegmentHost {
    const { feed, facts, port, netlink, faults } = this;
    const runtime = { clock: systemClock, random: () => 0.5, logger: silentLogger, faults, port, netlink };
    return new SegmentHost({ runtime, feed, facts, settings: { openPort: true }, plans: this.plans });
  }
}

/** A switch that hosts are plugged into. */
export function createLan(): TestNetns {
  const lan = createNetns("lan");
  lan.ip("link add lan type bridge", "link set lan up");
  return lan;
}

function factsOf(n: number, addresses: PerFamily<Address>): SegmentFacts {
  const uplinks = Object.fromEntries(
    Object.entries(addresses).map(([family, address]) => [
      family,
      { interface: "eth0", mtuBytes: 1500, address, publicAddress: address, onLinkPrefixes: [] },
    ]),
  );
  return {
    host: hostId(n),
    uplinks,
    hasIpv6: true,
    port: 8472,
    macFor: (device) => localMacFromSeed(createHash("sha256").update(`${n} ${device}`).digest()),
  };
}

/** True when a ping gets an answer within some seconds: a port opens a moment after both ends of the pair are up. */
export async function reaches(from: TestContainer, to: Address | undefined): Promise<boolean> {
  for (let attempt = 0; attempt < 10; attempt++) {
    if (canPing(from.netns, to)) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

/** Pings 200 times a second while `body` runs and answers how many pings had no reply. */
export async function countLost(
  { netns }: TestContainer,
  to: Address | undefined,
  body: () => Promise<void>,
): Promise<number> {
  const child = spawn("nsenter", [`--net=${netns.path}`, "ping", "-i", "0.005", "-q", String(to)]);
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += String(chunk);
  });
  const closed = new Promise((resolve) => child.on("close", resolve));
  await new Promise((resolve) => setTimeout(resolve, 200));
  await body();
  await new Promise((resolve) => setTimeout(resolve, 200));
  child.kill("SIGINT");
  await closed;
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(output) ?? [];
  return Number(sent) - Number(received);
}
