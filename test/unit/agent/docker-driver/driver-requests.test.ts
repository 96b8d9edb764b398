/** What the plugin socket answers to requests that contradict each other or make no sense. */

import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { eventually, membersOf, OURS, published, useDriverPair } from "../../../support/docker-driver-lab.ts";
import { callPlugin, post } from "../../../support/plugin-call.ts";

const pair = useDriverPair();

describe("bad requests", () => {
  it.each([
    ["NetworkDriver.CreateNetwork", "{", "the request is not JSON"],
    ["NetworkDriver.CreateNetwork", "[]", "not an object"],
    ["NetworkDriver.CreateNetwork", "{}", "the network has no subnet"],
    [
      "NetworkDriver.CreateNetwork",
      '{"NetworkID":"a/b","IPv4Data":[{"Pool":"10.9.0.0/24"}]}',
      "NetworkID is",
    ],
    ["NetworkDriver.CreateNetwork", '{"NetworkID":"a","IPv4Data":[{"Pool":"ten"}]}', "IPv4Data[0].Pool is"],
    ["NetworkDriver.CreateEndpoint", "{}", "no address"],
    ["NetworkDriver.Join", '{"NetworkID":"a","EndpointID":"b"}', "endpoint b is unknown"],
    ["NetworkDriver.EndpointOperInfo", '{"NetworkID":"a","EndpointID":"b"}', "endpoint b is unknown"],
    ["IpamDriver.RequestPool", '{"SubPool":"10.9.0.0/25"}', "give --subnet with --ip-range"],
    ["IpamDriver.RequestPool", '{"Pool":"10.9.0.0/24","SubPool":"10.8.0.0/25"}', "is not inside"],
    ["IpamDriver.RequestPool", '{"Options":{"x":"y"}}', "--ipam-opt x"],
    ["IpamDriver.RequestPool", '{"Pool":7}', "Pool is"],
    ["IpamDriver.RequestAddress", '{"PoolID":"x"}', "is not a pool of this driver"],
    ["IpamDriver.RequestAddress", `{"PoolID":"tulle/${"0".repeat(32)}/4"}`, "is not in the store"],
  ])("%s %s", async (method, body, reason) => {
    const { status, text } = await post(pair.one.pluginSocket, `/${method}`, body);
    const answer = JSON.parse(text);
    expect(status).toBe(200);
    expect(answer.Err).toContain(reason);
    expect(answer.Error).toBe(answer.Err);
    expect(answer.Err).not.toContain("\n");
  });

  it.each(["/NetworkDriver.Nothing", "/NetworkDriver.AllocateNetwork", "/", "/toString"])(
    "404 for %s",
    async (path) => {
      expect((await post(pair.one.pluginSocket, path, "{}")).status).toBe(404);
    },
  );

  it.each(["Leave", "DeleteEndpoint"])("%s of an unknown endpoint succeeds", async (method) => {
    const ids = { NetworkID: "a", EndpointID: "b" };
    expect(await callPlugin(pair.one.pluginSocket, `NetworkDriver.${method}`, ids)).toEqual({});
  });

  it("a body over the limit is answered and not kept", async () => {
    const { text } = await post(pair.one.pluginSocket, "/NetworkDriver.Join", Buffer.alloc(5 << 20, 0x20));
    expect(JSON.parse(text).Err).toContain("more than 4194304 bytes");
  });

  it("1,000 requests at once leave nothing behind", async () => {
    await pair.one.engine.create("ov_net1", { ...OURS, config: [{ Subnet: "10.9.0.0/16" }] });
    await published(pair.one, "ov_net1");
    const network = pair.one.engine.network("ov_net1");
    const endpoints = Array.from({ length: 1_000 }, (_, index) => ({
      ids: { NetworkID: network.id, EndpointID: `e${index}` },
      Interface: { Address: `10.9.${1 + (index >> 8)}.${index & 255}/16` },
    }));
    const all = (method: string, count = endpoints.length) =>
      Promise.all(
        endpoints
          .slice(0, count)
          .map(({ ids, Interface }) =>
            callPlugin(pair.one.pluginSocket, `NetworkDriver.${method}`, { ...ids, Interface }),
          ),
      );
    await all("CreateEndpoint");
    await Promise.all([all("CreateEndpoint"), all("Join", 200)]);
    await all("Join", 200);
    expect(pair.one.links.present.size).toBe(200);
    await all("Leave", 200);
    await Promise.all([all("DeleteEndpoint"), all("Leave", 200)]);
    expect(pair.one.links.present.size).toBe(0);
    expect(pair.one.driver.status().networks[0]?.containers).toBe(0);
    await eventually(() => membersOf(pair.one, "ov_net1").length === 0);
  }, 60_000);
});

describe("the plugin socket", () => {
  it("is replaced when nothing listens on it", async () => {
    await pair.one.stopDriver();
    writeFileSync(pair.one.pluginSocket, "");
    await pair.one.startDriver();
    expect(await callPlugin(pair.one.pluginSocket, "Plugin.Activate", {})).toEqual({
      Implements: ["NetworkDriver", "IpamDriver"],
    });
    expect(await callPlugin(pair.one.pluginSocket, "NetworkDriver.GetCapabilities", {})).toEqual({
      Scope: "local",
      ConnectivityScope: "global",
    });
  });

  it("is not taken from another daemon", async () => {
    const other = await pair.lab.addHost();
    await other.stopDriver();
    Object.assign(other, { pluginSocket: pair.one.pluginSocket });
    await expect(other.startDriver()).rejects.toThrow("another process serves");
  });
});
