import { describe, expect, it } from "vitest";
import { overlapFindings } from "../../../../agent/doctor/address-checks.ts";
import { backendFindings } from "../../../../agent/doctor/backend-checks.ts";
import { causeFindings } from "../../../../agent/doctor/cause-checks.ts";
import {
  type DeviceSituation,
  deviceFindings,
  parseUdpTable,
} from "../../../../agent/doctor/device-checks.ts";
import type { Finding } from "../../../../agent/doctor/finding.ts";
import { formatFindings } from "../../../../agent/doctor/finding-view.ts";
import { kernelFindings } from "../../../../agent/doctor/kernel-checks.ts";
import { leaseFindings } from "../../../../agent/doctor/lease-checks.ts";
import { nameFindings } from "../../../../agent/doctor/name-checks.ts";
import { auditLeases } from "../../../../agent/leases/lease-audit.ts";
import { causeOf } from "../../../../agent/probes/causes.ts";
import { openTerminal } from "../../../../agent/terminal/terminal.ts";
import type { DeviceExpectation, Uplink } from "../../../../backends/backend.ts";
import type { NetlinkConnection } from "../../../../backends/netlink/connection.ts";
import { EOPNOTSUPP, NetlinkError } from "../../../../backends/netlink/errors.ts";
import { kernelNeedsOf } from "../../../../backends/registry.ts";
import type { LinkObject } from "../../../../backends/state/kinds/link.ts";
import { vxlanBackend } from "../../../../backends/vxlan.ts";
import { Address, Prefix, parseInterfaceAddress } from "../../../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../../../ipam/config/network-config-parser.ts";
import type { StoreEntry } from "../../../../ipam/stores/contracts.ts";
import { hostFacts } from "../../../support/vxlan-fixture.ts";

const verdicts = (findings: readonly Finding[]) =>
  findings.map(({ verdict, subject }) => `${verdict} ${subject}`);

function vxlanLink(changes: Partial<LinkObject> = {}, local = "192.168.1.2", vni = 1): LinkObject {
  const address = Address.parse(local);
  const rest = { port: 8472, parent: "eth0", learning: false, gbp: false };
  return {
    kind: "link",
    name: "flannel.1",
    type: "vxlan",
    mac: null,
    mtuBytes: 1450,
    isUp: true,
    details: { type: "vxlan", vni, local: address, ...rest },
    ...changes,
  };
}

const expectationFor = (family: 4 | 6): DeviceExpectation => {
  const [expected] = vxlanBackend.parseOptions({}).expectations([family]);
  if (expected === undefined) throw new Error("no device is expected");
  return expected;
};

function situation(changes: Partial<DeviceSituation> = {}): DeviceSituation {
  return {
    expected: expectationFor(4),
    links: [vxlanLink()],
    portHolder: null,
    parent: { type: "", masterIndex: null, index: 2, name: "eth0", mac: null, mtuBytes: 1500, flags: 1 },
    isDaemonReady: true,
    ...changes,
  };
}

