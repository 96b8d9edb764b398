/** Calls of the engine that come in another order than dockerd's, or contradict each other. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Changes } from "../../../../agent/docker-driver/changes.ts";
import { namesOf } from "../../../../agent/docker-driver/endpoints.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { MAX_NAMES } from "../../../../ipam/named-networks/member-codec.ts";
import { type DriverHost, DriverLab, eventually } from "../../../support/docker-driver-lab.ts";
import { callPlugin } from "../../../support/plugin-call.ts";

const never = new AbortController().signal;

describe("with a network and a container", () => {
  let lab: DriverLab;
  let one: DriverHost;
  let address: string;

  beforeEach(async () => {
    lab = new DriverLab();
    one = await lab.addHost();
    await one.engine.create("blue", { ipamDriver: "tulle", config: [{ Subnet: "10.9.0.0/24" }] });
    await eventually(() => one.feed.view.networks.size === 1);
    address = await one.engine.run("bbox1", "blue");
  });
  afterEach(() => lab.dispose());

  const given = () => {
    const [network] = one.feed.view.networks.values();
    return network === undefined ? [] : one.given(network.id).map(String);
  };
  const poolId = () => one.engine.network("blue").pools[0]?.poolId ?? "";
  const call = (method: string, fields: object) => callPlugin(one.pluginSocket, method, fields);

  it("ReleaseAddress does not free the address of a live container", async () => {
    await call("IpamDriver.ReleaseAddress", { PoolID: poolId(), Address: address });
    expect(given()).toContain(address);
    expect(await one.engine.run("bbox2", "blue")).not.toBe(address);
  });

  it("CreateEndpoint does not take the address of a live container", async () => {
    const NetworkID = one.engine.network("blue").id;
    const Interface = { Address: `${address}/24`, MacAddress: "02:00:00:00:00:09" };
    await expect(
      call("NetworkDriver.CreateEndpoint", { NetworkID, EndpointID: "second", Interface }),
    ).rejects.toThrow(/belongs to bbox1|belongs to endpoint/);
  });

  it.each(["Leave", "DeleteEndpoint"])("%s during a Join leaves no pair", async (method) => {
    const ids = { NetworkID: one.engine.network("blue").id, EndpointID: "second" };
    const { Address } = await call("IpamDriver.RequestAddress", { PoolID: poolId(), Address: "" });
    await call("NetworkDriver.CreateEndpoint", { ...ids, Interface: { Address } });
    let finish = (): void => undefined;
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const { add } = one.links;
    let isAdding = false;
    one.links.add = async (...args) => {
      isAdding = true;
      await slow;
      return await add.apply(one.links, args);
    };
    const joining = call("NetworkDriver.Join", { ...ids, SandboxKey: "/x" }).catch((error) => error.message);
    await eventually(() => isAdding);
    await call(`NetworkDriver.${method}`, ids);
    finish();
    expect(await joining).toMatch(/left the network while it joined/);
    expect(one.links.present.size).toBe(1);
  });

  it("CreateNetwork for a network of the store needs addresses of the store", async () => {
    const [network] = one.feed.view.networks.values();
    await one.engine.remove("blue").catch(() => undefined);
    const pool = { Pool: "10.9.0.0/24", AddressSpace: "LocalDefault", Gateway: "10.9.0.1/24" };
    const options = { "tulle.network": network?.id ?? "" };
    await expect(
      call("NetworkDriver.CreateNetwork", {
        NetworkID: "foreign",
        IPv4Data: [pool],
        Options: { "com.docker.network.generic": options },
      }),
    ).rejects.toThrow(/needs --ipam-driver tulle/);
  });
});

describe("waiting for a change", () => {
  it("ends with what its condition throws, and ends neither the one that notifies nor other waiters", async () => {
    const changes = new Changes(systemClock);
    let isGone = false;
    const failing = changes.until(
      () => {
        if (isGone) throw new Error("the network is gone");
        return null;
      },
      60_000,
      never,
    );
    const other = changes.until(() => (isGone ? "seen" : null), 60_000, never);
    isGone = true;
    expect(() => changes.notify()).not.toThrow();
    await expect(failing).rejects.toThrow("the network is gone");
    expect(await other).toBe("seen");
  });

  it("ends at once under a signal that has fired", async () => {
    expect(await new Changes(systemClock).until(() => null, 60_000, AbortSignal.abort())).toBeNull();
  });
});

it("keeps name and short id of a container with more aliases than a record can have", () => {
  const aliases = Array.from({ length: 200 }, (_, index) => `alias${index}`);
  const names = namesOf("web", aliases, "f".repeat(64));
  expect(names).toHaveLength(MAX_NAMES);
  expect(names).toEqual(expect.arrayContaining(["web", "alias0", "f".repeat(12)]));
});
