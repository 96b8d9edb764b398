/** The verbs of the built netavark plugin against the kernel: answers, devices, ports, and what must not stay. */

import { spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AnyJson, type CniContainer, CniHost, SUBNET_ENV } from "../../support/cni-host.ts";
import {
  callNetavark,
  leftoversOn,
  NETAVARK_NODE_FORM,
  type NetavarkCall,
  networkOf,
} from "../../support/netavark.ts";
import { describeAsRoot } from "../../support/netns.ts";

const KILLER = join(import.meta.dirname, "../../support/kill-at-effect.cjs");
const DUAL = [...SUBNET_ENV.v4, ...SUBNET_ENV.v6, ...SUBNET_ENV.rest];
const SERVER = 'require("node:net").createServer((socket) => socket.end("served")).listen(80, "::")';
/** Of some forty setups, each followed by two or three other calls. */
const MANY_CALLS_MS = 180_000;
const PORT = { container_port: 80, host_ip: "", host_port: 8080, protocol: "tcp", range: 1 };

describeAsRoot("tulle-netavark", () => {
  let host: CniHost;
  beforeEach(() => {
    host = new CniHost("netavark");
    host.writeSubnetEnv(DUAL);
  });
  afterEach(() => host.dispose());

  const call = (verb: string, more: NetavarkCall = {}) => callNetavark(host, verb, more);
  const setup = (container: CniContainer, more: NetavarkCall = {}): AnyJson => {
    const answer = call("setup", { container, ...more });
    expect(answer, answer.stdout).toMatchObject({ exitCode: 0, stderr: "" });
    return answer.json;
  };
  const teardown = (container: CniContainer, more: NetavarkCall = {}) =>
    expect(call("teardown", { container, ...more })).toEqual({
      exitCode: 0,
      stdout: "",
      stderr: "",
      json: null,
    });
  const leftovers = () => leftoversOn(host);

  it("tells its version and that of the interface", () => {
    expect(call("info")).toMatchObject({
      exitCode: 0,
      json: { version: expect.stringMatching(/^\d+\.\d+\.\d+$/), api_version: "1.0.0" },
    });
  });

  describe("create", () => {
    it("answers the network with the overlay's ranges, and leaves everything else as it is", () => {
      const { exitCode, json } = call("create", { network: { labels: { a: "b" } } });
      expect(exitCode).toBe(0);
      expect(json).toEqual({
        ...networkOf(host),
        labels: { a: "b" },
        network_interface: "cni0",
        subnets: [
          { subnet: "10.5.0.0/16", gateway: "10.5.72.1" },
          { subnet: "fd00:5::/48", gateway: "fd00:5:0:72::1" },
        ],
        ipv6_enabled: true,
        dns_enabled: false,
        ipam_options: { driver: "none" },
      });
    });

    const given = (options: object) => () => ({ ...(networkOf(host).options as object), ...options });
    it.each<[string, () => object, RegExp]>([
      [
        "a subnet",
        () => ({ subnets: [{ subnet: "10.9.0.0/24" }] }),
        /^subnets: .*10\.9\.0\.0\/24.*--subnet out$/,
      ],
      [
        "a route",
        () => ({ routes: [{ destination: "10.7.0.0/16", gateway: "10.9.0.3" }] }),
        /^routes: .*--route out$/,
      ],
      [
        "another IPAM",
        () => ({ ipam_options: { driver: "dhcp" } }),
        /^ipam_options.driver: "dhcp".*--ipam-driver out$/,
      ],
      [
        "an unknown option",
        () => ({ options: { mtu: "9000" } }),
        /^options.mtu: "9000" is wrong; give one of subnet_file/,
      ],
      [
        "an option that is no text",
        () => ({ options: { mtu: 9000 } }),
        /^options.mtu: 9000 is wrong; give text$/,
      ],
      [
        "options that are a list",
        () => ({ options: [1] }),
        /^options: \[1\] is wrong; give it as an object$/,
      ],
      [
        "what no bridge can be named",
        () => ({ network_interface: "br%d" }),
        /^bridge: "br%d" is wrong; give a device name/,
      ],
      [
        "no lease",
        () => ({ options: given({ subnet_file: "/absent" })() }),
        /cannot read \/absent; check that tulled runs/,
      ],
    ])("rejects %s by name", (_, network, message) => {
      const { exitCode, json, stderr } = call("create", { network: network() as never });
      expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: "" });
      expect(Object.keys(json)).toEqual(["error"]);
      expect(json.error).toMatch(message);
    });

    it("rejects IPv6 where the overlay has none", () => {
      host.writeSubnetEnv([...SUBNET_ENV.v4, ...SUBNET_ENV.rest]);
      expect(call("create", { network: { ipv6_enabled: true } }).json.error).toMatch(
        /^ipv6_enabled: true.*--ipv6 out$/,
      );
      expect(call("create").json).toMatchObject({
        ipv6_enabled: false,
        subnets: [{ subnet: "10.5.0.0/16" }],
      });
    });
  });

  it.each<[string, NetavarkCall, RegExp]>([
    ["no verb", { args: [] }, /no verb is given/],
    ["an unknown verb", { args: ["constructor"] }, /unknown verb "constructor"/],
    ["setup without a namespace", { args: ["setup"] }, /needs the path of the container's network namespace/],
    ["input that is not JSON", { args: ["create"], stdin: "{" }, /the input is not JSON/],
    ["input that is not an object", { args: ["create"], stdin: "[]" }, /not a JSON object/],
    ["no input", { args: ["teardown", "/run/netns/absent"], stdin: "" }, /the input is not JSON/],
    ["no container", { args: ["setup", "/run/netns/absent"] }, /containerID/],
    [
      "no interface",
      { args: ["setup", "/run/netns/absent"], stdin: '{"container_id":"box"}' },
      /interface name is empty/,
    ],
  ])("answers %s with one error", (_, request, message) => {
    const { exitCode, json, stderr } = call("", request);
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: "" });
    expect(Object.keys(json)).toEqual(["error"]);
    expect(json.error).toMatch(message);
  });

  it.each([
    ["the built plugin", undefined],
    ["its Node form", NETAVARK_NODE_FORM],
  ])("attaches and detaches a container: %s", (_, program) => {
    const container = host.addContainer();
    const form = program === undefined ? {} : { program };
    const status = setup(container, { ...form, network: call("create").json });
    const [link] = container.netns.ipJson(["address", "show", "eth0"]) as AnyJson[];
    expect(status).toEqual({
      dns_search_domains: [],
      dns_server_ips: [],
      interfaces: {
        eth0: {
          mac_address: link.address,
          subnets: [
            { ipnet: "10.5.72.2/24", gateway: "10.5.72.1" },
            { ipnet: "fd00:5:0:72::2/64", gateway: "fd00:5:0:72::1" },
          ],
        },
      },
    });
    expect(link).toMatchObject({ mtu: 1450, operstate: "UP" });
    expect(container.netns.exec("ip", ["route"])).toContain("default via 10.5.72.1 dev eth0");
    teardown(container, form);
    expect(leftovers()).toEqual([]);
    teardown(container, form);
  });

  it("gives the addresses and the hardware address that podman asks for", () => {
    const container = host.addContainer();
    const options = { static_ips: ["10.5.72.77"], static_mac: "02:00:00:00:00:77" };
    const { interfaces } = setup(container, { options });
    expect(interfaces.eth0.mac_address).toBe("02:00:00:00:00:77");
    expect(interfaces.eth0.subnets[0].ipnet).toBe("10.5.72.77/24");
    const other = host.addContainer();
    expect(call("setup", { container: other, options }).json.error).toMatch(/10\.5\.72\.77 is in use/);
    const far = { static_ips: ["10.5.9.9"] };
    expect(call("setup", { container: other, options: far }).json.error).toMatch(
      /10\.5\.9\.9 is in no range/,
    );
    expect(call("setup", { container: other, options: { static_mac: "x" } }).json.error).toContain('"x"');
    teardown(container);
    expect(leftovers()).toEqual([]);
  });

  it("gives an internal network no way out", () => {
    const container = host.addContainer();
    const network = { internal: true };
    const { interfaces } = setup(container, { network });
    expect(interfaces.eth0.subnets).toEqual([{ ipnet: "10.5.72.2/24" }, { ipnet: "fd00:5:0:72::2/64" }]);
    const routes = container.netns.exec("ip", ["route"]);
    expect(routes).toContain("10.5.0.0/16 via 10.5.72.1");
    expect(routes).not.toContain("default");
    teardown(container, { network });
    expect(call("setup", { container, network, ports: [PORT] }).json.error).toMatch(
      /internal network publishes no/,
    );
    expect(leftovers()).toEqual([]);
  });

  it("shares bridge and addresses with the CNI plugin, whose GC leaves its containers alone", () => {
    const [ours, theirs] = [host.addContainer(), host.addContainer()];
    setup(ours);
    const added = host.call("ADD", { container: theirs });
    expect(added.json.ips.map(({ address }: AnyJson) => address)).toEqual([
      "10.5.72.3/24",
      "fd00:5:0:72::3/64",
    ]);
    expect(ours.netns.exec("ping", ["-c1", "-W2", "10.5.72.3"])).toContain(" 0% packet loss");
    const gc = { cniVersion: "1.1.0", "cni.dev/valid-attachments": [] };
    expect(host.call("GC", { config: gc })).toMatchObject({ exitCode: 0 });
    expect(host.reservations()).toEqual(["10.5.72.2", "fd00:5:0:72::2"]);
    expect(ours.netns.exec("ping", ["-c1", "-W2", "10.5.72.1"])).toContain(" 0% packet loss");
    teardown(ours);
    expect(leftovers()).toEqual([]);
  });

  it("refuses the host's own namespace, and frees what it holds on teardown with it", () => {
    const container = host.addContainer();
    setup(container);
    const own = { container: { id: container.id, netns: host.netns } };
    expect(call("setup", own).json.error).toMatch(/the host's own network namespace/);
    teardown(own.container);
    expect(leftovers()).toEqual([]);
  });

  describe("published ports", () => {
    /** What a connection to a port gets to read; nothing where there is none. */
    const answerOf = ({ netns }: Pick<CniContainer, "netns">, address: string, port: number): string =>
      netns.exec("sh", ["-c", `busybox nc -w 2 ${address} ${port} </dev/null || true`]).trim();

    it("lead from every address of the host to the container, and end with it", async () => {
      const [web, neighbour] = [host.addContainer(), host.addContainer()];
      host.netns.ip(
        "link set lo up",
        "address add 192.0.2.1/32 dev lo",
        "address add 2001:db8::1/128 dev lo nodad",
      );
      const ports = [PORT, { ...PORT, host_ip: "192.0.2.1", host_port: 9000, container_port: 79, range: 3 }];
      setup(web, { ports });
      setup(neighbour);
      const server = spawn("nsenter", [`--net=${web.netns.path}`, process.execPath, "-e", SERVER]);
      try {
        for (const place of [host, neighbour, web]) {
          for (const address of ["192.0.2.1", "10.5.72.1", "2001:db8::1"]) {
            const options = { timeout: 20_000, message: `${address} from ${place.netns.name}` };
            await expect.poll(() => answerOf(place, address, 8080), options).toBe("served");
          }
        }
        expect(answerOf(neighbour, "192.0.2.1", 9001)).toBe("served");
        expect(answerOf(neighbour, "10.5.72.1", 9001)).toBe("");
        teardown(web, { ports });
        expect(answerOf(neighbour, "192.0.2.1", 8080)).toBe("");
      } finally {
        server.kill("SIGKILL");
      }
      teardown(neighbour);
      expect(leftovers()).toEqual([]);
    });

    it.each<[object, RegExp]>([
      [{ host_ip: "127.0.0.1" }, /^port_mappings.host_ip: "127.0.0.1" is wrong; .*loopback/],
      [{ host_ip: "x" }, /^port_mappings.host_ip: "x" is not/],
      [{ protocol: "icmp" }, /^port_mappings.protocol: "icmp" is wrong; give tcp, udp, sctp$/],
      [{ host_port: 0 }, /give ports from 1 to 65535$/],
      [{ host_port: 65_000, range: 1000 }, /give ports from 1 to 65535$/],
      [{ host_port: "80" }, /^port_mappings.host_port: "80" is wrong/],
    ])("%j is rejected and leaves nothing", (wrong, message) => {
      const container = host.addContainer();
      const ports = [{ ...PORT, ...wrong }];
      const { exitCode, json } = call("setup", { container, ports });
      expect(exitCode).toBe(1);
      expect(json.error).toMatch(message);
      teardown(container, { ports });
      expect(leftovers()).toEqual([]);
    });

    it("on an address of a family that the container lacks are rejected, and leave nothing", () => {
      host.writeSubnetEnv([...SUBNET_ENV.v4, ...SUBNET_ENV.rest]);
      const ports = [{ ...PORT, host_ip: "2001:db8::1" }];
      const { json } = call("setup", { container: host.addContainer(), ports });
      expect(json.error).toMatch(/published on 2001:db8::1, but the container has no IPv6 address/);
      expect(leftovers()).toEqual([]);
    });
  });

  describe("kill -9 before any effect of setup leaves nothing", () => {
    const killedAt = (effect: number, container: CniContainer) =>
      call("setup", {
        container,
        ports: [PORT],
        program: NETAVARK_NODE_FORM,
        environment: { NODE_OPTIONS: `--require=${KILLER}`, TULLE_KILL_AT: String(effect) },
      }).exitCode;

    /** Kills setup before its first effect, its second, … until it succeeds; answers how often. */
    async function killEverywhere(
      cleanUp: (container: CniContainer) => void | Promise<void>,
    ): Promise<number> {
      for (let effect = 1; effect < 100; effect++) {
        const container = host.addContainer();
        const exitCode = killedAt(effect, container);
        await cleanUp(container);
        expect(leftovers(), `effect ${effect}`).toEqual([]);
        if (exitCode === 0) return effect - 1;
        expect(exitCode, "killed").toBe(null);
      }
      throw new Error("setup never succeeds");
    }

    it("once teardown is called", { timeout: MANY_CALLS_MS }, async () => {
      const kills = await killEverywhere((container) => teardown(container, { ports: [PORT] }));
      expect(kills).toBeGreaterThan(15);
    });

    it("without a teardown, once another container starts", { timeout: MANY_CALLS_MS }, async () => {
      const kills = await killEverywhere(async (container) => {
        container.netns.dispose();
        // The kernel removes the devices of a namespace a moment after its last user is gone.
        const ports = () => [...host.links().keys()].filter((name) => name !== "cni0");
        await expect.poll(ports, { timeout: 10_000 }).toEqual([]);
        const next = host.addContainer();
        setup(next);
        teardown(next);
      });
      expect(kills).toBeGreaterThan(15);
    });
  });
});