describe("the backend", () => {
  const examine = (backend: string, publicIp: string, uplink: Partial<Uplink> = {}) => {
    const config = `{"Network":"10.2.0.0/16","Backend":${backend}}`;
    const value = `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"host-gw"}`;
    const entry = { key: "10.2.9.0-24", value, revision: 2n, createRevision: 2n, storeLeaseId: "1" };
    const { leases } = auditLeases({ entries: [entry], revision: 2n, config });
    return backendFindings(parseNetworkConfig(config), hostFacts(uplink), leases);
  };

  it("is well, with the MTU of containers", () => {
    expect(examine('{"Type":"host-gw"}', "192.168.50.9")).toEqual([
      {
        verdict: "ok",
        subject: "backend",
        message: "host-gw on under0 (MTU 1500), containers get an MTU of 1500",
        remedy: null,
      },
    ]);
    expect(examine('{"Type":"vxlan"}', "198.51.100.7")[0]?.message).toContain("an MTU of 1450");
  });

  it("names peers that this host alone cannot use", () => {
    expect(examine('{"Type":"host-gw"}', "198.51.100.7")).toMatchObject([
      { verdict: "ok" },
      { verdict: "warn", message: expect.stringMatching(/1 of 1 leases.*198.51.100.7 is not on the link/) },
    ]);
  });

  it.each<[string, string, Partial<Uplink>, RegExp]>([
    [
      "an address that the interface has not",
      '{"Type":"host-gw"}',
      { publicAddress: Address.parse("203.0.113.1") },
      /^host-gw: the public address 203.0.113.1 is not the address/,
    ],
    ["an MTU that leaves nothing", '{"Type":"vxlan","MTU":100}', {}, /^Backend.MTU is 100: after 50 bytes/],
  ])("fails with %s", (_, backend, uplink, message) => {
    expect(examine(backend, "192.168.50.9", uplink)).toMatchObject([
      { verdict: "fail", subject: "backend", message: expect.stringMatching(message) },
    ]);
  });
});

describe("the device", () => {
  it("is well", () => {
    expect(verdicts(deviceFindings(situation()))).toEqual(["ok device", "ok mtu", "ok udp port"]);
  });

  const { details: _, ...bridge } = vxlanLink({ type: "bridge" });
  it.each<[string, Partial<DeviceSituation>, string]>([
    ["missing beside a ready daemon", { links: [] }, "fail device"],
    ["missing before the first start", { links: [], isDaemonReady: false }, "ok device"],
    ["down", { links: [vxlanLink({ isUp: false })] }, "fail device"],
    ["of another network", { links: [vxlanLink({}, "192.168.1.2", 7)] }, "fail device"],
    ["of another type", { links: [bridge] }, "fail device"],
    ["too wide for its parent", { links: [vxlanLink({ mtuBytes: 1451 })] }, "fail mtu"],
    [
      "too wide over IPv6",
      {
        expected: expectationFor(6),
        links: [vxlanLink({ name: "flannel-v6.1", mtuBytes: 1431 }, "fd00::2")],
      },
      "fail mtu",
    ],
    [
      "beside a device of the other family with its VNI",
      { links: [vxlanLink(), vxlanLink({ name: "flannel-v6.1" }, "fd00::2")] },
      "ok udp port",
    ],
    ["beside a program on its port", { portHolder: "nc (process 5)" }, "fail udp port"],
    [
      "beside a device with its VNI",
      { links: [vxlanLink(), vxlanLink({ name: "cilium_vxlan" })] },
      "fail udp port",
    ],
    [
      "beside a device with another VNI",
      { links: [vxlanLink(), vxlanLink({ name: "vx7" }, "192.168.1.2", 7)] },
      "ok udp port",
    ],
  ])("is %s", (_name, changes, expected) => {
    expect(verdicts(deviceFindings(situation(changes)))).toContain(expected);
  });

  it("every complaint has a remedy", () => {
    const all = deviceFindings(
      situation({ links: [vxlanLink({ isUp: false, mtuBytes: 9000 })], portHolder: "nc (process 5)" }),
    );
    expect(all.map(({ verdict, remedy }) => [verdict, remedy === null])).toEqual([
      ["fail", false],
      ["fail", false],
      ["fail", false],
    ]);
  });
});

