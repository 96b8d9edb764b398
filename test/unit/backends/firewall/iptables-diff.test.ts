import { describe, expect, it } from "vitest";
import { planIptablesChange } from "../../../../backends/firewall/iptables-diff.ts";
import type { RenderedChain } from "../../../../backends/firewall/iptables-render.ts";
import { parseIptablesSave } from "../../../../backends/firewall/iptables-save.ts";

const chainOf = (name: string): RenderedChain => ({
  ...{ table: "filter", name, hook: "DOCKER-USER", position: "last" },
  rules: ["-j ACCEPT"],
  jump: `-j ${name}`,
});

const savedWith = (...rules: readonly string[]) =>
  parseIptablesSave(
    [
      ...["*filter", ":FORWARD DROP [0:0]", ":DOCKER-USER - [0:0]"],
      ...[":FLANNEL-DOCKER - [0:0]", ":FLANNEL-DOCKER-blue - [0:0]"],
      ...rules.map((rule) => `-A DOCKER-USER ${rule}`),
      ...["-A FLANNEL-DOCKER -j ACCEPT", "-A FLANNEL-DOCKER-blue -j ACCEPT", "COMMIT", ""],
    ].join("\n"),
  );

const driftsOf = (name: string, ...rules: readonly string[]) =>
  planIptablesChange([chainOf(name)], savedWith(...rules), new Map()).drifts;

describe("the jumps of two networks in DOCKER-USER", () => {
  it.each([
    ["-j FLANNEL-DOCKER", "-j FLANNEL-DOCKER-blue", "-j RETURN"],
    ["-j FLANNEL-DOCKER-blue", "-j FLANNEL-DOCKER", "-j RETURN"],
    ["-s 10.9.9.9/32 -j DROP", "-j FLANNEL-DOCKER-blue", "-j FLANNEL-DOCKER"],
  ])("may have either order: %s, %s, %s", (...rules) => {
    for (const name of ["FLANNEL-DOCKER", "FLANNEL-DOCKER-blue"])
      expect(driftsOf(name, ...rules)).toEqual([]);
  });

  it("stay behind a foreign rule", () => {
    const drifts = driftsOf(
      "FLANNEL-DOCKER",
      "-j FLANNEL-DOCKER",
      "-s 10.9.9.9/32 -j DROP",
      "-j FLANNEL-DOCKER-blue",
    );
    expect(drifts).toEqual([expect.stringContaining("at the wrong position")]);
  });
});
