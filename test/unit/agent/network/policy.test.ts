/** The wiring's decisions as pure functions: configuration changes, the firewall's input, names of networks. */

import { describe, expect, it } from "vitest";
import type { FirewallSettings } from "../../../../agent/config/config.ts";
import { judgeConfig } from "../../../../agent/network/config-change.ts";
import { firewallInputFor } from "../../../../agent/network/firewall.ts";
import { ownedName } from "../../../../agent/network/network-settings.ts";
import { optionsOf } from "../../../../agent/network/network-support.ts";
import { Metrics } from "../../../../agent/report/metrics.ts";
import { planFirewall } from "../../../../backends/firewall/plan.ts";
import { MixedBackend } from "../../../../backends/mixed.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../../../ipam/config/network-config-parser.ts";
import { hostFacts, OWN_MAC } from "../../../support/vxlan-fixture.ts";

const config = (changes: object = {}, backend: object = {}): NetworkConfig =>
  parseNetworkConfig(
    JSON.stringify({ Network: "10.2.0.0/16", ...changes, Backend: { Type: "vxlan", ...backend } }),
  );
const BRIDGES = [
  { bridge: "docker0", address: Address.parse("10.2.7.1") },
  { bridge: "cni0", address: Address.parse("10.2.7.2") },
  { bridge: "cni0", address: Address.parse("10.2.7.3") },
  { bridge: "br-other", address: Address.parse("172.20.0.1") },
  // The interface of the tunnel.
  { bridge: "under0", address: Address.parse("10.2.7.4") },
];
const OWN = { 4: Prefix.parse("10.2.7.0/24") };

describe("a changed network configuration", () => {
  const judge = (next: NetworkConfig | null, invalid: string | null = null) => {
    const inForce = config();
    const attachment = { networkConfig: inForce, options: optionsOf(inForce) };
    return judgeConfig({ attachment, own: OWN, next, invalid });
  };

  it("is nothing to do when it is in force or there is none", () => {
    expect(judge(config())).toEqual({ apply: null, isRejoin: false, problem: null });
    expect(judge(null)).toEqual({ apply: null, isRejoin: false, problem: null });
  });

  it("is applied when no lease and no address changes", () => {
    const next = config({}, { MTU: 1400 });
    expect(judge(next)).toEqual({ apply: next, isRejoin: false, problem: null });
  });

  it("makes the host join again when a family comes or goes beside one that stays", () => {
    const ipv6 = { EnableIPv6: true, IPv6Network: "fd00:2::/48" };
    const both = config(ipv6);
    expect(judge(both)).toEqual({ apply: both, isRejoin: true, problem: null });
    const moved = judge(config({ ...ipv6, Network: "10.3.0.0/16" }));
    expect(moved).toMatchObject({ apply: null, isRejoin: false });
    expect(moved.problem).toContain("changed Network;");
    expect(judge(config({ ...ipv6, EnableIPv4: false })).problem).toContain("changed Network, IPv6Network;");
  });

  it.each<[string, object, object]>([
    ["Network", { Network: "10.3.0.0/16" }, {}],
    ["SubnetLen", { SubnetLen: 25 }, {}],
    ["SubnetMin", { SubnetMin: "10.2.8.0" }, {}],
    ["SubnetMax", { SubnetMax: "10.2.6.0" }, {}],
    ["Backend.VNI", {}, { VNI: 2 }],
    ["Backend.Port", {}, { Port: 4789 }],
  ])("waits for a restart when it moves %s", (name, changes, backend) => {
    const { apply, problem } = judge(config(changes, backend));
    expect(apply).toBeNull();
    expect(problem).toContain(name);
  });

  it.each<[string, object, object]>([
    ["Backend.Type", {}, { Type: "nonsense" }],
    ["Backend.Type", {}, { Type: "ipsec" }],
    ["EnableIPv6", { EnableIPv6: true, IPv6Network: "fd00:2::/48" }, { Type: "ipip" }],
    ["VNI", { Network: "10.3.0.0/16" }, { VNI: -1 }],
  ])("does not ask for a restart, which would fail, when %s is not supported", (name, changes, backend) => {
    const { apply, problem } = judge(config(changes, backend));
    expect(apply).toBeNull();
    expect(problem).toMatch(/is not applied, and a daemon that is restarted ends with the same error: /);
    expect(problem).toContain(name);
  });

  it("is not applied while the newest one is not valid, whatever the last valid one says", () => {
    expect(judge(config({}, { MTU: 1400 }), "SubnetLen 99")).toEqual({
      apply: null,
      isRejoin: false,
      problem: "SubnetLen 99",
    });
  });
});

