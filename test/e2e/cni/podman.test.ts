/** podman, a real CNI runtime, on two hosts of tulled, with the configuration that `tulle cni install` writes. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { NETWORK_NAME } from "../../support/cni-host.ts";
import { traces, useCniLab } from "../../support/cni-lab.ts";
import { OWN } from "../../support/engines.ts";
import { cniSettings, describeWithPodman, PodmanHost } from "../../support/podman.ts";

const SERVE = ["-p", "8080:80", "--entrypoint", '["httpd","-f","-p","80","-h","/bin"]'];

describeWithPodman("podman with tulle-cni", () => {
  const lab = useCniLab("podman");
  let one: PodmanHost;
  let two: PodmanHost;
  beforeAll(() => {
    [one, two] = lab.hosts.map(
      ({ cni, confDir }) => new PodmanHost(cni, OWN, cniSettings(confDir, [cni.pluginDir])),
    ) as [PodmanHost, PodmanHost];
  });
  afterAll(() => {
    one?.dispose();
    two?.dispose();
  });

  const addressOf = (podman: PodmanHost, name: string) =>
    podman.run("inspect", "-f", `{{.NetworkSettings.Networks.${NETWORK_NAME}.IPAddress}}`, name);
  const ping = (podman: PodmanHost, name: string, address: string) =>
    expect(podman.run("exec", name, "ping", "-c2", "-W2", address)).toContain(" 0% packet loss");
  const gateway = (number: number) => String(lab.net.host(number).subnetEnv().subnets[4]?.address);

  it("starts containers that reach each other and their host", () => {
    one.start("web", NETWORK_NAME, ...SERVE);
    one.start("neighbour", NETWORK_NAME);
    ping(one, "neighbour", addressOf(one, "web"));
    ping(one, "web", gateway(1));
    expect(one.run("exec", "web", "ip", "-o", "link")).toMatch(/eth0.* mtu 1450/);
  });

  it("starts containers on two hosts that reach each other", () => {
    two.start("far", NETWORK_NAME);
    ping(one, "web", addressOf(two, "far"));
    ping(two, "far", addressOf(one, "web"));
  });

  it("publishes ports: for another host, for containers, and by hairpin for the container itself", () => {
    const url = (address: string) => ["wget", "-q", "-O/dev/null", `http://${address}:8080/busybox`];
    const { address, netns } = lab.net.host(1);
    expect(lab.net.host(2).netns.exec("busybox", url(address))).toBe("");
    expect(netns.exec("busybox", url(gateway(1)))).toBe("");
    expect(one.run("exec", "neighbour", ...url(gateway(1)))).toBe("");
    expect(one.run("exec", "web", ...url(gateway(1)))).toBe("");
    expect(two.run("exec", "far", ...url(address))).toBe("");
  });

  it("gives the address and hardware address that were asked for", () => {
    const address = gateway(1).replace(/\d+$/, "50");
    one.start("fixed", NETWORK_NAME, "--ip", address, "--mac-address", "02:00:00:00:00:50");
    expect(one.run("exec", "fixed", "ip", "-o", "address")).toContain(`${address}/24`);
    expect(one.run("exec", "fixed", "ip", "-o", "link")).toContain("02:00:00:00:00:50");
  });

  it("goes on while tulled is stopped, and when it is back", async () => {
    await lab.net.host(1).daemon.stop();
    one.start("meanwhile", NETWORK_NAME);
    ping(one, "meanwhile", addressOf(two, "far"));
    await lab.net.host(1).daemon.start(...lab.net.flags);
    ping(two, "far", addressOf(one, "meanwhile"));
    ping(two, "far", addressOf(one, "web"));
  });

  it("restarts a container, and leaves nothing when all are removed", () => {
    one.run("restart", "--time", "0", "neighbour");
    ping(one, "neighbour", gateway(1));
    const remove = (...names: string[]) => one.run("rm", "--force", "--time", "0", ...names);
    remove("web");
    const before = lab.hosts.map((host) => traces(host));
    one.start("more", NETWORK_NAME, "-p", "8081:80");
    expect(lab.hosts.map((host) => traces(host))).not.toEqual(before);
    remove("more");
    expect(lab.hosts.map((host) => traces(host))).toEqual(before);
    for (const podman of [one, two]) podman.run("rm", "--all", "--force", "--time", "0");
    for (const { cni } of lab.hosts) expect([...cni.reservations(), ...cni.stateFiles()]).toEqual([]);
  });
});
