import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type GivenBridge, givenBridge } from "../../../../agent/docker/given-bridge.ts";
import { bridgeFindings } from "../../../../agent/doctor/bridge-checks.ts";
import { parseInterfaceAddress } from "../../../../ipam/addresses/ip.ts";
import { parseSubnetEnv } from "../../../../ipam/config/subnet-env.ts";

const ENV = parseSubnetEnv(
  "FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=10.2.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
);

describe("Docker's bridge", () => {
  const findings = (
    given: Partial<Record<keyof GivenBridge, string | boolean>>,
    addresses: string[] | null,
  ) =>
    bridgeFindings(
      ENV,
      {
        hasDropIn: given.hasDropIn === true,
        bip: typeof given.bip === "string" ? parseInterfaceAddress(given.bip) : null,
      },
      { addresses: addresses?.map(parseInterfaceAddress) ?? null },
    ).map(({ message }) => message);

  it("has the address that Docker is set up for, or is not set up for the network", () => {
    expect(findings({}, ["172.17.0.1/16"])).toEqual([]);
    expect(findings({ bip: "172.18.0.1/16" }, ["172.17.0.1/16"])).toEqual([]);
    expect(findings({ bip: "10.2.3.1/24" }, ["10.2.3.1/24", "fe80::1/64"])).toEqual([]);
    expect(findings({ bip: "10.2.3.1/24" }, null)).toEqual([]);
    expect(findings({ hasDropIn: true }, ["10.2.3.1/24"])).toEqual([]);
  });

  it("has another one until Docker is restarted", () => {
    const expected =
      "docker0 has 172.17.0.1/16, and Docker is set up for 10.2.3.1/24: other hosts do not reach its containers";
    expect(findings({ bip: "10.2.3.1/24" }, ["172.17.0.1/16", "fe80::1/64"])).toEqual([expected]);
    expect(findings({ hasDropIn: true }, ["172.17.0.1/16"])).toEqual([expected]);
    expect(findings({ hasDropIn: true }, ["fe80::1/64"])[0]).toContain("docker0 has no address");
  });

  it("is to get the address of a former subnet", () => {
    expect(findings({ bip: "10.2.9.1/24" }, ["10.2.9.1/24"])).toEqual([
      "daemon.json gives docker0 the address 10.2.9.1/24, and this host's subnet needs 10.2.3.1/24",
    ]);
  });

  it("is read from daemon.json and the drop-in", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tulle-bridge-"));
    try {
      const [json, dropIn] = [join(folder, "daemon.json"), join(folder, "50-tulle.conf")];
      expect(await givenBridge(json, dropIn)).toEqual({ hasDropIn: false, bip: null });
      writeFileSync(json, '{"bip":"10.2.3.1/24"}');
      writeFileSync(dropIn, "");
      const bip = parseInterfaceAddress("10.2.3.1/24");
      expect(await givenBridge(json, dropIn)).toEqual({ hasDropIn: true, bip });
      writeFileSync(json, '{"bip":"nonsense"}');
      expect((await givenBridge(json, dropIn)).bip).toBeNull();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
