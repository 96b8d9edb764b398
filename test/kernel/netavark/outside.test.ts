/** The way outside of containers that join a second named network: what the first one has of it stays, and all is announced. */

import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type CniContainer, CniHost } from "../../support/cni-host.ts";
import { PROGRAMS } from "../../support/hosts.ts";
import { callNetavark } from "../../support/netavark.ts";
import { describeAsRoot } from "../../support/netns.ts";

const PLUGIN = join(PROGRAMS, "tulle-netavark");
const PORT = { container_port: 80, host_ip: "", host_port: 8080, protocol: "tcp", range: 1 };

/** What tulled answers for networks `blue` (IPv4 outside) and `red` (both families). */
const ANSWERS = Object.fromEntries(
  [
    { name: "blue", number: 1, OutsideFamilies: [4] },
    { name: "red", number: 2, OutsideFamilies: [4, 6] },
  ].map(({ name, number, OutsideFamilies }) => [
    name,
    {
      ...{ Id: `${number}`.repeat(32), Bridge: `br-${name}`, MtuBytes: 1400 },
      ...{ Mac: `02:00:00:00:00:0${number}`, Addresses: [`10.9.${number}.2/24`], NameServers: [] },
      OutsideFamilies,
    },
  ]),
);

/** Answers in tulled's place. */
const DAEMON = `
const answers = JSON.parse(process.argv[2]);
require("node:http").createServer((request, response) => {
  let text = "";
  request.on("data", (chunk) => (text += chunk));
  request.on("end", () => {
    const { Network, Container } = JSON.parse(text);
    const isSetup = request.url === "/Netavark.Setup";
    response.end(JSON.stringify(isSetup ? { ...answers[Network], Endpoint: Network + Container } : {}));
  });
}).listen(process.argv[1]);
`;

const NFT = "/usr/sbin/nft";

describeAsRoot("a container of podman that joins a second named network", () => {
  let host: CniHost;
  let daemon: ChildProcess;

  beforeEach(async () => {
    host = new CniHost("outside");
    const socket = join(host.dir, "netavark.sock");
    daemon = spawn(process.execPath, ["-e", DAEMON, socket, JSON.stringify(ANSWERS)], { stdio: "inherit" });
    await expect.poll(() => existsSync(socket), { timeout: 10_000 }).toBe(true);
  });
  afterEach(() => {
    daemon.kill();
    host.dispose();
  });

  const setup = (container: CniContainer, name: string, interface_name: string, program = [PLUGIN]) =>
    callNetavark(host, "setup", {
      ...{ container, ports: [PORT], options: { interface_name }, program },
      network: {
        name,
        options: {
          ...{ network: name, run_dir: host.dir, state_dir: host.stateDir },
          address_dir: join(host.dir, "ipam"),
        },
      },
    });
  /** The plugin, with an nft that does all but load rules. */
  const withFailingNft = (): string[] => {
    const [real, failing] = [join(host.dir, "nft"), join(host.dir, "failing-nft")];
    copyFileSync(NFT, real);
    const script = `#!/bin/sh\ncase "$*" in *-f*) echo "Error: no memory" >&2; exit 1;; esac\nexec ${real} "$@"\n`;
    writeFileSync(failing, script, { mode: 0o755 });
    return ["unshare", "--mount", "sh", "-c", `mount --bind ${failing} ${NFT} && exec ${PLUGIN} "$@"`, "sh"];
  };
  const portTables = (): string => host.netns.exec("nft", ["list", "tables"]);

  it("keeps its published ports when they cannot be published for the second network", () => {
    const container = host.addContainer();
    expect(setup(container, "blue", "eth0")).toMatchObject({ exitCode: 0, stderr: "" });
    const before = portTables();
    expect(before).toContain("tulle-ports");
    const answer = setup(container, "red", "eth1", withFailingNft());
    expect(answer.json).toMatchObject({ error: expect.stringContaining("no memory") });
    expect(portTables()).toBe(before);
    expect(container.netns.ipJson(["address", "show", "tulle0"])).toMatchObject([
      { addr_info: [{ family: "inet" }] },
    ]);
  });

  it("has no part in a network that it was on when podman was killed, and keeps no record of it", async () => {
    const former = host.addContainer();
    expect(setup(former, "red", "eth0")).toMatchObject({ exitCode: 0, stderr: "" });
    former.netns.dispose();
    await expect.poll(() => [...host.links().keys()].filter((name) => name.startsWith("tp-"))).toEqual([]);
    const container = { id: former.id, netns: host.addContainer().netns };
    expect(setup(container, "blue", "eth1")).toMatchObject({ exitCode: 0, stderr: "" });
    const addresses = container.netns.exec("ip", ["-br", "address", "show", "tulle0"]);
    expect(addresses).toContain("169.254.96.");
    expect(addresses).not.toContain("fd66:");
    expect(host.states()).toEqual([expect.stringContaining("eth1")]);
  });

  it("is reached at once by the IPv6 address that the second network brings", () => {
    // The first address of a family on the bridge makes the host forget its neighbours.
    expect(setup(host.addContainer(), "red", "eth0")).toMatchObject({ exitCode: 0, stderr: "" });
    const container = host.addContainer();
    expect(setup(container, "blue", "eth0")).toMatchObject({ exitCode: 0, stderr: "" });
    const [device] = container.netns.ipJson(["address", "show", "tulle0"]);
    const [inet] = (device?.addr_info ?? []) as { local: string }[];
    const last = Number(inet?.local.split(".")[3]);
    const address = `fd66:ffdf:a2ec::${last.toString(16)}`;
    // As of a container that had the address before.
    host.netns.ip(`neigh replace ${address} lladdr 02:00:00:00:00:99 dev br-tulle nud stale`);
    expect(setup(container, "red", "eth1")).toMatchObject({ exitCode: 0, stderr: "" });
    expect(host.netns.ipJson(["-6", "neigh", "show", "to", address, "dev", "br-tulle"])).toMatchObject([
      { lladdr: device?.address },
    ]);
  });
});
