import { describe, expect, it } from "vitest";
import { IPTABLES_CHAINS, isOurChain, renderChains } from "../../../../backends/firewall/iptables-render.ts";
import { nameFor, networksOf } from "../../../../backends/firewall/names.ts";

const BASES = Object.values(IPTABLES_CHAINS).map(({ name }) => name);
const LONG = "a-name-of-a-network-that-is-far-too-long";

describe("names of tables and chains", () => {
  it("are flannel's in the first network and carry the name of any other one", () => {
    expect(nameFor("FLANNEL-FWD", null)).toBe("FLANNEL-FWD");
    expect(nameFor("FLANNEL-FWD", "blue")).toBe("FLANNEL-FWD-blue");
  });

  it.each([null, "blue", "abcdefghijkl", "abcdefghijklm", LONG, "Ümläut"])(
    "of the network %s fit into iptables' 28 characters, are distinct and ours",
    (network) => {
      const names = renderChains(undefined, network).map(({ name }) => name);
      expect(new Set(names).size).toBe(BASES.length + 1);
      for (const name of names) {
        expect(name).toMatch(/^[A-Za-z0-9-]{1,28}$/);
        expect(isOurChain(name)).toBe(true);
      }
    },
  );

  it("of long names differ", () => {
    expect(nameFor("FLANNEL-FWD", LONG)).not.toBe(nameFor("FLANNEL-FWD", `${LONG}er`));
  });

  it("tell their networks, and foreign names tell none", () => {
    const names = [
      "FLANNEL-FWD",
      "FLANNEL-FWD-blue",
      "FLANNEL-FWDX",
      "FLANNEL-FWD-",
      "FLANNEL-FWD-Blue",
      "FORWARD",
    ];
    expect(networksOf("FLANNEL-FWD", names)).toEqual([null, "blue"]);
    expect(["FLANNEL-OTHER", "DOCKER-USER", "FLANNEL"].some(isOurChain)).toBe(false);
  });
});
