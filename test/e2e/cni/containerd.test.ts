/** containerd's CRI, the runtime of most Kubernetes nodes, with the configuration that `tulle cni install` writes. */

import { execFileSync } from "node:child_process";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CniHost } from "../../support/cni-host.ts";
import { ContainerdHost, describeWithContainerd } from "../../support/containerd.ts";
import { PROGRAMS } from "../../support/hosts.ts";
import { referencePlugins } from "../../support/reference-plugins.ts";

describeWithContainerd("containerd with tulle-cni", () => {
  let host: CniHost;
  let containerd: ContainerdHost;

  beforeAll(async () => {
    host = new CniHost("containerd");
    const confDir = join(host.dir, "net.d");
    execFileSync(join(PROGRAMS, "tulle"), [
      "cni",
      "install",
      "--bin-dir",
      host.pluginDir,
      "--conf-dir",
      confDir,
    ]);
    for (const name of ["portmap", "loopback"]) {
      symlinkSync(join(referencePlugins("bookworm") ?? "", name), join(host.pluginDir, name));
    }
    const conflist = join(confDir, "10-flannel.conflist");
    const config = JSON.parse(readFileSync(conflist, "utf8"));
    const { subnetFile, dataDir, ipam } = host.config;
    Object.assign(config.plugins[0], { subnetFile, dataDir, ipam });
    writeFileSync(conflist, JSON.stringify(config));
    containerd = await ContainerdHost.start(host, confDir);
  });
  afterAll(async () => {
    await containerd?.dispose();
    host?.dispose();
  });

  it("gives pods addresses by which they reach each other", async () => {
    const [one, two] = [await containerd.runPod("one"), await containerd.runPod("two")];
    const [first, second] = [await containerd.inspectPod(one), await containerd.inspectPod(two)];
    expect([first.address, second.address]).toEqual(["10.5.72.2", "10.5.72.3"]);
    const ping = [`--net=${first.netnsPath}`, "ping", "-c1", "-W2", second.address];
    expect(execFileSync("nsenter", ping, { encoding: "utf8" })).toContain(" 0% packet loss");
  });

  it("removes a pod whose namespace is gone: DEL comes with an empty CNI_NETNS", async () => {
    const id = await containerd.runPod("lost");
    const { netnsPath } = await containerd.inspectPod(id);
    execFileSync("umount", ["--lazy", netnsPath]);
    execFileSync("rm", [netnsPath]);
    await containerd.removePod(id);
    expect(host.reservations()).toEqual(["10.5.72.2", "10.5.72.3"]);
  });

  it("refuses a pod while subnet.env is missing, and serves it afterwards", async () => {
    const text = readFileSync(host.subnetFile, "utf8");
    writeFileSync(host.subnetFile, "");
    await expect(containerd.runPod("early")).rejects.toThrow(/check that tulled runs on this host/);
    writeFileSync(host.subnetFile, text);
    await containerd.removePod(await containerd.runPod("late"));
  });

  it("leaves nothing", async () => {
    for (const { id } of (await containerd.call("ListPodSandbox", {})).items) await containerd.removePod(id);
    expect(host.leftovers()).toEqual([]);
  });
});
