/**
 * What dockerd or anyone with access to the plugin socket can send to tulled: the sequences of Docker's own tests of
 * remote drivers, and malformed, repeated, misordered and very many requests. Each leaves nothing behind.
 */

import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { askControl } from "../../../agent/report/control.ts";
import { type DockerHost, describeWithDocker } from "../../support/docker.ts";
import { create, DockerLab, networksOf, outcomeOf, SLEEP } from "../../support/docker-lab.ts";
import { callPlugin, post } from "../../support/plugin-call.ts";

const UNKNOWN = "f".repeat(64);
const MANY = 1_000;

describeWithDocker("requests to the plugin socket", (engines) => {
  let lab: DockerLab;
  let docker: DockerHost;
  let socket: string;
  let network: string;

  beforeAll(async () => {
    lab = new DockerLab("plugin", 1, engines);
    await lab.build();
    docker = lab.docker(1);
    socket = join(docker.host.runDirectory, "docker/plugins/tulle.sock");
    create(docker, "net1", "--subnet", "10.4.0.0/16");
    network = docker.docker("network", "inspect", "--format", "{{.Id}}", "net1");
    docker.runContainer("stays", { options: ["--network", "net1"], command: SLEEP });
  });
  afterAll(() => lab.dispose());

  const call = (method: string, body: object) => callPlugin(socket, method, body);
  const endpoint = (name: string, address: string) => ({
    ids: { NetworkID: network, EndpointID: name },
    Interface: { Address: `${address}/16` },
  });
  const poolOf = async (): Promise<string> => {
    const { PoolID } = (await call("IpamDriver.RequestPool", { Pool: "10.4.0.0/16" })) as { PoolID: string };
    return PoolID;
  };

  /** Everything that a request can leave: interfaces, networks and endpoints of the driver, members and used addresses. */
  async function everything(): Promise<unknown> {
    const status = (await askControl(
      join(docker.host.runDirectory, "tulle"),
      "/docker",
      AbortSignal.timeout(5_000),
    )) as {
      networks: readonly unknown[];
    };
    const links = [...docker.host.run("ip", "-o", "link").matchAll(/\bt[pcbv]-\w+/g)].map(String);
    const members = lab.net.etcd.ctl("get", "--prefix", `${lab.net.prefix}/tulle/named/members/`);
    const names = [...members.matchAll(/"endpoint":"(\w+)"/g)].map(([, name]) => name);
    return { networks: status.networks, links: links.sort(), names: names.sort() };
  }

  /** Does `body`, and waits until all is as it was before. */
  async function leavingNothing(body: () => Promise<void>): Promise<void> {
    const before = JSON.stringify(await everything());
    await body();
    let now = "";
    const endMs = performance.now() + 90_000;
    do {
      now = JSON.stringify(await everything());
      if (now !== before) await new Promise((resolve) => setTimeout(resolve, 200));
    } while (now !== before && performance.now() < endMs);
    expect(now).toBe(before);
    const { ok, text } = outcomeOf(docker, "run", "--rm", "--network", "net1", "box", "true");
    expect(`${ok} ${text}`).toBe("true ");
  }

  it("a whole life of an endpoint, every step repeated", async () => {
    await leavingNothing(async () => {
      const { ids, Interface } = endpoint("life", "10.4.9.9");
      const twice = async (method: string, body: object): Promise<unknown> => {
        const first = await call(method, body);
        expect(await call(method, body)).toEqual(first);
        return first;
      };
      await twice("NetworkDriver.CreateEndpoint", { ...ids, Interface, Options: {} });
      await twice("NetworkDriver.EndpointOperInfo", ids);
      const joined = (await twice("NetworkDriver.Join", { ...ids, SandboxKey: "/x", Options: {} })) as {
        InterfaceName: { SrcName: string };
      };
      expect(docker.host.run("ip", "link", "show", joined.InterfaceName.SrcName)).toContain("mtu 1450");
      await twice("NetworkDriver.Leave", ids);
      await twice("NetworkDriver.Join", ids);
      await twice("NetworkDriver.DeleteEndpoint", ids);
      for (const method of ["Leave", "DeleteEndpoint"]) await twice(`NetworkDriver.${method}`, ids);
      for (const method of ["DiscoverNew", "DiscoverDelete"])
        await twice(`NetworkDriver.${method}`, { DiscoveryType: 1, DiscoveryData: { Address: "192.0.2.1" } });
    });
  });

  it("steps in the wrong order, and of networks and endpoints that do not exist", async () => {
    await leavingNothing(async () => {
      const { ids, Interface } = endpoint("early", "10.4.9.9");
      for (const method of ["Join", "EndpointOperInfo"])
        await expect(call(`NetworkDriver.${method}`, ids)).rejects.toThrow("unknown");
      for (const method of ["Leave", "DeleteEndpoint"]) await call(`NetworkDriver.${method}`, ids);
      const other = { NetworkID: UNKNOWN, EndpointID: "early" };
      await expect(call("NetworkDriver.CreateEndpoint", { ...other, Interface })).rejects.toThrow(
        "unknown here",
      );
      await call("NetworkDriver.CreateEndpoint", { ...ids, Interface });
      await expect(call("NetworkDriver.Join", other)).rejects.toThrow("unknown in network");
      await expect(
        call("NetworkDriver.CreateEndpoint", { ...ids, Interface: { Address: "10.4.9.10/16" } }),
      ).rejects.toThrow("exists already");
      await expect(
        call("NetworkDriver.CreateEndpoint", {
          ...endpoint("far", "10.99.0.1").ids,
          Interface: { Address: "10.99.0.1/16" },
        }),
      ).rejects.toThrow("is not in network");
      await call("NetworkDriver.DeleteEndpoint", ids);
      await call("NetworkDriver.DeleteNetwork", { NetworkID: UNKNOWN });
      await call("IpamDriver.ReleasePool", { PoolID: "nothing" });
    });
  });

  it("a network that the engine does not have", async () => {
    await leavingNothing(async () => {
      await call("NetworkDriver.CreateNetwork", {
        NetworkID: UNKNOWN,
        IPv4Data: [{ Pool: "10.3.0.0/24", AddressSpace: "tulle", Gateway: "10.3.0.1/24" }],
        Options: {},
      });
      await call("NetworkDriver.DeleteNetwork", { NetworkID: UNKNOWN });
      await call("NetworkDriver.DeleteNetwork", { NetworkID: UNKNOWN });
    });
    expect(networksOf(docker)).toEqual(["net1"]);
  });

  it("addresses asked for, given back and given back again", async () => {
    await leavingNothing(async () => {
      const PoolID = await poolOf();
      const answers = await Promise.all(
        Array.from({ length: 20 }, () =>
          call("IpamDriver.RequestAddress", { PoolID, Address: "", Options: {} }),
        ),
      );
      const given = answers.map(({ Address }) => String(Address));
      expect(new Set(given).size).toBe(given.length);
      for (const text of [...given, ...given])
        await call("IpamDriver.ReleaseAddress", { PoolID, Address: text.split("/")[0] });
      for (const wrong of ["10.4.0.0", "10.4.255.255", "10.99.0.1", "fd00::1"])
        await expect(call("IpamDriver.RequestAddress", { PoolID, Address: wrong })).rejects.toThrow(wrong);
      for (const wrong of ["x", "10.4.0.1.2", "10.4.0.1\n"])
        await expect(call("IpamDriver.RequestAddress", { PoolID, Address: wrong })).rejects.toThrow();
    });
  });

  it("a pool for a network that is never created does not get the next one with its subnet", async () => {
    await leavingNothing(async () => {
      await call("IpamDriver.RequestPool", { Pool: "10.6.0.0/24" });
      create(docker, "net6", "--subnet", "10.6.0.0/24", "--gateway", "10.6.0.254");
      const run = (...options: readonly string[]) =>
        outcomeOf(docker, "run", "--rm", "--network", "net6", ...options, "box", "ip", "address");
      expect(run().text).toMatch(/inet 10\.6\.0\.\d+\/24/);
      expect(run("--ip", "10.6.0.77").text).toContain("inet 10.6.0.77/24");
      docker.docker("network", "rm", "net6");
    });
  });

  it("malformed bodies of every method", async () => {
    await leavingNothing(async () => {
      const methods = [
        ...[
          "CreateNetwork",
          "DeleteNetwork",
          "CreateEndpoint",
          "DeleteEndpoint",
          "EndpointOperInfo",
          "Join",
          "Leave",
        ].map((name) => `NetworkDriver.${name}`),
        ...["RequestPool", "ReleasePool", "RequestAddress", "ReleaseAddress"].map(
          (name) => `IpamDriver.${name}`,
        ),
      ];
      const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
      const bodies = [
        ...[
          "{",
          "[]",
          "7",
          '"x"',
          "\0\x01\xff",
          deep,
          `{"NetworkID":${"9".repeat(400)},"Pool":${"9".repeat(400)}}`,
        ],
        ...[
          '{"NetworkID":"../../x","EndpointID":"y","Pool":"../x"}',
          '{"NetworkID":["a"],"EndpointID":{},"PoolID":7,"Pool":{}}',
        ],
        '{"__proto__":{"NetworkID":"a"},"EndpointID":"\u001b[31m","PoolID":"\u001b[31m","Pool":"\u001b[31m"}',
      ];
      for (const method of methods)
        for (const body of bodies) {
          const { status, text } = await post(socket, `/${method}`, body);
          expect(status).toBe(200);
          expect(text).not.toContain("\u001b");
          const isAbsent = /Release|Delete|Leave/.test(method);
          // Removing what is absent succeeds, whatever its name is.
          if (!isAbsent) expect(JSON.parse(text).Err, `${method} ${body.slice(0, 60)}`).toMatch(/\w/);
        }
    });
  });

  it(`${MANY} requests at once, of all kinds, with containers that start meanwhile`, async () => {
    await leavingNothing(async () => {
      const all = Array.from({ length: MANY }, (_, at) =>
        endpoint(`many${at}`, `10.4.${100 + (at >> 8)}.${at & 255}`),
      );
      const step = (method: string, count = MANY) =>
        Promise.all(
          all
            .slice(0, count)
            .map(({ ids, Interface }) => post(socket, `/${method}`, JSON.stringify({ ...ids, Interface }))),
        );
      const starting = Promise.all(
        Array.from({ length: 3 }, (_, at) =>
          docker.attempt("run", "--rm", "--network", "net1", "--name", `meanwhile${at}`, "box", "true"),
        ),
      );
      await Promise.all([
        step("NetworkDriver.CreateEndpoint"),
        step("NetworkDriver.Join", 300),
        step("NetworkDriver.Nothing"),
      ]);
      await starting;
      await step("NetworkDriver.Join", 100);
      await Promise.all([step("NetworkDriver.Leave"), step("NetworkDriver.EndpointOperInfo")]);
      await Promise.all([step("NetworkDriver.DeleteEndpoint"), step("NetworkDriver.Leave")]);
      // A Join that was still under way when its endpoint was deleted.
      await step("NetworkDriver.DeleteEndpoint");
    });
  }, 300_000);
});
