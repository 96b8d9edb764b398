/** `tulle explain` through a VXLAN device of the real kernel: each way in which that step can end. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { type Explanation, Steps } from "../../../agent/explain/explanation.ts";
import { readIpsecPolicies } from "../../../agent/explain/ipsec-step.ts";
import { KernelView } from "../../../agent/explain/kernel-view.ts";
import { NOTHING_KNOWN } from "../../../agent/explain/knowledge.ts";
import { MtuPath } from "../../../agent/explain/mtu-path.ts";
import { explain } from "../../../agent/explain/way.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import type { IpsecPolicy } from "../../../backends/netlink/ipsec-policy.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { ROUTE_PROTOCOL } from "../../../backends/state/contract/kind.ts";
import type { Address } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { TARGET } from "../../unit/agent/probes/target-fixture.ts";

const MAC = "02:42:0a:02:36:00";
const OUTER = TARGET.outer.toString();
const ROUTE = `${TARGET.subnet} via ${TARGET.inner} dev flannel.1 onlink proto ${ROUTE_PROTOCOL}`;
const MISSING = `tulled's route to ${TARGET.subnet}, of peer host2, is missing`;

describeAsRoot("a packet that enters a VXLAN device", () => {
  let netns: TestNetns;
  let connection: NetlinkConnection;

  beforeEach(() => {
    netns = createNetns("explain-tunnel");
    netns.ip(
      "link add eth0 type veth peer name lan",
      "link set lan up",
      "link set eth0 up",
      "address add 192.168.1.11/24 dev eth0",
      `neighbour add ${OUTER} lladdr 02:00:00:00:00:02 dev eth0`,
      "link add flannel.1 mtu 1450 type vxlan id 1 local 192.168.1.11 dstport 8472 nolearning",
      "link set flannel.1 up",
      "address add 10.2.1.0/32 dev flannel.1",
      `route add ${ROUTE}`,
      `neighbour add ${TARGET.inner} lladdr ${MAC} dev flannel.1`,
    );
    bridge(`fdb add ${MAC} dev flannel.1 dst ${OUTER} self permanent`);
    const handle = NetnsHandle.open(netns.path);
    connection = NetlinkConnection.open({ netns: handle });
    handle.close();
  });
  afterEach(() => {
    connection.close();
    netns.dispose();
  });

  const bridge = (args: string): void => void netns.exec("bridge", args.split(" "));

  const policies = (): readonly IpsecPolicy[] => {
    const handle = NetnsHandle.open(netns.path);
    try {
      return readIpsecPolicies(handle);
    } finally {
      handle.close();
    }
  };

  /** `isKnown`: the daemon tells of the peer. */
  function explained(isKnown = true): Explanation {
    const peer = { target: TARGET, label: "host2", health: null };
    const known = {
      ...NOTHING_KNOWN,
      peerOf: (address: Address) => (TARGET.subnet.contains(address) ? peer : null),
      peerBehind: (outer: Address) => (outer.equals(TARGET.outer) ? peer : null),
      devices: ["flannel.1"],
    };
    return explain(
      {
        kernel: new KernelView(connection),
        readSysctl: () => null,
        readWireguard: () => null,
        ipsec: policies(),
        firewall: { tables: [], frames: [], unknown: [] },
        knowledge: isKnown ? known : NOTHING_KNOWN,
        steps: new Steps(),
        mtu: new MtuPath(),
      },
      {
        ...{ origin: null, destination: TARGET.subnet.base.plus(7) },
        ...{ protocol: "icmp", destinationPort: null },
      },
    );
  }

  it("leaves for the peer's host", () => {
    const { steps, end } = explained();
    expect(end).toEqual({
      ...{ outcome: "leaves", cause: null, remedy: null },
      text: `the packet leaves by eth0 as VXLAN packets (VNI 1) for ${OUTER}, peer host2`,
    });
    const texts = steps.map(({ subject, text }) => `${subject}: ${text}`);
    expect(texts).toContain(`neighbour: ${TARGET.inner} is ${MAC} on flannel.1 (permanent)`);
    expect(texts).toContain(`fdb: ${MAC} is behind ${OUTER}, peer host2`);
  });

  it.each<[string, string, Partial<Explanation["end"]>, string]>([
    [
      "no neighbour entry",
      `neighbour delete ${TARGET.inner} dev flannel.1`,
      { outcome: "dropped", cause: null },
      `flannel.1 has no entry for ${TARGET.inner}, and asks no one for it`,
    ],
    [
      "no forwarding entry",
      `fdb delete ${MAC} dev flannel.1 self`,
      { outcome: "dropped", cause: null },
      `flannel.1 has no forwarding entry for ${MAC}`,
    ],
    [
      "a forwarding entry that leads to another host",
      `fdb replace ${MAC} dev flannel.1 dst 192.168.1.99 self permanent`,
      { outcome: "diverted", cause: "path-diverted" },
      `flannel.1 sends it to 192.168.1.99, not to ${OUTER}, where peer host2 is`,
    ],
    [
      "a device that is down",
      "link set flannel.1 down",
      { outcome: "dropped", cause: null },
      `${MISSING}, because flannel.1 is down`,
    ],
    [
      "no device",
      "link delete flannel.1",
      { outcome: "dropped", cause: null },
      `${MISSING}, because flannel.1 does not exist`,
    ],
    ["no route", `route delete ${ROUTE}`, { outcome: "dropped", cause: null }, MISSING],
    [
      "an uplink that is down",
      "link set eth0 down",
      { outcome: "dropped", cause: "no-route" },
      `no route leads to ${OUTER}`,
    ],
    [
      "an uplink without a carrier",
      "link set lan down",
      { outcome: "dropped", cause: "interface-down" },
      "eth0 has no carrier",
    ],
    [
      "a peer that does not answer on the link",
      `neighbour replace ${OUTER} dev eth0 nud failed`,
      { outcome: "dropped", cause: "host-down" },
      `nothing answers for ${OUTER} on eth0`,
    ],
    [
      "a router that does not answer",
      `route add ${OUTER} via 192.168.1.1; neighbour replace 192.168.1.1 dev eth0 nud failed`,
      { outcome: "dropped", cause: null },
      "nothing answers for 192.168.1.1 on eth0",
    ],
  ])("meets %s", (_, command, ending, text) => {
    if (command.startsWith("fdb")) bridge(command);
    else netns.ip(...command.split("; "));
    const { end } = explained();
    expect(end).toMatchObject(ending);
    expect(end.text).toContain(text);
    expect(end.remedy).not.toBeNull();
  });

  it("takes the default destination where no entry is for the hardware address", () => {
    bridge(`fdb delete ${MAC} dev flannel.1 self`);
    bridge(`fdb append 00:00:00:00:00:00 dev flannel.1 dst ${OUTER} self permanent`);
    const { steps, end } = explained();
    expect(end.outcome).toBe("leaves");
    expect(steps.map(({ text }) => text)).toContain(
      `${MAC} is behind ${OUTER}, the default destination, peer host2`,
    );
  });

  it("is not followed by an entry with a port of its own", () => {
    bridge(`fdb replace ${MAC} dev flannel.1 dst ${OUTER} port 4789 self permanent`);
    expect(explained().end.text).toMatch(/; unless this changes it: that entry$/);
  });

  it("goes where the entry leads without a daemon", () => {
    bridge(`fdb replace ${MAC} dev flannel.1 dst 192.168.1.99 self permanent`);
    expect(explained(false).end).toMatchObject({ outcome: "leaves" });
  });

  it("is blocked by an IPsec policy, of the packet or of that around it", () => {
    const policy = (verb: string, destination: string, ...more: readonly string[]): void =>
      netns.ip(["xfrm policy", verb, "dir out dst", destination, ...more].join(" "));
    for (const destination of [TARGET.subnet, `${OUTER}/32`]) {
      policy("add", `${destination}`, "action block");
      const { end } = explained();
      expect(end).toMatchObject({ outcome: "dropped", cause: null });
      expect(end.text).toContain(`the IPsec policy from 0.0.0.0/0 to ${destination}, out, blocks the packet`);
      policy("delete", `${destination}`);
    }
    policy("add", `${TARGET.subnet}`, "priority 9 action block");
    policy("add", "10.0.0.0/8", "priority 5 action allow");
    expect(explained().end).toMatchObject({ outcome: "leaves" });
    policy("add", `${OUTER}/32`, "proto udp action block");
    expect(explained().end.text).toMatch(/; unless this changes it: the IPsec policy from .* to .*, out$/);
  });

  it("may be dropped by filters of tc", () => {
    netns.exec("tc", "qdisc add dev eth0 clsact".split(" "));
    const add = "filter add dev eth0 DIRECTION protocol ip u32 match ip dst 192.0.2.1/32 flowid 1:1";
    netns.exec("tc", add.replace("DIRECTION", "ingress").split(" "));
    expect(explained().end.text).not.toContain("unless");
    netns.exec("tc", add.replace("DIRECTION", "egress").split(" "));
    expect(explained().end.text).toMatch(/; unless this changes it: the filters of tc on eth0$/);
  });
});