describe("the firewall's plan", () => {
  const settings: FirewallSettings = {
    engine: "auto",
    masquerade: false,
    isFullyRandom: true,
    masqueradeExcluded: [],
    acceptForwarded: true,
    resyncSeconds: 5,
    blackholeRoute: false,
    openPort: false,
    tunnelSources: "any",
    containerSources: "any",
    clampMss: false,
    enableForwarding: false,
  };
  const network = config();
  const host = hostFacts();
  const backend = new MixedBackend(optionsOf(network).prepare(host, [4], { macFor: () => OWN_MAC }));
  const plan = (
    changes: Partial<FirewallSettings>,
    isolated: readonly Prefix[] = [],
    otherRanges: readonly Prefix[] = [],
  ) =>
    planFirewall(
      firewallInputFor({
        settings: { ...settings, ...changes },
        network,
        own: OWN,
        backend,
        host,
        bridges: BRIDGES,
        peers: [],
        areHostsInside: false,
        otherRanges,
        isolated,
      }),
    );
  const strict = (changes: Partial<FirewallSettings>) =>
    plan(changes).rules[4]?.chains["container-in"]?.map(({ matches }) => matches.inputInterface);
  const forward = (...args: Parameters<typeof plan>) =>
    plan(...args).rules[4]?.chains.forward?.map(({ matches, action }) => [
      `${matches.source?.prefix ?? "*"} > ${matches.destination?.prefix ?? "*"}`,
      action.do,
    ]);

  it("accepts the network's packets where that is wanted", () => {
    expect(forward({})).toEqual([
      ["10.2.0.0/16 > *", "accept"],
      ["* > 10.2.0.0/16", "accept"],
    ]);
    expect(forward({ acceptForwarded: false })).toEqual([]);
  });

  it("treats the containers of hosts in another range as the network's while it moves", () => {
    const moving = plan({ masquerade: true }, [], [Prefix.parse("10.5.0.0/16"), Prefix.parse("fd00::/48")]);
    const rules = moving.rules[4]?.chains;
    const texts = (chain: "docker-user" | "overlay-in" | "masquerade") =>
      rules?.[chain]
        ?.filter(({ matches }) => JSON.stringify(matches).includes("10.5."))
        .map(({ matches: { source, destination, inputInterface, outputInterface }, action }) =>
          [inputInterface, source?.prefix, ">", outputInterface, destination?.prefix, action.do].join(" "),
        );
    expect(texts("docker-user")).toEqual([
      "flannel.1 10.5.0.0/16 >   accept",
      "  > flannel.1 10.5.0.0/16 accept",
    ]);
    expect(texts("overlay-in")).toEqual(["flannel.1 10.5.0.0/16 >  10.2.7.0/24 accept"]);
    expect(texts("masquerade")).toEqual([" 10.2.0.0/16 >  10.5.0.0/16 return"]);
    expect(moving.warnings).toEqual([]);
    const [first] = forward({}, [Prefix.parse("10.3.0.0/16")], [Prefix.parse("10.5.0.0/16")])?.slice(2) ?? [];
    expect(first).toEqual(["10.5.0.0/16 > 10.3.0.0/16", "drop"]);
  });

  it("drops what passes between networks before it accepts anything, and without accepting too", () => {
    const drops = [
      ["10.2.0.0/16 > 10.3.0.0/16", "drop"],
      ["10.3.0.0/16 > 10.2.0.0/16", "drop"],
    ];
    const other = [Prefix.parse("10.3.0.0/16")];
    expect(forward({}, other)?.slice(0, 2)).toEqual(drops);
    expect(forward({ acceptForwarded: false }, other)).toEqual(drops);
    expect(
      plan({}, other)
        .rules[4]?.chains["docker-user"]?.slice(0, 2)
        .map(({ action }) => action.do),
    ).toEqual(["drop", "drop"]);
  });

  it("drops foreign sources of containers only where that is wanted, on bridges with our subnet", () => {
    expect(strict({})).toEqual([]);
    expect(strict({ containerSources: "strict" })).toEqual(["cni0", "docker0"]);
  });

  it("lists the peers' addresses only where tunnel packets are checked", () => {
    expect(plan({}).rules[4]?.knownSources).toBeNull();
    expect(plan({ tunnelSources: "peers" }).rules[4]?.knownSources).toEqual([]);
  });
});

describe("a network's name", () => {
  it("is part of what the network owns, except for the first one", () => {
    expect(ownedName("network", null)).toBe("network");
    expect(ownedName("network", "blue")).toBe("network-blue");
  });

  it("labels its metrics beside the first network's", () => {
    const metrics = new Metrics();
    const blue = metrics.of("blue");
    metrics.set("tulle_ready", 1);
    blue.set("tulle_ready", 0);
    blue.add("tulle_changes_total", 2, { kind: "route" });
    blue.observe("tulle_pass_seconds", 0.002);
    const text = metrics.render();
    expect(text).toContain('tulle_ready 1\ntulle_ready{network="blue"} 0\n');
    expect(text).toContain('tulle_changes_total{network="blue",kind="route"} 2\n');
    expect(text).toContain('tulle_pass_seconds_bucket{network="blue",le="+Inf"} 1\n');
    expect(text.match(/# TYPE tulle_ready /g)).toHaveLength(1);
  });
});