describe("subnets of containers on this host", () => {
  const link = (index: number, name: string) => ({
    index,
    name,
    type: "bridge",
    masterIndex: null,
    mac: null,
    mtuBytes: 1450,
    flags: 1,
  });
  const links = [link(2, "eth0"), link(3, "docker0"), link(4, "cni0"), link(5, "flannel.1")];
  const address = (interfaceIndex: number, text: string) => {
    const parsed = parseInterfaceAddress(text);
    return { interfaceIndex, scope: 0, flags: 0, peer: null, broadcast: null, label: "", ...parsed };
  };
  const range = [Prefix.parse("10.2.0.0/16")];

  it("are in order on one device each, and outside the network's range", () => {
    const addresses = [
      ...[address(2, "192.168.1.2/24"), address(3, "192.168.1.3/24"), address(5, "10.2.3.0/32")],
      ...[address(4, "10.2.3.1/24"), address(3, "10.2.4.1/24")],
    ];
    expect(verdicts(overlapFindings({ links, addresses }, range))).toEqual(["ok bridges"]);
  });

  it.each([["10.2.3.1/24"], ["10.2.3.129/25"], ["10.2.0.1/16"]])(
    "are named when docker0 has %s too",
    (text) => {
      const addresses = [address(4, "10.2.3.1/24"), address(3, text)];
      const findings = overlapFindings({ links, addresses }, range);
      expect(verdicts(findings)).toEqual(["fail bridges"]);
      expect(findings[0]?.message).toMatch(/cni0 has 10\.2\.3\.0\/24 and docker0 has 10\.2\./);
    },
  );
});

describe("what a backend needs of the kernel", () => {
  /** Of a kernel that has none of the features. */
  const connection = {
    request: () => {
      throw new NetlinkError("probe", EOPNOTSUPP);
    },
    dump: () => [],
  } as unknown as NetlinkConnection;
  const missing = (config: NetworkConfig | null) =>
    verdicts(
      kernelFindings(connection, {
        needs: kernelNeedsOf(config),
        isNetworkKnown: config !== null,
        families: [],
      }),
    ).filter((text) => /vxlan|ipip|wireguard/.test(text));

  it("fails where the network's backend lacks it", () => {
    expect(missing(parseNetworkConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"ipip"}}'))).toEqual([
      "fail ipip",
    ]);
  });

  it("is a warning for each backend where the network is not known", () => {
    expect(missing(null)).toEqual(["warn vxlan", "warn ipip", "warn wireguard"]);
  });
});

