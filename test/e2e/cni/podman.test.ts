/** podman, a real CNI runtime, with the configuration that `tulle cni install` writes. */

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CniHost, NETWORK_NAME } from "../../support/cni-host.ts";
import { PROGRAMS } from "../../support/hosts.ts";
import { describeWithPodman, PodmanHost } from "../../support/podman.ts";
import { referencePlugins } from "../../support/reference-plugins.ts";

describeWithPodman("podman with tulle-cni", () => {
  let host: CniHost;
  let podman: PodmanHost;

  beforeAll(() => {
    host = new CniHost("podman");
    const confDir = join(host.dir, "net.d");
    const places = ["--bin-dir", host.pluginDir, "--conf-dir", confDir];
    execFileSync(join(PROGRAMS, "tulle"), ["cni", "install", ...places]);
    keepToHostFolders(join(confDir, "10-flannel.conflist"));
    podman = new PodmanHost(host, confDir, [host.pluginDir, referencePlugins("bookworm") ?? ""]);
  });
  afterAll(() => {
    podman?.dispose();
    host?.dispose();
  });

  /** Several hosts on one machine must not share the default folders. */
  function keepToHostFolders(conflist: string): void {
    const config = JSON.parse(readFileSync(conflist, "utf8"));
    const { subnetFile, dataDir, ipam } = host.config;
    Object.assign(config.plugins[0], { subnetFile, dataDir, ipam });
    writeFileSync(conflist, JSON.stringify(config));
  }

  const start = (name: string, ...options: string[]) => podman.start(name, NETWORK_NAME, ...options);

  it("starts containers that reach each other and their host", () => {
    start("one");
    start("two");
    expect(podman.run("exec", "one", "ping", "-c1", "-W2", "10.5.72.3")).toContain(" 0% packet loss");
    expect(podman.run("exec", "two", "ping", "-c1", "-W2", "10.5.72.1")).toContain(" 0% packet loss");
    expect(podman.run("exec", "one", "ip", "-o", "link")).toMatch(/eth0.* mtu 1450/);
  });

  it("gives the address and hardware address that were asked for", () => {
    start("fixed", "--ip", "10.5.72.50", "--mac-address", "02:00:00:00:00:50");
    expect(podman.run("exec", "fixed", "ip", "-o", "address")).toContain("10.5.72.50/24");
    expect(podman.run("exec", "fixed", "ip", "-o", "link")).toContain("02:00:00:00:00:50");
  });

  it("publishes ports through portmap, from the host and by hairpin from the container itself", () => {
    start("web", "-p", "8080:80", "--entrypoint", '["httpd","-f","-p","80","-h","/bin"]');
    const address = podman.run(
      "inspect",
      "-f",
      `{{.NetworkSettings.Networks.${NETWORK_NAME}.IPAddress}}`,
      "web",
    );
    expect(address).toMatch(/^10\.5\.72\./);
    const fetch = ["wget", "-q", "-O", "/dev/null", "http://10.5.72.1:8080/busybox"];
    expect(podman.run("exec", "one", ...fetch)).toBe("");
    expect(podman.run("exec", "web", ...fetch)).toBe("");
  });

  it("restarts a container, and leaves nothing when it is removed", () => {
    podman.run("restart", "--time", "0", "one");
    expect(podman.run("exec", "one", "ping", "-c1", "-W2", "10.5.72.1")).toContain(" 0% packet loss");
    podman.run("rm", "--all", "--force", "--time", "0");
    expect(host.leftovers()).toEqual([]);
  });
});
