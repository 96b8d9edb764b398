/**
 * podman 5 with netavark on two hosts of tulled, by the plugin tulle-netavark; beside it a container of the CNI plugin
 * on one of them, and Docker on a third.
 */

import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type CniContainer, CniHost } from "../../support/cni-host.ts";
import { createImage, DockerHost } from "../../support/docker.ts";
import { describeOnNewest, NEWEST } from "../../support/engines.ts";
import { describeWithEtcd, PROGRAMS, useEtcdLab } from "../../support/hosts.ts";
import { netavarkSettings, PodmanHost } from "../../support/podman.ts";

const CONFIG = {
  Network: "10.2.0.0/16",
  EnableIPv6: true,
  IPv6Network: "fd00:2::/48",
  Backend: { Type: "vxlan" },
};
const NETWORK = "overlay";
const SERVE = ["-p", "8080:80", "--entrypoint", '["httpd","-f","-p","80","-h","/bin"]'];

describeOnNewest("podman 5 with tulle-netavark", describeWithEtcd, () => {
  const net = useEtcdLab("netavark", { hosts: 3, config: CONFIG, families: [4, 6] });
  const hosts: CniHost[] = [];
  const podmans: PodmanHost[] = [];
  let docker: DockerHost;
  let attached: CniContainer;

  beforeAll(async () => {
    await Promise.all(net.lab.hosts.map((host) => host.daemon.start(...net.flags, "--ip-masq")));
    for (const number of [1, 2]) {
      const cni = new CniHost("netavark", net.host(number));
      hosts.push(cni);
      const podman = new PodmanHost(cni, NEWEST, netavarkSettings(join(cni.dir, "networks"), [PROGRAMS]));
      podmans.push(podman);
      const folders = {
        subnet_file: cni.subnetFile,
        state_dir: cni.stateDir,
        address_dir: join(cni.dir, "ipam"),
      };
      const options = Object.entries(folders).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
      podman.run("network", "create", "-d", "tulle-netavark", ...options, NETWORK);
    }
    docker = new DockerHost(net.host(3), NEWEST);
    const { subnets, mtuBytes } = net.host(3).subnetEnv();
    await docker.start(
      createImage(net.lab.directory),
      ...[`--bip=${subnets[4]?.address}/24`, `--mtu=${mtuBytes}`, "--ip-masq=false"],
    );
  });
  afterAll(async () => {
    for (const podman of podmans) podman.dispose();
    await docker?.stop().catch(() => undefined);
    docker?.dispose();
    for (const host of hosts) host.dispose();
  });

  const [ONE, TWO] = [0, 1];
  const podman = (index: number): PodmanHost => {
    const found = podmans[index];
    if (found === undefined) throw new Error("there is no such host");
    return found;
  };
  const addressOf = (index: number, name: string, key = "IPAddress") =>
    podman(index).run("inspect", "-f", `{{.NetworkSettings.Networks.${NETWORK}.${key}}}`, name);
  const NO_LOSS = " 0% packet loss";
  const ping = (index: number, name: string, address: string) =>
    expect
      .poll(() => podman(index).run("exec", name, "ping", "-c1", "-W2", address), { timeout: 15_000 })
      .toContain(NO_LOSS);
  const wget = (url: string) => ["wget", "-q", "-O/dev/null", `http://${url}/busybox`];

  it("starts containers on two hosts that reach each other in both families", async () => {
    podman(ONE).start("web", NETWORK, ...SERVE);
    podman(ONE).start("near", NETWORK);
    podman(TWO).start("far", NETWORK);
    for (const key of ["IPAddress", "GlobalIPv6Address"]) {
      await ping(ONE, "near", addressOf(ONE, "web", key));
      await ping(TWO, "far", addressOf(ONE, "web", key));
      await ping(ONE, "web", addressOf(TWO, "far", key));
    }
    expect(podman(ONE).run("exec", "web", "ip", "-o", "link")).toMatch(/eth0.* mtu 1430/);
    expect(podman(ONE).run("exec", "web", "ip", "route")).toMatch(/^default via .* dev eth0/m);
  });

  it("reaches containers of the CNI plugin on the same bridge, and of Docker on another host", async () => {
    const [, host] = hosts;
    if (host === undefined) throw new Error("there is no second host");
    attached = host.addContainer();
    const added = host.call("ADD", { container: attached });
    expect(added.exitCode, added.stdout).toBe(0);
    await ping(TWO, "far", added.json.ips[0].address.split("/")[0]);
    await ping(ONE, "web", added.json.ips[0].address.split("/")[0]);
    docker.runContainer("whale", { command: ["sleep", "1000"] });
    await ping(ONE, "web", docker.addressOf("whale"));
    expect(docker.exec("whale", "ping", "-c1", "-W2", addressOf(TWO, "far"))).toContain(NO_LOSS);
    expect(attached.netns.exec("ping", ["-c1", "-W2", addressOf(ONE, "near")])).toContain(NO_LOSS);
  });

  it("publishes ports: for other hosts and their containers, neighbours and the container itself", () => {
    for (const address of [net.host(1).addresses[4], `[${net.host(1).addresses[6]}]`]) {
      const url = `${address}:8080`;
      expect(net.host(2).netns.exec("busybox", wget(url))).toBe("");
      expect(net.host(1).netns.exec("busybox", wget(url))).toBe("");
      expect(podman(TWO).run("exec", "far", ...wget(url))).toBe("");
      expect(podman(ONE).run("exec", "near", ...wget(url))).toBe("");
      expect(podman(ONE).run("exec", "web", ...wget(url))).toBe("");
    }
    expect(docker.exec("whale", ...wget(`${net.host(1).address}:8080`))).toBe("");
  });

  it("gives what --ip and --mac-address ask for, and podman prints the plugin's errors", async () => {
    const address = addressOf(ONE, "web").replace(/\d+$/, "50");
    podman(ONE).start("fixed", NETWORK, "--ip", address, "--mac-address", "02:00:00:00:00:50");
    expect(podman(ONE).run("exec", "fixed", "ip", "-o", "address")).toContain(`${address}/24`);
    expect(podman(ONE).run("exec", "fixed", "ip", "-o", "link")).toContain("02:00:00:00:00:50");
    expect(() => podman(ONE).start("second", NETWORK, "--ip", address)).toThrow(/is in use/);
    expect(() => podman(ONE).start("third", NETWORK, "-p", "127.0.0.1:9000:80")).toThrow(/loopback/);
    expect(() =>
      podman(ONE).run("network", "create", "-d", "tulle-netavark", "--subnet", "10.9.0.0/24", "other"),
    ).toThrow(/subnets: .*leave --subnet out/);
    podman(ONE).run("rm", "--force", "--ignore", "--time", "0", "fixed", "second", "third");
  });

  it("serves while tulled is stopped, and joins and leaves a running container", async () => {
    await net.host(1).daemon.stop();
    podman(ONE).start("meanwhile", NETWORK);
    await ping(ONE, "meanwhile", addressOf(TWO, "far"));
    podman(ONE).run("network", "disconnect", NETWORK, "meanwhile");
    podman(ONE).run("network", "connect", NETWORK, "meanwhile");
    await ping(ONE, "meanwhile", addressOf(TWO, "far"));
    await net.host(1).daemon.start(...net.flags, "--ip-masq");
    await ping(TWO, "far", addressOf(ONE, "meanwhile"));
    podman(ONE).run("restart", "--time", "0", "meanwhile");
    await ping(TWO, "far", addressOf(ONE, "meanwhile"));
  });

  it("leaves nothing when all are removed", () => {
    for (const index of [ONE, TWO]) podman(index).run("rm", "--all", "--force", "--time", "0");
    expect(hosts[1]?.call("DEL", { container: attached }).exitCode).toBe(0);
    for (const host of hosts) {
      expect(host.leftovers().filter((name) => name !== "lock" && name !== "eth0")).toEqual([]);
      expect(host.netns.exec("nft", ["list", "tables"])).not.toContain("tulle-ports");
    }
    for (const podman of podmans) podman.run("network", "rm", NETWORK);
  });
});