it("sockets are read from the kernel's table", () => {
  const table = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  261: 00000000:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 0 2 0000000000000000 0
  498: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 23452 2 0000000000000000 0
`;
  expect(parseUdpTable(table)).toEqual([
    { port: 8472, inode: 0 },
    { port: 8080, inode: 23452 },
  ]);
});

describe("the leases", () => {
  const NODE = "0123456789abcdef0123456789abcdef";
  const entry = (key: string, value: object, storeLeaseId: string | null = "1"): StoreEntry => ({
    key,
    value: JSON.stringify({
      BackendType: "vxlan",
      BackendData: { VtepMAC: `02:00:00:00:00:${key.slice(5, 7)}` },
      ...value,
    }),
    revision: 1n,
    createRevision: 1n,
    storeLeaseId,
  });
  const findings = (...entries: StoreEntry[]) =>
    leaseFindings(auditLeases({ revision: 1n, entries, config: '{"Network":"10.2.0.0/16"}' }), {
      nodeId: NODE,
      publicAddresses: { 4: Address.parse("192.168.1.2") },
      reported: null,
    });

  it("say that a running daemon has lost its lease", () => {
    const reason = "node b holds it now";
    const lost = { key: "10.2.10.0-24", state: "conflict", reason, secondsLeft: null };
    const host = { nodeId: NODE, publicAddresses: {}, reported: lost };
    const audit = auditLeases({ revision: 1n, entries: [], config: '{"Network":"10.2.0.0/16"}' });
    expect(leaseFindings(audit, host)[0]).toEqual({
      verdict: "fail",
      subject: "own lease",
      message: "10.2.10.0-24 is lost: node b holds it now",
      remedy: null,
    });
  });

  it("name our own, whose address is not a conflict", () => {
    const all = findings(entry("10.2.10.0-24", { PublicIP: "192.168.1.2", NodeID: NODE }));
    expect(verdicts(all)).toEqual(["ok own lease", "ok leases"]);
    expect(all[0]?.message).toBe("10.2.10.0-24");
  });

  it.each<[string, StoreEntry, string, RegExp]>([
    [
      "flanneld's under our address",
      entry("10.2.10.0-24", { PublicIP: "192.168.1.2" }),
      "warn address",
      /made by flanneld/,
    ],
    [
      "another node's under our address",
      entry("10.2.10.0-24", { PublicIP: "192.168.1.2", NodeID: "f".repeat(32) }),
      "warn address",
      /another node id/,
    ],
    [
      "a reservation for us",
      entry("10.2.10.0-24", { PublicIP: "192.168.1.2", BackendData: null }, null),
      "ok address",
      /reserved/,
    ],
    ["one that cannot be used", entry("10.9.10.0-24", { PublicIP: "192.168.1.9" }), "warn leases", /1 of 1/],
  ])("show %s", (_name, lease, verdict, message) => {
    const all = findings(lease);
    expect(verdicts(all)).toContain(verdict);
    expect(all.map((finding) => finding.message).join("\n")).toMatch(message);
  });
});

it("findings are a line each, remedies below, and a count at the end", () => {
  const terminal = openTerminal({ write() {} }, {});
  const text = formatFindings(
    [
      { verdict: "ok", subject: "a", message: "good", remedy: null },
      { verdict: "fail", subject: "b", message: "broken", remedy: "mend it" },
    ],
    terminal,
  );
  expect(text).toBe(
    `ok    a             good\nfail  b             broken\n${" ".repeat(20)}→ mend it\n\n1 failed, 0 warnings\n`,
  );
  expect(formatFindings([], terminal)).toBe("\nno problem found\n");
});

describe("names of named networks", () => {
  const OURS = "169.254.53.53";
  const find = (dockerServers: readonly string[] | null, isServed: boolean) =>
    verdicts(nameFindings({ dockerServers, isServed }));

  it("are fine when served and asked for first", () => {
    expect(find([OURS, "192.0.2.1"], true)).toEqual(["ok names"]);
  });

  it("miss a setting, or a server", () => {
    expect(find([], true)).toEqual(["warn names"]);
    expect(find(["192.0.2.1", OURS], true)).toEqual(["warn names"]);
    expect(find([OURS], false)).toEqual(["fail names"]);
  });

  it("are no subject without Docker, or where they are not in use", () => {
    expect(find(null, true)).toEqual([]);
    expect(find([], false)).toEqual([]);
  });
});

describe("causes by name", () => {
  const cause = { ...causeOf("host-down", "peer 10.2.1.0-24 is down"), peer: null, peers: 1 };
  const full = causeOf("conntrack-full", "the table of connections is full");
  const sentences = (findings: readonly Finding[]) =>
    findings.map(({ verdict, message }) => `${verdict} ${message}`);

  it("are those of the daemon and those of the kernel's limits, each once", () => {
    const known = { ...full, peer: null, peers: 0 };
    expect(sentences(causeFindings({ peers: [], causes: [known, cause] }, [full]))).toEqual([
      "fail the table of connections is full (conntrack-full)",
      "warn peer 10.2.1.0-24 is down (host-down)",
    ]);
    expect(sentences(causeFindings(null, [full]))).toEqual([
      "fail the table of connections is full (conntrack-full)",
    ]);
  });

  it("are none where peers answer, and not known without a daemon or probes", () => {
    const peer = { key: "10.2.1.0-24", publicAddress: "192.0.2.1", path: "tunnel", isHeld: false } as const;
    const rest = { roundTripMs: 1, cause: null, lossShare: null, measured: null, isAgentQuiet: false };
    const good = { ...peer, health: { state: "good", ...rest } } as const;
    expect(sentences(causeFindings({ peers: [good], causes: [] }, []))).toEqual([
      "ok 1 of 1 peers answer, none is known to be broken",
    ]);
    expect(sentences(causeFindings({ peers: [peer], causes: [] }, []))[0]).toMatch(
      /^skip the daemon does not probe/,
    );
    expect(sentences(causeFindings(null, []))[0]).toMatch(/^skip no daemon/);
  });
});
